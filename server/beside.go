package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/resolver/stock"
)

// beside are the stock servers that join the cluster of the bundled nodes.
type beside struct {
	probes stock.Probes
	fleet  atomic.Pointer[stock.Fleet]
}

// nodes returns the stock servers that are expected.
func (b *beside) nodes() []resolver.Node { return fleetNodes(b.fleet.Load()) }

// forget expects a stock server no more. The nodes stay.
func (d *dev) forget(ctx context.Context, name string) error {
	if _, err := d.member(name); err == nil {
		return fault.New(fault.Denied, "%s is a bundled node, which is always expected", name).About("server", name).
			WithHint("stop and start it with: accountd dev node stop %s", name)
	}
	return forgetServer(ctx, d.beside.fleet.Load(), name)
}

// forgetServer hands a request to a fleet, which may not run yet.
func forgetServer(ctx context.Context, f *stock.Fleet, name string) error {
	if f == nil {
		return fault.New(fault.Unavailable, "stock servers are not known yet").WithHint("try again")
	}
	return f.Forget(ctx, name)
}

// notifyServers hands a request to a fleet, which may not run here.
func notifyServers(ctx context.Context, f *stock.Fleet, account string) error {
	if f == nil {
		return fault.New(fault.Unavailable, "this process does not publish to stock servers now").WithHint("try again, or ask another one")
	}
	return f.Notify(ctx, account)
}

// handler lets stock servers with resolver: URL(...) be recognised.
func (b *beside) handler(next http.Handler) http.Handler { return b.probes.Handler(next) }

// countUndone shows how often the fleet, which may be nil, took back what was
// sent past accountd.
func countUndone(m *metrics, fleet func() *stock.Fleet) error {
	err := m.registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "accountd_stock_undone_total", Help: "Pushes and deletions sent straight to stock servers that were undone.",
	}, func() float64 {
		if f := fleet(); f != nil {
			return float64(f.Undone())
		}
		return 0
	}))
	if err != nil {
		return fmt.Errorf("count what is undone: %w", err)
	}
	return nil
}

// serveBeside finds stock servers in the cluster and serves them until ctx
// ends. Bundled nodes never wait for it.
func (d *dev) serveBeside(ctx context.Context) error {
	nc, err := d.connectBeside(ctx)
	if err != nil || nc == nil {
		return err
	}
	defer nc.Close()
	cfg := stock.Config{
		Source: d.store, Conn: nc, Probes: &d.beside.probes, Signer: d.secrets.delegated, Renew: d.service.Renew, Now: d.opts.Now, Logger: d.log,
		Exclude: func(name string) bool {
			_, err := d.member(name)
			return err == nil
		},
		Admit: func(ctx context.Context, token string) error {
			_, err := d.service.Push(ctx, "push", token)
			return err
		},
	}
	fleet, err := stock.Start(ctx, cfg)
	for ; err != nil; fleet, err = stock.Start(ctx, cfg) { // the store is away: bundled nodes serve on
		if ctx.Err() != nil {
			return nil
		}
		d.log.Warn("stock servers are not served yet", "error", err)
		wait(ctx, time.Second)
	}
	defer fleet.Close()
	d.beside.fleet.Store(fleet)
	if err := countUndone(d.metrics, d.beside.fleet.Load); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// connectBeside opens a connection that stays while single nodes stop, and
// returns nil when ctx ends first.
func (d *dev) connectBeside(ctx context.Context) (*nats.Conn, error) {
	var urls []string
	for _, m := range d.members { // not the state, which moveOperator changes meanwhile
		urls = append(urls, m.url)
	}
	for {
		nc, err := nats.Connect(strings.Join(urls, ","), nats.Name("accountd beside"), nats.NoEcho(),
			nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.Timeout(dialTime), nats.IgnoreAuthErrorAbort(),
			nats.UserJWT(func() (string, error) { return d.secrets.userJWT, nil }, d.secrets.user.Sign),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				d.log.Warn("system connection", "connection", "beside", "error", err)
			}))
		if err == nil {
			return nc, nil
		}
		d.log.Debug("no node answers yet", "error", err)
		if !wait(ctx, reconnectWait) {
			return nil, nil
		}
	}
}
