package enroll

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
)

// TestSpared: by a retired key that is spared devices renew for a while, and by
// one whose time has come they do not, though the claims still have it.
func TestSpared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("x", fleet.Terms{Uses: 9})
	x, y := d.enrol(), d.same("y").enrol()
	retires := w.clock.Add(time.Minute).Unix()
	fresh := must(keys.NewAccount())
	cohort := w.fleet.Cohort("x")
	old := w.cohorts[cohort]
	w.publish(func(ac *jwt.AccountClaims) {
		w.fleet.Roll(ac, must(w.fleet.Template(ac)), map[int]string{cohort: fresh.PublicKey()}, fleet.Until(retires))
	})
	w.give(fresh)
	w.cohorts[cohort] = fresh
	if _, err := x.ask(); err != nil {
		t.Errorf("before its key retires: %v", err)
	}
	w.clock = time.Unix(retires, 0)
	_, err := x.ask()
	w.refuses("when its key was to retire", err, fault.Denied, "retired-key")

	spared := fleet.Spared{}
	role := w.fleet.CohortRole(cohort, 1)
	spared.Change(map[string]string{old.PublicKey(): role}, nil, w.clock.Add(time.Hour).Unix(), w.clock.Unix())
	w.put(store.Record{Kind: store.Spared, Key: w.account.PublicKey(), JWT: must(spared.Encode())}, func(_, _ *store.Record) {})
	_, err = x.ask()
	w.refuses("spared, and not retired by anybody", err, fault.Denied, "retired-key")
	w.publish(func(ac *jwt.AccountClaims) { ac.SigningKeys.Remove(old.PublicKey()) })
	w.put(must(w.record()), func(_, next *store.Record) { next.Retired = map[string]int64{old.PublicKey(): w.clock.Unix()} })
	_, err = x.ask()
	w.refuses("spared, and retired as one that was stolen", err, fault.Denied, "retired-key")
	w.publish(func(ac *jwt.AccountClaims) {
		ac.Tags.Add(fmt.Sprintf("returns:%s:%d", role, w.clock.Add(time.Hour).Unix()))
	})
	_, err = x.ask()
	w.refuses("spared, and taken out by who knows nothing of that", err, fault.Denied, "retired-key")
	w.publish(func(ac *jwt.AccountClaims) { ac.Tags.Remove(fmt.Sprintf("retires:%s:%d", role, retires)) })
	reply, err := x.ask()
	if err != nil {
		t.Fatalf("spared: %v", err)
	}
	w.check(&device{w: w, pair: x.pair, jwt: reply.JWT}, "x")
	denied := fleet.Denied{w.fleet.MarkID("x"): w.clock.Add(time.Hour).Unix()}
	w.put(store.Record{Kind: store.Denied, Key: w.account.PublicKey(), JWT: denied.Encode()}, func(_, _ *store.Record) {})
	_, err = x.ask()
	w.refuses("spared, but denied", err, fault.Denied, "revoked")
	w.clock = w.clock.Add(time.Hour + time.Second)
	_, err = x.ask()
	w.refuses("no longer spared", err, fault.Denied, "retired-key")
	if w.fleet.Cohort("y") != cohort {
		if _, err := y.ask(); err != nil {
			t.Errorf("of another cohort: %v", err)
		}
	}
}

// TestRenewAfterRoll: whoever is cut by a planned roll renews by what it has, from
// the moment at which its key was to go; who was revoked before does not, though
// the list has been freed of it.
func TestRenewAfterRoll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.device("x", fleet.Terms{Uses: 9})
	x, bad := d.enrol(), d.same("bad").enrol()
	at := w.clock.Unix()
	w.put(must(w.record()), func(_, next *store.Record) {
		next.Dropped = []revocation.Dropped{{Entry: revocation.Entry{Key: bad.pair.PublicKey(), At: at}, Because: revocation.AllRetired}}
	})
	w.clock = w.clock.Add(20 * time.Minute)
	window := w.fleet.Within(w.clock.Unix(), w.clock.Unix()+120)
	fresh, public, spared, roles := []keys.AccountPair{}, map[int]string{}, fleet.Spared{}, map[string]string{}
	for cohort := range w.fleet.Cohorts {
		fresh = append(fresh, must(keys.NewAccount()))
		public[cohort] = fresh[cohort].PublicKey()
		roles[w.cohorts[cohort].PublicKey()] = w.fleet.CohortRole(cohort, 1)
	}
	w.publish(func(ac *jwt.AccountClaims) { w.fleet.Roll(ac, must(w.fleet.Template(ac)), public, window) })
	w.give(fresh...)
	w.cohorts = fresh
	w.clock = time.Unix(window.To, 0)
	_, err := x.ask()
	w.refuses("a roll of which accountd was not told", err, fault.Denied, "retired-key")
	spared.Change(roles, nil, window.Returns, window.Now)
	w.put(store.Record{Kind: store.Spared, Key: w.account.PublicKey(), JWT: must(spared.Encode())}, func(_, _ *store.Record) {})
	for _, when := range []string{"when its key was to go", "when it is gone"} {
		if _, err := x.ask(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		_, err = bad.ask()
		w.refuses("revoked, "+when, err, fault.Denied, "revoked")
		w.publish(func(ac *jwt.AccountClaims) { fleet.Compact(ac, w.clock, true) })
		w.put(must(w.record()), func(_, next *store.Record) {
			next.Retired = map[string]int64{}
			for key := range roles {
				next.Retired[key] = w.clock.Unix()
			}
		})
	}
	w.clock = time.Unix(window.Returns, 0)
	_, err = x.ask()
	w.refuses("when all that it signed has expired", err, fault.Denied, "retired-key")
}
