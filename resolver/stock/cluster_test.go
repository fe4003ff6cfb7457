package stock

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/store"
)

// refused returns nil once a user is not let in.
func refused(u *user, url string) func() error {
	return func() error {
		nc, err := u.connect(url)
		if err == nil {
			nc.Close()
			return fmt.Errorf("%s lets the user in", url)
		}
		if !strings.Contains(err.Error(), "Authorization") {
			return err
		}
		return nil
	}
}

// TestServerThatWasAway: a server that was down during a push, a revocation and
// a deletion returns with its old directory, and gets all of it by itself.
func TestServerThatWasAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full, full)
	w.start()
	w.up("s0", "s1", "s2")
	changed, revoked, deleted := w.tenant("changed"), w.tenant("revoked"), w.tenant("deleted")
	bad, lost, good := w.user(revoked.kp), w.user(deleted.kp), w.user(revoked.kp)
	for _, a := range []*tenant{changed, revoked, deleted} {
		w.shows(api.Stored, a.put(), "s0", "s1", "s2")
	}
	away := w.members[2]
	away.stop()
	natstest.Eventually(t, patience, func() error {
		if w.server("s2").Status().Healthy {
			return fmt.Errorf("s2 counts as up")
		}
		return nil
	})
	recs := []store.Record{changed.put(), revoked.revoke(bad), deleted.delete()}
	for _, rec := range recs {
		w.shows(api.Stored, rec, "s0", "s1")
		if p := w.server("s2").Proof(rec.Key); p.State != api.Pending || !strings.Contains(p.Reason, "not reachable") {
			t.Fatalf("s2 is away: %+v", p)
		}
	}
	away.start()
	for _, rec := range recs {
		w.shows(api.Stored, rec, "s2")
	}
	for _, m := range w.members {
		natstest.Eventually(t, patience, refused(bad, m.url()))
		natstest.Eventually(t, patience, refused(lost, m.url()))
		nc := must(good.connect(m.url()))
		nc.Close()
	}
	for _, s := range w.fleet.Servers() {
		natstest.Eventually(t, patience, func() error {
			if st := s.Status(); st.Applied != must(w.head()) {
				return fmt.Errorf("%s has followed to %d", st.Server, st.Applied)
			}
			return nil
		})
	}
}

func (w *world) head() (n uint64, err error) {
	err = w.store.View(context.Background(), func(r store.Reader) error {
		n, err = r.Head()
		return err
	})
	return n, err
}

// TestRestartWhileAServerIsAway: a new process still expects a server that is
// down, and brings it what it missed.
func TestRestartWhileAServerIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	w.start()
	w.up("s0", "s1")
	a := w.tenant("coke")
	w.shows(api.Stored, a.put(), "s0", "s1")
	w.members[1].stop()
	w.fleet.Close()
	rec := a.put()
	w.start()
	w.up("s0")
	w.shows(api.Stored, rec, "s0")
	if s := w.server("s1"); s == nil {
		t.Fatal("s1 is forgotten")
	} else if p := s.Proof(rec.Key); p.State != api.Pending {
		t.Fatalf("s1 is away: %+v", p)
	}
	w.members[1].start()
	w.shows(api.Stored, rec, "s1")
}

// TestForget: a server that is down is expected until it is forgotten, also by
// the next process; one that is up cannot be forgotten.
func TestForget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	w.start()
	w.up("s0", "s1")
	ctx := context.Background()
	if err := w.fleet.Forget(ctx, "s1"); err == nil {
		t.Fatal("a server that is up was forgotten")
	}
	w.members[1].stop()
	natstest.Eventually(t, patience, func() error { return w.fleet.Forget(ctx, "s1") })
	if err := w.fleet.Forget(ctx, "s1"); err == nil {
		t.Fatal("forgotten twice")
	}
	w.fleet.Close()
	w.start()
	w.up("s0")
	if w.server("s1") != nil {
		t.Fatal("s1 is still expected")
	}
}

// TestUndeletable: a server without allow_delete is named; its users are out
// all the same.
func TestUndeletable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full, func(m *member) string {
		return fmt.Sprintf("resolver: { type: full, dir: %q }\n", m.dir)
	})
	w.start()
	w.up("s0", "s1", "s2")
	a := w.tenant("coke")
	u := w.user(a.kp)
	w.shows(api.Stored, a.put(), "s0", "s1", "s2")
	closed := make(chan struct{})
	nc := must(u.connect(w.members[2].url(), nats.ClosedHandler(func(*nats.Conn) { close(closed) })))
	defer nc.Close()
	rec := a.delete()
	w.shows(api.Stored, rec, "s0", "s1")
	w.shows(api.Rejected, rec, "s2")
	if p := w.server("s2").Proof(rec.Key); !strings.Contains(p.Reason, "undeletable") {
		t.Fatalf("s2: %+v", p)
	}
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("the user is still connected")
	}
	for _, m := range w.members {
		natstest.Eventually(t, patience, refused(u, m.url()))
	}
}

