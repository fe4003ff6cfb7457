package stock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/store"
)

// TestOneVersionASecond: full servers order versions by whole seconds, so that
// quick changes of an account are merged; the last one arrives.
func TestOneVersionASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	w.start()
	w.up("s0")
	a := w.tenant("coke")
	type push struct {
		at  time.Time
		jwt string
	}
	pushes := make(chan push, 100)
	nc := w.systemConn()
	if _, err := nc.Subscribe(fmt.Sprintf(subjectUpdateOf, a.kp.PublicKey()), func(m *nats.Msg) {
		pushes <- push{time.Now(), string(m.Data)}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	w.shows(api.Stored, a.put(), "s0")
	var last store.Record
	for range 10 {
		last = a.put()
	}
	w.shows(api.Stored, last, "s0")
	var seen []push
	natstest.Eventually(t, patience, func() error {
		for len(pushes) > 0 {
			if p := <-pushes; len(seen) == 0 || seen[len(seen)-1].jwt != p.jwt {
				seen = append(seen, p)
			}
		}
		if len(seen) == 0 || seen[len(seen)-1].jwt != last.JWT {
			return errors.New("the last version was not seen")
		}
		return nil
	})
	if len(seen) > 3 {
		t.Fatalf("%d of 11 versions were sent", len(seen))
	}
	for i := 1; i < len(seen); i++ {
		if gap := seen[i].at.Sub(seen[i-1].at); gap < spacing*9/10 {
			t.Fatalf("two versions within %v", gap)
		}
	}
}

// TestVersionsOfOneSecond: full servers that merge their directories may keep
// the older one of two versions of a second, so that the second one is signed
// anew with a later time before it is sent.
func TestVersionsOfOneSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	a := w.tenant("coke")
	w.start(func(c *Config) {
		c.Renew = func(_ context.Context, _ string, revision uint64) error {
			if revision != 2 {
				return fmt.Errorf("renewed revision %d", revision)
			}
			a.put()
			return nil
		}
	})
	w.up("s0")
	first := a.put()
	w.shows(api.Stored, first, "s0")
	a.at--
	a.ac.Tags.Add("two")
	if second := a.put(); second.IssuedAt != first.IssuedAt {
		t.Fatalf("issued at %d and %d", first.IssuedAt, second.IssuedAt)
	}
	third := first
	third.Revision = 3
	w.shows(api.Stored, third, "s0")
	if rec := must(w.fleet.record(context.Background(), first.Key)); rec.Revision != 3 || rec.IssuedAt <= first.IssuedAt {
		t.Fatalf("%+v", rec)
	}
}

// TestKilledServer: a server that ends without a word, and takes the fleet's
// own connection with it, holds nobody up and gets what it missed.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	w.start()
	w.up("s0", "s1")
	a := w.tenant("coke")
	w.shows(api.Stored, a.put(), "s0", "s1")
	w.members[0].running.Kill()
	rec := a.put()
	w.shows(api.Stored, rec, "s1")
	if p := w.server("s0").Proof(rec.Key); p.State != api.Pending {
		t.Fatalf("s0 is gone: %+v", p)
	}
	w.members[0].start()
	w.shows(api.Stored, rec, "s0", "s1")
}

// TestStrayDeletionOfALoadedAccount: servers ignore the version that they had
// before a removal, so that it is signed anew; where nobody can, that is said.
func TestStrayDeletionOfALoadedAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	a := w.tenant("coke")
	w.start(func(c *Config) {
		c.Renew = func(_ context.Context, account string, revision uint64) error {
			if account != a.kp.PublicKey() || revision != 1 {
				return fmt.Errorf("renewed %s revision %d", account, revision)
			}
			a.put()
			return nil
		}
	})
	w.up("s0", "s1")
	first := a.put()
	w.shows(api.Stored, first, "s0", "s1")
	u := w.user(a.kp)
	must(u.connect(w.members[0].url())).Close() // loads it there
	w.stray(first.Key)
	renewed := first
	renewed.Revision = 2
	w.shows(api.InForce, renewed, "s0")
	w.shows(api.Stored, renewed, "s1")
	for _, m := range w.members {
		must(u.connect(m.url())).Close()
	}
	w.fleet.Close()
	w.start()
	w.up("s0", "s1")
	w.awaitAll()
	w.stray(first.Key)
	natstest.Eventually(t, patience, func() error {
		if p := w.server("s0").Proof(first.Key); p.State != api.Rejected || !strings.Contains(p.Reason, "made to remove") {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
}

// stray sends a deletion straight to the servers.
func (w *world) stray(account string) {
	w.t.Helper()
	now := time.Now().Unix()
	d := must(claims.Request("generic", w.sk.PublicKey(), "", "n", now+60, map[string]any{"accounts": []string{account}}).Sign(w.sk, now))
	must(w.systemConn().Request(subjectDelete, []byte(d.Token), patience))
}

// TestStrayDeletion: a deletion that somebody sends straight to the servers,
// and that the store does not have, is taken back.
func TestStrayDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	w.start()
	w.up("s0", "s1")
	rec := w.tenant("coke").put()
	w.shows(api.Stored, rec, "s0", "s1")
	w.awaitAll()
	w.stray(rec.Key)
	natstest.Eventually(t, patience, func() error {
		equal, _, err := w.fleet.compare(context.Background(), rec.Key, rec.JWT)
		if err == nil && (!equal || w.fleet.Undone() != 1) {
			err = errors.New("not undone")
		}
		return err
	})
	w.shows(api.Stored, rec, "s0", "s1")
}
