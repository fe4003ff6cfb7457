package node

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// A JetStream tenant that is deleted and restored has its data back, on a
// single node and in a cluster.
func TestRestoreJetStreamTenant(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3} {
		w := newWorld(t)
		var nodes []*Node
		if size == 1 {
			nodes = []*Node{w.start(Config{})}
		} else {
			nodes, _ = w.cluster(size)
		}
		app := w.account("APP", jetStream)
		u := app.user("u", nil)
		all := func() {
			for _, n := range nodes {
				inForce(t, n, app.rec)
			}
		}
		all()
		js, err := connect(t, nodes[0], u).JetStream(nats.MaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: size}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish("s", []byte("x")); err != nil {
			t.Fatal(err)
		}
		app.delete()
		all()
		app.put()
		all()
		js, err = connect(t, nodes[0], u).JetStream(nats.MaxWait(patience / 10))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "stream is back", func() bool {
			info, err := js.StreamInfo("S")
			if err != nil {
				t.Logf("size %d: %v", size, err)
			}
			return err == nil && info.State.Msgs == 1
		})
	}
}
