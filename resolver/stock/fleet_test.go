package stock

import (
	"testing"

	"github.com/accountd/accountd/api"
)

// TestOneServer: a change reaches a stock server, and the proof tells what is
// stored from what is enforced.
func TestOneServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	w.start()
	w.up("s0")
	a := w.tenant("coke")
	first := a.put()
	w.shows(api.Stored, first, "s0")
	u := w.user(a.kp)
	nc := must(u.connect(w.members[0].url()))
	defer nc.Close()
	second := a.put()
	w.shows(api.InForce, second, "s0")
	if p := w.server("s0").Proof(second.Key); p.State != api.InForce || !p.Loaded {
		t.Fatalf("looked at anew: %+v", p)
	}
}
