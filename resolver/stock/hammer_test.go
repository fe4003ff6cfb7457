package stock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
)

// hammer connects a user again and again until ctx ends, keeps what it got, and
// closes none of it.
func hammer(ctx context.Context, u *user, url string) []*nats.Conn {
	var out []*nats.Conn
	for ctx.Err() == nil {
		if nc, err := u.connect(url); err == nil {
			out = append(out, nc)
		}
	}
	return out
}

// TestNobodySurvivesARevocation: clients that connect all the time while their
// revocation is applied are out once it is proven. A server by itself lets some
// of them stay: those that were half-way through their authentication.
func TestNobodySurvivesARevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	w.start()
	w.up("s0")
	url := w.members[0].url()
	const accounts, dialers = 8, 2
	for i := range accounts {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			a := w.tenant(fmt.Sprintf("a%d", i))
			bad := w.user(a.kp)
			if p := w.await("s0", a.put()); p.State != api.Stored {
				t.Fatalf("%+v", p)
			}
			first := must(bad.connect(url)) // loads the account
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			got := make([][]*nats.Conn, dialers)
			for d := range got {
				wg.Go(func() { got[d] = hammer(ctx, bad, url) })
			}
			p := w.await("s0", a.revoke(bad))
			cancel()
			wg.Wait()
			if p.State != api.InForce || !p.Swept {
				t.Errorf("%+v", p)
			}
			for _, nc := range append(got[0], append(got[1], first)...) {
				natstest.Eventually(t, patience, func() error {
					if !nc.IsClosed() {
						return errors.New("a revoked connection is open")
					}
					return nil
				})
			}
		})
	}
}
