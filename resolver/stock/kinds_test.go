package stock

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/store"
)

func cache(m *member) string {
	return fmt.Sprintf("resolver: { type: cache, dir: %q, ttl: \"1h\" }\n", m.dir)
}

func memory(*member) string { return "resolver: MEMORY\n" }

// accountServer serves the accounts of a world's store over HTTP.
type accountServer struct {
	probes Probes
	mu     sync.Mutex
	w      *world
	http   *httptest.Server
}

func newAccountServer(t *testing.T) *accountServer {
	s := &accountServer{}
	s.http = httptest.NewServer(s.probes.Handler(http.HandlerFunc(s.serve)))
	t.Cleanup(s.http.Close)
	return s
}

// config makes a server fetch its accounts here.
func (s *accountServer) config(m *member) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w = m.w
	return fmt.Sprintf("resolver: URL(%s/jwt/v1/accounts/)\n", s.http.URL)
}

func (s *accountServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	world := s.w
	s.mu.Unlock()
	id := path.Base(r.URL.Path)
	if id == "accounts" {
		return // servers probe it when they start
	}
	var rec store.Record
	err := world.store.View(r.Context(), func(rd store.Reader) (err error) {
		rec, err = rd.Get(store.Account, id)
		return err
	})
	if err != nil || rec.Deleted {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, rec.JWT)
}

// TestKinds: each kind is told from the others by how it behaves, gets what it
// can take, and is never said to enforce what it does not.
func TestKinds(t *testing.T) {
	t.Parallel()
	accounts := newAccountServer(t)
	w := newWorld(t, full, cache, accounts.config, memory)
	w.start(func(c *Config) { c.Probes = &accounts.probes })
	w.up("s0", "s1", "s2", "s3")
	for name, kind := range map[string]Kind{"s0": Full, "s1": Cache, "s2": URL, "s3": Memory} {
		if got := w.server(name).Kind(); got != kind {
			t.Errorf("%s is %q, wanted %q", name, got, kind)
		}
	}
	a := w.tenant("coke")
	bad := w.user(a.kp)
	rec := a.put()
	w.shows(api.Stored, rec, "s0", "s1", "s2")
	w.shows(api.Rejected, rec, "s3")
	if p := w.await("s3", rec); !strings.Contains(p.Reason, "not served") {
		t.Errorf("s3: %+v", p)
	}
	closed := make(chan struct{}, 3)
	for _, m := range w.members[:3] {
		nc := must(bad.connect(m.url(), nats.ClosedHandler(func(*nats.Conn) { closed <- struct{}{} })))
		defer nc.Close()
	}
	rec = a.revoke(bad)
	w.shows(api.InForce, rec, "s0", "s1", "s2")
	for range 3 {
		select {
		case <-closed:
		case <-time.After(patience):
			t.Fatal("the revoked user is still connected")
		}
	}
	rec = a.delete()
	w.shows(api.InForce, rec, "s0", "s1", "s2")
	good := w.user(a.kp)
	for _, m := range w.members[:3] {
		if err := refused(good, m.url())(); err != nil {
			t.Error(err)
		}
	}
}

// TestCacheWithAnOldFile: a cache server that restarts would serve an account
// from the file that it has; it is made to take the version in force.
func TestCacheWithAnOldFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, cache)
	w.start()
	w.up("s0", "s1")
	a := w.tenant("coke")
	bad := w.user(a.kp)
	w.shows(api.Stored, a.put(), "s0", "s1")
	must(bad.connect(w.members[1].url())).Close() // now it has a file
	w.members[1].stop()
	rec := a.revoke(bad)
	w.shows(api.Stored, rec, "s0")
	w.members[1].start()
	w.shows(api.InForce, rec, "s1")
	natstest.Eventually(t, patience, refused(bad, w.members[1].url()))
}
