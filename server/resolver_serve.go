package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/resolver/stock"
	"github.com/accountd/accountd/store"
)

// Pauses of accountd resolver.
const (
	reconnectWait = 250 * time.Millisecond
	dialTime      = 2 * time.Second
	lookEvery     = 50 * time.Millisecond
	standbyAfter  = time.Second // without the publisher's lock
)

// connect opens the connection to the system account, and waits for the first
// server that answers.
func (a *alone) connect(ctx context.Context) (*nats.Conn, error) {
	k := &a.credentials
	opts := []nats.Option{
		nats.Name("accountd"), nats.NoEcho(), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.Timeout(dialTime),
		nats.IgnoreAuthErrorAbort(),
		nats.UserJWT(func() (string, error) { return k.user.Token, nil }, k.userPair.Sign),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { a.log.Warn("system connection is down", "err", err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { a.log.Info("system connection is up again", "server", nc.ConnectedServerName()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { a.log.Warn("system connection", "err", err) }),
	}
	for said := false; ; {
		nc, err := nats.Connect(a.opts.Servers, opts...)
		switch {
		case err == nil:
			return nc, nil
		case errors.Is(err, nats.ErrAuthorization):
			return nil, fault.New(fault.Denied, "the servers refuse the credentials in %s: %w", a.opts.SystemCreds, err).About("file", a.opts.SystemCreds).
				WithHint("take a user of the operator's system account: nsc generate creds -a SYS -n NAME")
		case !errors.Is(err, nats.ErrNoServers) && !errors.Is(err, nats.ErrTimeout):
			return nil, fault.New(fault.Usage, "--servers %s: %w", a.opts.Servers, err).WithHint("accountd resolver --servers nats://127.0.0.1:4222")
		case !said:
			a.log.Warn("no server answers yet", "servers", a.opts.Servers, "err", err)
			said = true
		}
		if !wait(ctx, reconnectWait) {
			return nil, ctx.Err()
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// bootstrap makes sure that the store is this operator's and holds its system
// account, which the servers have loaded.
func (a *alone) bootstrap(ctx context.Context) error {
	op := a.credentials.operator
	if head, err := headOf(a.store)(); err != nil {
		return fault.New(fault.Unavailable, "the store cannot be read: %w", err)
	} else if head > 0 {
		return a.service.Bootstrap(ctx, op.Token)
	}
	within, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	m, err := a.nc.Load().RequestWithContext(within, "$SYS.REQ.SERVER.PING.ACCOUNTZ",
		fmt.Appendf(nil, `{"account":%q}`, a.credentials.system))
	if err != nil {
		return fault.New(fault.Unavailable, "no server shows its system account: %w", err).
			WithHint("give its JWT: accountd resolver --system-account FILE")
	}
	var reply struct {
		Data struct {
			Account struct {
				JWT string `json:"jwt"`
			} `json:"account_detail"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil || reply.Data.Account.JWT == "" {
		return fault.New(fault.Unavailable, "the servers do not show the JWT of system account %s", a.credentials.system).
			WithHint("give it: accountd resolver --system-account FILE")
	}
	return a.service.Bootstrap(ctx, op.Token, reply.Data.Account.JWT)
}

// ResolverReady is the content of the ready file of accountd resolver.
type ResolverReady struct {
	Schema   int            `json:"schema"`
	PID      int            `json:"pid"`
	Operator string         `json:"operator"` // public key
	HTTP     string         `json:"http"`     // URL, "" for none
	Servers  []ServedServer `json:"servers"`  // none while another process on the store publishes
	Ms       float64        `json:"ms"`       // from the start to ready, in milliseconds
}

// ServedServer is one expected server.
type ServedServer struct {
	Name     string `json:"name"`
	Cluster  string `json:"cluster,omitempty"`
	Resolver string `json:"resolver"` // full, cache, url or memory; "" while that is not known
	Away     bool   `json:"away,omitempty"`
}

// becomeReady waits until the cluster was looked through and a server is served,
// says so, and keeps the ready file until ctx ends.
func (a *alone) becomeReady(ctx context.Context, fleet *stock.Fleet) error {
	select {
	case <-fleet.Looked():
	case <-ctx.Done():
		return nil
	}
	for !anyHealthy(fleet) {
		if !wait(ctx, lookEvery) {
			return nil
		}
	}
	if err := a.show(fleet); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// standBy says that this process is ready and that another one publishes.
func (a *alone) standBy(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	if err := a.show(nil); err != nil {
		a.log.Warn("the ready file could not be written", "err", err)
	}
}

// show says what this process does: it serves the servers of fleet, or stands
// by when fleet is nil.
func (a *alone) show(fleet *stock.Fleet) error {
	a.shown.Lock()
	defer a.shown.Unlock()
	if fleet == nil && a.fleet.Load() != nil {
		return nil // it publishes by now
	}
	a.ready.Store(true)
	r := ResolverReady{
		Schema: api.Schema, PID: os.Getpid(), Operator: a.credentials.operator.Subject, HTTP: a.httpURL(), Servers: []ServedServer{},
		Ms: float64(a.opts.Now().Sub(a.began).Microseconds()) / 1000,
	}
	var b strings.Builder
	what := "another accountd publishes"
	if fleet != nil {
		what = fmt.Sprintf("%d servers", len(fleet.Servers()))
		for _, s := range fleet.Servers() {
			r.Servers = append(r.Servers, ServedServer{Name: s.Name(), Cluster: s.Cluster(), Resolver: string(s.Kind()), Away: len(s.Trusts()) == 0})
		}
	}
	fmt.Fprintf(&b, "accountd resolver: operator %s, %s, store %s\n", a.credentials.operator.Name, what, hidePassword(a.opts.Store))
	for _, s := range r.Servers {
		state := s.Resolver
		if s.Away {
			state = strings.TrimSpace(state + "  away: it gets what it lacks when it returns")
		}
		fmt.Fprintf(&b, "  %s  %s\n", s.Name, state)
	}
	if r.HTTP != "" {
		fmt.Fprintf(&b, "  http    %s\n", r.HTTP)
	}
	_, _ = fmt.Fprint(a.opts.Out, b.String()) // a closed terminal does not stop the service
	return readyFile(a.opts.ReadyFile).write(r)
}

// peer returns how to reach the process that publishes, nil for this one.
func (a *alone) peer() resolver.Peer {
	nc := a.nc.Load()
	if a.fleet.Load() != nil || nc == nil {
		return nil
	}
	return func(ctx context.Context, subject, token string, body []byte) ([]byte, error) {
		m := nats.NewMsg(subject)
		m.Data = body
		if token != "" {
			m.Header.Set(api.AuthHeader, token)
		}
		reply, err := nc.RequestMsgWithContext(ctx, m)
		if err != nil {
			return nil, err
		}
		return reply.Data, nil
	}
}

func anyHealthy(fleet *stock.Fleet) bool {
	for _, s := range fleet.Servers() {
		if s.Status().Healthy {
			return true
		}
	}
	return false
}

func (a *alone) httpURL() string {
	if a.web == nil {
		return ""
	}
	if a.secure != nil {
		return "https://" + a.web.Addr().String()
	}
	return "http://" + a.web.Addr().String()
}

// serveHTTP answers until ctx ends.
func (a *alone) serveHTTP(ctx context.Context) error {
	if a.web == nil {
		return nil
	}
	return serveOn(ctx, a.web, a.secure, a.probes.Handler(routes(a.notReady, a.metrics, a.service, a.enroll)), a.service.Ready, defaultLimits(), a.log)
}

// notReady returns why the service is not ready: a server that is away is no
// reason, since the service is there for the others.
func (a *alone) notReady(ctx context.Context) map[string]string {
	reasons := map[string]string{}
	if !a.ready.Load() {
		reasons["accountd"] = "no server is served yet, or stopping"
	}
	if err := a.store.View(ctx, func(r store.Reader) error { _, err := r.Head(); return err }); err != nil {
		reasons["store"] = "cannot be read"
		a.log.Error("read store", "err", err)
	}
	if nc := a.nc.Load(); nc != nil && !nc.IsConnected() {
		reasons["servers"] = "no connection to any server"
	} else if ear := a.ear.Load(); ear != nil {
		ctx, cancel := context.WithTimeout(ctx, healthTime)
		defer cancel()
		if err := resolver.Answered(ctx, ear); err != nil {
			reasons["servers"] = err.Error()
		}
	}
	return reasons
}
