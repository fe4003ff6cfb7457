package enroll

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

const (
	maxBody    = fleet.MaxRequest
	maxRunning = 256 // requests in hand on one door
	maxWaiting = 768 // that wait behind them, over NATS
	queueGroup = "accountd"
	// pace is at which intervals those are told to come back that find every place
	// taken: about what two cores can answer.
	pace = 125 * time.Microsecond
)

// decode reads a request.
func decode(body []byte) (req api.EnrollRequest, err error) {
	if len(body) > maxBody {
		return req, fault.New(fault.Invalid, "the request has more than %d bytes", maxBody).ByRule("size")
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return req, fault.New(fault.Invalid, "the request is not of the expected form").ByRule("malformed")
	}
	return req, nil
}

// reply decides the request in body.
func (s *Service) reply(ctx context.Context, from Source, body []byte) api.EnrollReply {
	req, err := decode(body)
	if err != nil {
		s.cfg.Decided("unknown", string(fault.CodeOf(err)), fault.RuleOf(err))
		return api.EnrollReply{Schema: api.Schema, Error: api.ToError(err)}
	}
	return s.Answer(ctx, from, req)
}

// Register serves api.PathEnroll on mux.
func (s *Service) Register(mux *http.ServeMux) {
	gate := make(chan struct{}, maxRunning)
	mux.HandleFunc("POST "+api.PathEnroll, func(w http.ResponseWriter, r *http.Request) {
		var out api.EnrollReply
		select {
		case gate <- struct{}{}:
			defer func() { <-gate }()
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody+1))
			if err != nil {
				body = make([]byte, maxBody+1) // it is refused as too long
			}
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			out = s.reply(r.Context(), Source{Via: "http", Address: host}, body)
		default:
			out = s.busy()
		}
		err := out.Error.Fault()
		status := fault.HTTPStatus(err)
		if out.Wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(out.Wait))
			status = http.StatusTooManyRequests
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(out) // the client may be gone
	})
}

// busy sends somebody away, to come back when it is his turn.
func (s *Service) busy() api.EnrollReply {
	err := fault.New(fault.Unavailable, "accountd is busy").ByRule(RuleRate)
	s.cfg.Decided("unknown", string(fault.Unavailable), RuleRate)
	return api.EnrollReply{Schema: api.Schema, Wait: s.turns.next(s.cfg.Now()), Error: api.ToError(err)}
}

// ServeNATS answers on nc, a connection to the system account, what users of
// other accounts ask at fleet.EnrollSubject. stop ends it and waits for requests
// in hand.
func (s *Service) ServeNATS(nc *nats.Conn) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	waiting := make(chan *nats.Msg, maxWaiting)
	var running sync.WaitGroup
	for range maxRunning {
		running.Go(func() {
			for {
				select {
				case m := <-waiting:
					s.take(ctx, m)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	sub, err := nc.QueueSubscribe(fleet.EnrollSubject+".*", queueGroup, func(m *nats.Msg) {
		select {
		case waiting <- m:
		default:
			s.respond(m, s.busy())
		}
	})
	stop = func() {
		_ = sub.Unsubscribe() // the connection may be closed
		cancel()
		running.Wait()
	}
	if err != nil {
		cancel()
		return nil, fault.New(fault.Unavailable, "answer devices: %w", err)
	}
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		stop()
		return nil, fault.New(fault.Unavailable, "answer devices: %w", err)
	}
	return stop, nil
}

// take answers one message.
func (s *Service) take(ctx context.Context, m *nats.Msg) {
	defer func() { // one request must not end the servers of this process
		if p := recover(); p != nil {
			s.cfg.Logger.Error("request panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	account := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	s.respond(m, s.reply(ctx, Source{Via: "nats", Account: account}, m.Data))
}

func (s *Service) respond(m *nats.Msg, reply api.EnrollReply) {
	data, err := json.Marshal(reply)
	if err == nil {
		err = m.Respond(data)
	}
	if err != nil {
		s.cfg.Logger.Debug("a device was not answered", "err", err)
	}
}