// TestRevocationIsCut: whoever is connected is cut, and the proof lists it.
func TestRevocationIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full, full)
	w.start()
	w.up("s0", "s1", "s2")
	a := w.tenant("coke")
	bad, good := w.user(a.kp), w.user(a.kp)
	w.shows(api.Stored, a.put(), "s0", "s1", "s2")
	closed := make(chan struct{}, 3)
	for i, m := range w.members {
		nc := must(bad.connect(m.url(), nats.Name(fmt.Sprintf("bad-%d", i)), nats.ClosedHandler(func(*nats.Conn) { closed <- struct{}{} })))
		defer nc.Close()
		stay := must(good.connect(m.url(), nats.ClosedHandler(func(*nats.Conn) { t.Error("a user that may stay was cut") })))
		defer func() {
			stay.SetClosedHandler(nil)
			stay.Close()
		}()
	}
	rec := a.revoke(bad)
	for range w.members {
		select {
		case <-closed:
		case <-time.After(patience):
			t.Fatal("the revoked user is still connected")
		}
	}
	for i, m := range w.members {
		p := w.await(m.name, rec)
		if p.State != api.InForce || !p.Swept || len(p.Closed) != 1 {
			t.Fatalf("%s: %+v", m.name, p)
		}
		if c := p.Closed[0]; c.User != bad.kp.PublicKey() || c.Name != fmt.Sprintf("bad-%d", i) || c.Kind != "client" {
			t.Fatalf("%s closed %+v", m.name, c)
		}
		if err := refused(bad, m.url())(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStalePushIsUndone: what somebody sends straight to the servers is taken
// back within a second, and recorded.
func TestStalePushIsUndone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full, full)
	w.start()
	w.up("s0", "s1", "s2")
	a := w.tenant("coke")
	bad := w.user(a.kp)
	old := a.put()
	w.shows(api.Stored, old, "s0", "s1", "s2")
	rec := a.revoke(bad)
	w.shows(api.Stored, rec, "s0", "s1", "s2")
	pusher := w.systemConn()
	for _, subject := range []string{"$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT." + rec.Key + ".CLAIMS.UPDATE"} {
		was := w.fleet.Undone()
		began := time.Now()
		if _, err := pusher.Request(subject, []byte(old.JWT), patience); err != nil {
			t.Fatal(err)
		}
		natstest.Eventually(t, patience, func() error {
			equal, _, err := w.fleet.compare(context.Background(), rec.Key, rec.JWT)
			if err == nil && (!equal || w.fleet.Undone() == was) {
				err = fmt.Errorf("not undone")
			}
			return err
		})
		t.Logf("undone after %v", time.Since(began))
		for _, m := range w.members {
			if err := refused(bad, m.url())(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !strings.Contains(w.log.String(), "undoing what somebody sent straight to the servers") {
		t.Fatal("not recorded")
	}
}

// TestNewerPushIsAdmitted: the resolver's own door decides about what somebody
// sends straight to the servers.
func TestNewerPushIsAdmitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	a := w.tenant("coke")
	w.start(func(c *Config) {
		c.Admit = func(_ context.Context, token string) error {
			w.write(store.Record{Kind: store.Account, Key: a.kp.PublicKey(), JWT: token})
			return nil
		}
	})
	w.up("s0", "s1")
	w.shows(api.Stored, a.put(), "s0", "s1")
	newer := a.sign()
	if _, err := w.systemConn().Request("$SYS.REQ.CLAIMS.UPDATE", []byte(newer), patience); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() error {
		rec, err := w.fleet.record(context.Background(), a.kp.PublicKey())
		if err == nil && (rec.JWT != newer || rec.Revision != 2) {
			err = fmt.Errorf("not admitted yet")
		}
		return err
	})
	rec := must(w.fleet.record(context.Background(), a.kp.PublicKey()))
	w.shows(api.Stored, rec, "s0", "s1")
	if n := w.fleet.Undone(); n != 0 {
		t.Fatalf("%d admitted pushes were undone", n)
	}
}

// TestOldDirectoryIsFound: what a directory holds is compared with the store
// also where no change tells: here somebody pushed while accountd was away.
func TestOldDirectoryIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	w.start()
	w.up("s0", "s1")
	a, gone := w.tenant("coke"), w.tenant("gone")
	bad, lost := w.user(a.kp), w.user(gone.kp)
	old, dead := a.put(), gone.put()
	w.shows(api.Stored, old, "s0", "s1")
	w.shows(api.Stored, dead, "s0", "s1")
	rec := a.revoke(bad)
	w.shows(api.Stored, rec, "s0", "s1")
	w.shows(api.Stored, gone.delete(), "s0", "s1")
	w.awaitAll()
	w.fleet.Close()
	pusher := w.systemConn()
	for _, token := range []string{old.JWT, dead.JWT} {
		must(pusher.Request("$SYS.REQ.CLAIMS.UPDATE", []byte(token), patience))
	}
	w.start()
	w.up("s0", "s1")
	for _, m := range w.members {
		natstest.Eventually(t, patience, refused(bad, m.url()))
		natstest.Eventually(t, patience, refused(lost, m.url()))
	}
}

