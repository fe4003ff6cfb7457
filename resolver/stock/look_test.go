package stock

import (
	"syscall"
	"testing"
	"time"

	"github.com/accountd/accountd/internal/natstest"
)

// looked waits until the fleet has looked for servers once.
func (w *world) looked() {
	w.t.Helper()
	select {
	case <-w.fleet.Looked():
	case <-time.After(patience):
		w.t.Fatal("the first look for servers does not end")
	}
}

// TestFirstLookFindsTheCluster: once the first look is over, all servers are
// known, whichever answered first, and have been looked at.
func TestFirstLookFindsTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full, full)
	w.routed()
	w.start()
	w.looked()
	for _, m := range w.members {
		if s := w.server(m.name); s == nil || !s.Status().Healthy || s.Kind() != Full {
			t.Errorf("%s was not found: %+v", m.name, s)
		}
	}
}

// TestFirstLookNamesWhoIsSilent: a server that others have routes to, and that
// does not answer, is expected and holds the first look up for a bounded time.
func TestFirstLookNamesWhoIsSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	w.routed()
	silent := w.members[1].running
	silent.Signal(syscall.SIGSTOP)
	t.Cleanup(func() { silent.Signal(syscall.SIGCONT) })
	w.start(func(c *Config) { c.Answer = time.Second })
	w.looked()
	if s := w.server("s0"); s == nil || !s.Status().Healthy {
		t.Fatal("s0 answers and was not found")
	}
	s := w.server("s1")
	if s == nil || s.Status().Healthy {
		t.Fatalf("s1 does not answer, and is not expected and away: %+v", s)
	}
	silent.Signal(syscall.SIGCONT)
	w.up("s1")
}

// routed waits until every server has routes to all others.
func (w *world) routed() {
	w.t.Helper()
	for _, m := range w.members {
		natstest.Eventually(w.t, patience, func() error { return m.running.RoutedTo(len(w.members) - 1) })
	}
}
