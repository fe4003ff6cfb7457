package stock

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/store"
)

// service is a resolver over the world's store and servers.
func (w *world) service() *resolver.Service {
	w.t.Helper()
	if err := w.store.Update(context.Background(), func(tx store.Tx) error { return tx.SetMeta("operator", w.root.PublicKey()) }); err != nil {
		w.t.Fatal(err)
	}
	return must(resolver.New(resolver.Config{
		Store: w.store, Now: time.Now,
		Nodes: func() []resolver.Node {
			var out []resolver.Node
			for _, s := range w.fleet.Servers() {
				out = append(out, s)
			}
			return out
		},
	}))
}

// TestStatusOfMany: asked about many accounts at once, each server is judged by
// itself, the loaded account by what it enforces, and one that is behind is
// named.
func TestStatusOfMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	w.start()
	w.up("s0", "s1")
	loaded := w.tenant("loaded")
	rec := loaded.put()
	w.shows(api.Stored, rec, "s0", "s1")
	must(w.user(loaded.kp).connect(w.members[1].url())).Close()
	w.writeAll(300)
	w.awaitAll()
	s := w.service()
	ctx := context.Background()
	// One account is in force on one server and stored on the other, SYS in force on both.
	if reply := s.Status(ctx, api.StatusRequest{}); reply.Error != nil || reply.Total != 302 || reply.Stored != 301 || reply.InForce != 1 || len(reply.Accounts) > 0 {
		t.Fatalf("%+v", reply)
	}
	one := s.Status(ctx, api.StatusRequest{Account: rec.Key}).Accounts[0]
	if got := []api.State{one.Nodes[0].State, one.Nodes[1].State}; got[0] != api.Stored || got[1] != api.InForce {
		t.Fatalf("%+v", one.Nodes)
	}
	w.members[1].stop()
	natstest.Eventually(t, patience, func() error {
		reply := s.Status(ctx, api.StatusRequest{})
		if reply.Stored != 0 || reply.InForce != 0 || !reply.More || reply.Accounts[0].Nodes[1].State != api.Pending {
			return fmt.Errorf("s1 is away, and %d are stored, %d in force", reply.Stored, reply.InForce)
		}
		return nil
	})
}

// BenchmarkStatus asks for the state of 10,000 accounts on three stock servers
// with full resolvers. One op is all of them.
func BenchmarkStatus(b *testing.B) {
	const accounts = 10_000
	w := newWorld(b, full, full, full)
	w.start()
	w.up("s0", "s1", "s2")
	w.writeAll(accounts)
	w.awaitAll()
	s := w.service()
	for b.Loop() {
		reply := s.Status(context.Background(), api.StatusRequest{})
		if reply.Error != nil || reply.Stored != accounts || reply.InForce != 1 {
			b.Fatalf("%d stored, %d in force, %v", reply.Stored, reply.InForce, reply.Error)
		}
	}
	b.ReportMetric(float64(b.N*accounts)/b.Elapsed().Seconds(), "accounts/s")
}
