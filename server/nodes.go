package server

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/server/node"
	"github.com/accountd/accountd/store"
)

// writeTime bounds a write to a node inside the process: there, a connection
// that is refused takes no more without an error.
const writeTime = 2 * time.Second

// startNodes starts all nodes at once: each waits for routes to the others.
func (d *dev) startNodes(ctx context.Context) error {
	for i := range d.state.Nodes {
		cfg := d.state.nodeConfig(d.folder.layout, i)
		cfg.Source, cfg.Now = d.store, d.opts.Now
		cfg.Logger = d.servers.logger.With("node", cfg.Name)
		url := "nats://" + d.state.address(cfg.Ports.Client)
		d.members = append(d.members, newMember(cfg, d.state.Operator, url, d.attach))
	}
	if !isLoopback(d.state.Host) && len(d.members) > 1 {
		d.log.Warn("the cluster ports are open to the network, and nodes trust who connects there", "host", d.state.Host)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range d.members {
		g.Go(func() error { return m.start(ctx) })
	}
	return g.Wait()
}

// attach gives the service a system connection on n, inside the process.
func (d *dev) attach(n *node.Node) (door, error) {
	nc, err := nats.Connect("", nats.InProcessServer(n), nats.Name("accountd"), nats.MaxReconnects(-1),
		nats.FlusherTimeout(writeTime),
		nats.UserJWT(func() (string, error) { return d.secrets.userJWT, nil }, d.secrets.user.Sign),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			d.log.Warn("system connection", "node", n.Name(), "subject", subject, "error", err)
		}))
	if err != nil {
		return door{}, fmt.Errorf("system connection: %w", err)
	}
	stop, err := d.service.ServeNATS(nc, n.Name(), resolver.Claims|resolver.Servers)
	if err != nil {
		nc.Close()
		return door{}, err
	}
	endDevices, err := d.enroll.ServeNATS(nc)
	if err != nil {
		stop()
		nc.Close()
		return door{}, err
	}
	return door{
		answered: func(ctx context.Context) error { return resolver.Answered(ctx, nc) },
		close: func() {
			stop()
			endDevices()
			nc.Close()
		},
	}, nil
}

// member returns the node of that name.
func (d *dev) member(name string) (*member, error) {
	names := ""
	for _, m := range d.members {
		if m.Name() == name {
			return m, nil
		}
		names += " " + m.Name()
	}
	return nil, fault.New(fault.NotFound, "no node %q", name).About("node", name).WithHint("the nodes are:%s", names)
}

// awaitAll waits until every node is healthy, has followed all changes so far,
// and proves the operator and its system account.
func (d *dev) awaitAll(ctx context.Context) error {
	var head uint64
	var op, sys store.Record
	err := d.store.View(ctx, func(r store.Reader) (err error) {
		if head, err = r.Head(); err != nil {
			return err
		}
		if op, err = r.Get(store.Operator, d.state.Operator); err != nil {
			return err
		}
		sys, err = r.Get(store.Account, d.state.System)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the claims to wait for: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.members[0].campaign(ctx) })
	newer := make([]error, len(d.members)) // why a node does not follow a store that went back
	for i, m := range d.members {
		g.Go(func() error {
			switch err := m.awaitHealthy(ctx); {
			case fault.Is(err, fault.Conflict):
				newer[i] = err
				return nil
			case err != nil:
				return err
			}
			for _, rec := range []store.Record{op, sys} {
				if err := m.inForce(ctx, rec); err != nil {
					return err
				}
			}
			return m.followed(head)
		})
	}
	err = g.Wait()
	return cmp.Or(d.storeWentBack(newer), err)
}

// storeWentBack is the error of nodes that hold newer claims than the store; nil
// if there is none.
func (d *dev) storeWentBack(newer []error) error {
	var names []string
	var cause error
	for i, err := range newer {
		if err != nil {
			names, cause = append(names, d.members[i].Name()), cmp.Or(cause, err)
		}
	}
	if cause == nil {
		return nil
	}
	verb := "hold"
	if len(names) == 1 {
		verb = "holds"
	}
	return fault.New(fault.Invalid, "%s %s a newer state than the store: %w", strings.Join(names, ", "), verb, cause).
		About("folder", string(d.folder.layout)).ByRule("foreign-store").
		WithHint("restore the store from a newer copy; without one, move the claims.db of these nodes away, start, and publish the accounts of your store again: nsc push -A")
}
