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

// TestBehindCountsWhatIsLacking: not all that came after the first of it.
func TestBehindCountsWhatIsLacking(t *testing.T) {
	t.Parallel()
	s := &Server{f: &Fleet{followed: 100}, open: map[string]uint64{"A": 3, "B": 90}}
	if st := s.Status(); st.Applied != 2 || st.Lacks(100) != 2 || st.Lacks(104) != 6 {
		t.Errorf("followed to %d, lacks %d, and of four more %d", st.Applied, st.Lacks(100), st.Lacks(104))
	}
	if st := s.Status(); st.Reason != "not reachable" { // since when, it says beside that
		t.Errorf("%+v", st)
	}
	clear(s.open)
	if st := s.Status(); st.Applied != 100 || st.Lacks(100) != 0 || st.Lacks(101) != 1 {
		t.Errorf("followed to %d, lacks %d, and of one more %d", st.Applied, st.Lacks(100), st.Lacks(101))
	}
}
