package isolation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/isolation"
)

func worldOf(list ...*tenantKeys) *isolation.World {
	cfg := isolation.Config{Now: time.Now(), JetStream: true}
	for _, a := range list {
		cfg.Accounts = append(cfg.Accounts, a.claims)
		for _, u := range a.users {
			cfg.Users = append(cfg.Users, u.claims)
		}
	}
	return isolation.New(cfg)
}

// want asserts by what a reaches b and the reverse; "" is not at all.
func want(t *testing.T, w *isolation.World, a, b, forth, back string) {
	t.Helper()
	got := map[string]string{}
	for _, r := range w.Isolated(a, b) {
		got[r.From] = r.How
		if len(r.Path) < 3 || r.Subject == "" || r.Arrives == "" {
			t.Errorf("%+v", r)
		}
	}
	if got[a] != forth || got[b] != back {
		t.Errorf("%s -> %s %q, back %q; want %q and %q", a, b, got[a], got[b], forth, back)
	}
}

func TestJetStreamPassesOn(t *testing.T) {
	t.Parallel()
	for _, enabled := range []bool{true, false} {
		store := newTenant("store").exports(jwt.Service, "in", "$JS.API.>").exports(jwt.Stream, "out.*")
		if enabled {
			store.claims.Limits.DiskStorage = 1 << 20
		}
		writer := newTenant("writer").importing(jwt.Service, store, "in", "")
		reader := newTenant("reader").importing(jwt.Service, store, "$JS.API.>", "store.>")
		listener := newTenant("listener").importing(jwt.Stream, store, "out.*", "")
		w := worldOf(store, writer, reader, listener)
		if enabled {
			want(t, w, "writer", "reader", isolation.ByJetStream, "")
			want(t, w, "reader", "listener", isolation.ByStream, "")
		} else {
			want(t, w, "writer", "reader", "", "")
			want(t, w, "reader", "listener", "", "")
		}
		want(t, w, "writer", "listener", "", "")
	}
}

func TestMetricsTellWhoAsks(t *testing.T) {
	t.Parallel()
	a := newTenant("a").exports(jwt.Stream, "metrics.>")
	a.claims.Exports.Add(&jwt.Export{Subject: "ask", Type: jwt.Service, Latency: &jwt.ServiceLatency{Sampling: 100, Results: "metrics.ask"}})
	b := newTenant("b").importing(jwt.Service, a, "ask", "")
	c := newTenant("c").importing(jwt.Stream, a, "metrics.>", "")
	want(t, worldOf(a, b, c), "b", "c", isolation.ByMetric, "")
}

// TestUsersNarrowIsolation: a user stands for what he may do alone.
func TestUsersNarrowIsolation(t *testing.T) {
	t.Parallel()
	a := newTenant("a").exports(jwt.Stream, "s.>")
	b := newTenant("b").importing(jwt.Stream, a, "s.>", "in.>")
	a.may(pub("s.x", "t"))
	b.may(sub([]string{"in.*"}, []string{"in.x"}))
	w := worldOf(a, b)
	want(t, w, "a", "b", isolation.ByStream, "")
	want(t, w, "a:limited", "b", isolation.ByStream, "")
	want(t, w, "a", "b:limited", isolation.ByStream, "") // in.* lets in.> pass
	want(t, w, "a:limited", "b:limited", "", "")
}

// TestAMappingTakesAwayAndGives: what an account renames does not leave it by
// its first name.
func TestAMappingTakesAwayAndGives(t *testing.T) {
	t.Parallel()
	d := newTenant("d").exports(jwt.Service, "x")
	away := newTenant("away").importing(jwt.Service, d, "x", "").mapping("x", "home")
	into := newTenant("into").importing(jwt.Service, d, "x", "").mapping("x", "home").mapping("y", "x")
	w := worldOf(d, away, into)
	want(t, w, "away", "d", "", "")
	want(t, w, "into", "d", isolation.ByService, "")
	for _, r := range w.Isolated("into", "d") {
		if r.Subject != "y" || !strings.Contains(strings.Join(r.Path, "; "), "the mapping of y in into makes it x") {
			t.Errorf("%+v", r)
		}
	}
}
