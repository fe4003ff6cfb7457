package stock

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
)

// TestSupercluster: servers of other clusters, behind gateways, are expected by
// cluster and name; each is brought what changes, and loses a revoked user.
func TestSupercluster(t *testing.T) {
	t.Parallel()
	gates := natstest.FreePorts(t, 2)
	gated := func(cluster string, port int) func(*member) string {
		return func(m *member) string {
			return full(m) + fmt.Sprintf("gateway { name: %s, listen: \"127.0.0.1:%d\", gateways: [ { name: acme, url: \"nats://127.0.0.1:%d\" }, { name: west, url: \"nats://127.0.0.1:%d\" } ] }\n",
				cluster, port, gates[0], gates[1])
		}
	}
	w := newWorld(t, gated("acme", gates[0]), full)
	far := w.members[1]
	far.stop()
	far.group, far.routes, far.config = "west", fmt.Sprintf("nats-route://127.0.0.1:%d", far.cluster), gated("west", gates[1])
	far.start()
	w.start()
	identities := func() (out []string) {
		for _, s := range w.fleet.Servers() {
			if s.Status().Healthy {
				out = append(out, s.identity())
			}
		}
		return out
	}
	natstest.Eventually(t, patience, func() error {
		if got := identities(); fmt.Sprint(got) != "[acme/s0 west/s1]" {
			return fmt.Errorf("up: %v", got)
		}
		return nil
	})
	a := w.tenant("coke")
	bad := w.user(a.kp)
	shows := func(state api.State, rev uint64) {
		t.Helper()
		natstest.Eventually(t, patience, func() error {
			for _, s := range w.fleet.Servers() {
				if p := s.Proof(a.kp.PublicKey()); p.State != state || p.Revision != rev {
					return fmt.Errorf("%s: %+v", s.identity(), p)
				}
			}
			return nil
		})
	}
	a.put()
	shows(api.Stored, 1)
	closed := make(chan struct{}, 2)
	for _, m := range w.members {
		nc := must(bad.connect(m.url(), nats.ClosedHandler(func(*nats.Conn) { closed <- struct{}{} })))
		defer nc.Close()
	}
	a.revoke(bad)
	shows(api.InForce, 2)
	for _, m := range w.members {
		<-closed
		if err := refused(bad, m.url())(); err != nil {
			t.Error(err)
		}
	}
}
