package node

import (
	"testing"
	"time"
)

// A comparison that runs all the time takes no version out of its lane's
// hands: each is cut, swept and proven as ever.
func TestReconcileLeavesWorkToTheLane(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{Reconcile: 100 * time.Microsecond})
	app := w.account("APP")
	inForce(t, n, app.rec)
	for range 20 {
		u := app.user("u", nil)
		c := connect(t, n, u)
		p := inForce(t, n, app.revoke(u))
		c.gone(t)
		if !p.Swept || len(p.Closed) != 1 || p.Ms < 200 {
			t.Fatalf("proof %+v", p)
		}
	}
	if got := n.Repaired(); got != 0 {
		t.Errorf("%d corrections of what was right", got)
	}
}