// TestDeletionWithoutSigner: in offline custody a deletion waits for a signature
// and says so; with one it is done.
func TestDeletionWithoutSigner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	w.start(func(c *Config) { c.Signer = nil })
	w.up("s0")
	a := w.tenant("coke")
	w.shows(api.Stored, a.put(), "s0")
	rec := a.delete()
	natstest.Eventually(t, patience, func() error {
		if p := w.server("s0").Proof(rec.Key); p.State != api.Pending || !strings.Contains(p.Reason, "signature") {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	w.fleet.Close()
	w.start()
	w.up("s0")
	w.shows(api.Stored, rec, "s0")
}

// TestDeletionThatWasSigned: in offline custody the request that came with the
// deletion is handed on, also to a server that was away, and to one that knows
// the account only because a client elsewhere subscribes.
func TestDeletionThatWasSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full, full)
	w.routed()
	w.start(func(c *Config) { c.Signer = nil })
	w.up("s0", "s1", "s2")
	a := w.tenant("coke")
	u := w.user(a.kp)
	w.shows(api.Stored, a.put(), "s0", "s1", "s2")
	nc := must(u.connect(w.members[0].url()))
	defer nc.Close()
	must(nc.SubscribeSync("x"))
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	away := w.members[2]
	away.stop()
	natstest.Eventually(t, patience, func() error {
		if w.server("s2").Status().Healthy {
			return fmt.Errorf("s2 counts as up")
		}
		return nil
	})
	rec := must(w.fleet.record(context.Background(), a.kp.PublicKey()))
	rec.Deleted = true
	rec.Deletion = must(claims.Request("generic", w.sk.PublicKey(), "", "n", 0, map[string]any{"accounts": []string{rec.Key}}).Sign(w.sk, time.Now().Unix())).Token
	rec = w.write(rec)
	w.shows(api.InForce, rec, "s0")
	w.shows(api.Stored, rec, "s1")
	away.start()
	w.shows(api.Stored, rec, "s2")
	for _, m := range w.members {
		if err := refused(u, m.url())(); err != nil {
			t.Error(err)
		}
	}
}

// TestBearerUsersAreSaid: servers hide the JWTs of bearer users from a sweep.
func TestBearerUsersAreSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	w.start()
	w.up("s0")
	a := w.tenant("coke")
	other := w.user(a.kp)
	bearer := w.user(a.kp, func(uc *jwt.UserClaims) { uc.BearerToken = true })
	w.shows(api.Stored, a.put(), "s0")
	nc := must(bearer.connect(w.members[0].url()))
	defer nc.Close()
	rec := a.revoke(other)
	if p := w.await("s0", rec); p.State != api.InForce || !strings.Contains(p.Reason, "bearer") {
		t.Fatalf("%+v", p)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	rec = a.revoke(bearer)
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("the revoked bearer user is still connected")
	}
	if p := w.await("s0", rec); len(p.Closed) != 1 || p.Closed[0].User != bearer.kp.PublicKey() {
		t.Fatalf("%+v", p)
	}
}

// TestDigest: our sum of the store is what directories compute, so that one
// that holds the same answers without its content, also beside accounts that
// accountd does not know.
func TestDigest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	w.start()
	w.up("s0")
	ctx := context.Background()
	w.shows(api.Stored, w.tenant("coke").put(), "s0")
	_, sum, err := w.fleet.stored(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if held, whole, err := w.fleet.pack(ctx, sum); err != nil || !whole || len(held) != 0 {
		t.Fatalf("%d accounts sent, whole %v, err %v", len(held), whole, err)
	}
	stranger := w.tenant("stranger").sign()
	must(w.systemConn().Request("$SYS.REQ.CLAIMS.UPDATE", []byte(stranger), patience))
	held, whole, err := w.fleet.pack(ctx, sum)
	if err != nil || !whole || len(held) != 3 {
		t.Fatalf("%d accounts sent, whole %v, err %v", len(held), whole, err)
	}
	var extra claims.Sum
	extra.Add(stranger)
	if held, _, err := w.fleet.pack(ctx, sum.Xor(extra)); err != nil || len(held) != 0 {
		t.Fatalf("%d accounts sent, err %v", len(held), err)
	}
}

// TestRestoredAccount: a deleted account that is signed anew serves again,
// where it was deleted and where it was only suspended.
func TestRestoredAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, func(m *member) string { return fmt.Sprintf("resolver: { type: full, dir: %q }\n", m.dir) })
	w.start()
	w.up("s0", "s1")
	a := w.tenant("coke")
	u := w.user(a.kp)
	w.shows(api.Stored, a.put(), "s0", "s1")
	for _, m := range w.members {
		nc := must(u.connect(m.url()))
		defer nc.Close()
	}
	gone := a.delete()
	w.shows(api.InForce, gone, "s0")
	w.shows(api.Rejected, gone, "s1")
	natstest.Eventually(t, patience, refused(u, w.members[1].url()))
	rec := a.put()
	w.shows(api.InForce, rec, "s0", "s1")
	for _, m := range w.members {
		must(u.connect(m.url())).Close()
	}
}
