package resolver

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

const (
	serviceVersion = "0.1.0"
	queueGroup     = "accountd"
	maxRunning     = 512 // requests in hand on one connection
)

// natsDoor serves one connection to the system account.
type natsDoor struct {
	s    *Service
	name string
	ctx  context.Context // of all requests in hand; ended by stop
	sem  chan struct{}
	wg   sync.WaitGroup
}

// Part is a part of what is answered over NATS.
type Part int

// The parts.
const (
	Claims  Part = 1 << iota // what the store answers, and the doors of stock tools
	Servers                  // what only the process that watches the servers can answer
)

// ServeNATS answers on nc, a connection to the system account: the micro
// service of api.Service, and the lookups of stock tools. name is the server
// that answers in the stock shapes. Each node has a connection of its own; one
// of them answers a request. stop ends it and waits for requests in hand.
func (s *Service) ServeNATS(nc *nats.Conn, name string, parts Part) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	d := &natsDoor{s: s, name: name, ctx: ctx, sem: make(chan struct{}, maxRunning)}
	service, err := d.serve(nc, parts)
	if err == nil && parts&Claims != 0 {
		err = d.serveStock(nc)
	}
	if err == nil {
		err = nc.FlushTimeout(5 * time.Second)
	}
	stop = func() {
		if service != nil {
			_ = service.Stop()
		}
		if nc.IsConnected() { // servers have counted these subscriptions off when the connection ends
			_ = nc.FlushTimeout(time.Second)
		}
		cancel()
		d.wg.Wait()
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("serve requests on %s: %w", name, err)
	}
	return stop, nil
}

// Answered sends a request to the service over nc, as nsc would, and fails
// unless an answer comes.
func Answered(ctx context.Context, nc *nats.Conn) error {
	if _, err := nc.RequestWithContext(ctx, api.SubjectGet, []byte("{}")); err != nil {
		return fault.New(fault.Unavailable, "requests are not answered: %w", err)
	}
	return nil
}

func (d *natsDoor) serve(nc *nats.Conn, parts Part) (micro.Service, error) {
	info, err := d.s.info(d.ctx)
	if err != nil {
		return nil, err
	}
	service, err := micro.AddService(nc, micro.Config{
		Name: api.Service, Version: serviceVersion, Description: "claims and revocations, proven in force", QueueGroup: queueGroup,
		Metadata: map[string]string{
			api.MetaOperator: info.Operator, api.MetaServer: info.Server, api.MetaCustody: info.Custody,
		},
	})
	if err != nil {
		return nil, err
	}
	for subject, h := range d.endpoints(parts) {
		name := strings.ReplaceAll(strings.TrimPrefix(subject, "accountd.v1."), ".", "-")
		if err := service.AddEndpoint(name, d.handler(h), micro.WithEndpointSubject(subject)); err != nil {
			return service, err
		}
	}
	return service, nil
}

// endpoints returns what answers each subject.
func (d *natsDoor) endpoints(parts Part) map[string]func(micro.Request) any {
	out := map[string]func(micro.Request) any{}
	if parts&Claims != 0 {
		out[api.SubjectPut] = signedNATS(d, d.s.Put)
		out[api.SubjectOpPut] = signedNATS(d, d.s.PutOperator)
		out[api.SubjectAllow] = signedNATS(d, d.s.Allow)
		out[api.SubjectReject] = signedNATS(d, d.s.Reject)
		out[api.SubjectKeys] = signedNATS(d, d.s.GiveKeys)
		out[api.SubjectDeny] = signedNATS(d, d.s.Deny)
		out[api.SubjectSealer] = plain(d, d.s.Sealer)
		out[api.SubjectGet] = plain(d, d.s.Get)
		out[api.SubjectList] = plain(d, d.s.List)
	}
	if parts&Servers != 0 {
		out[api.SubjectForget] = signedNATS(d, d.s.Forget)
		out[api.SubjectProof] = plain(d, d.s.Proof)
		out[api.SubjectProofs] = plain(d, d.s.Proofs)
		out[api.SubjectStatus] = plain(d, d.s.Status)
		out[api.SubjectSeen] = plain(d, d.s.Seen)
		out[api.SubjectStreams] = plain(d, d.s.Streams)
		out[api.SubjectNotify] = plain(d, d.s.Notify)
	}
	return out
}

// signedCall is a request whose token authorises its body.
type signedCall[R any] func(ctx context.Context, via, token string, body []byte) R

func signedNATS[R any](d *natsDoor, call signedCall[R]) func(micro.Request) any {
	return func(r micro.Request) any {
		return call(d.ctx, "nats", r.Headers().Get(api.AuthHeader), r.Data())
	}
}

func plain[Q, R any](d *natsDoor, call func(context.Context, Q) R) func(micro.Request) any {
	return func(r micro.Request) any {
		var req Q
		if err := decodeBody(r.Data(), &req); err != nil {
			return struct {
				Schema int        `json:"schema"`
				Error  *api.Error `json:"error"`
			}{api.Schema, api.ToError(err)}
		}
		return call(d.ctx, req)
	}
}

// handler runs each request on its own goroutine, since one may wait for a
// proof while others pass.
func (d *natsDoor) handler(h func(micro.Request) any) micro.Handler {
	return micro.HandlerFunc(func(r micro.Request) {
		if !d.run(func() { _ = r.RespondJSON(h(r)) }) {
			_ = r.RespondJSON(refusedRequest(fault.New(fault.Unavailable, "accountd is busy or stopping").WithHint("try again")))
		}
	})
}

func (d *natsDoor) run(f func()) bool {
	select {
	case <-d.ctx.Done():
		return false
	case d.sem <- struct{}{}:
	default:
		return false
	}
	d.wg.Go(func() {
		defer func() { <-d.sem }()
		defer func() { // one request must not end the servers of this process
			if p := recover(); p != nil {
				d.s.log.Error("request panicked", "panic", p, "stack", string(debug.Stack()))
			}
		}()
		f()
	})
	return true
}
