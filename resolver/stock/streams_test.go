package stock

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
)

// TestStreams: what a deletion would lose is named, of this account alone.
func TestStreams(t *testing.T) {
	t.Parallel()
	stream := func(m *member) string { return full(m) + fmt.Sprintf("jetstream { store_dir: %q }\n", t.TempDir()) }
	w := newWorld(t, stream, stream)
	w.start()
	w.up("s0", "s1")
	a, empty := w.tenant("coke"), w.tenant("pepsi")
	a.ac.Limits.DiskStorage, a.ac.Limits.MemoryStorage, a.ac.Limits.Streams, a.ac.Limits.Consumer = -1, -1, -1, -1
	w.shows(api.Stored, a.put(), "s0", "s1")
	w.shows(api.Stored, empty.put(), "s0", "s1")
	nc := must(w.user(a.kp).connect(w.members[0].url()))
	defer nc.Close()
	js := must(nc.JetStream())
	natstest.Eventually(t, patience, func() error {
		_, err := js.AddStream(&nats.StreamConfig{Name: "orders", Subjects: []string{"orders.>"}})
		return err
	})
	if got, err := w.fleet.JetStream(context.Background(), a.kp.PublicKey()); err != nil || !slices.Equal(got.Streams, []string{"orders"}) {
		t.Errorf("%v %v", got, err)
	}
	if got, err := w.fleet.JetStream(context.Background(), empty.kp.PublicKey()); err != nil || len(got.Streams) != 0 {
		t.Errorf("%v %v", got, err)
	}
}
