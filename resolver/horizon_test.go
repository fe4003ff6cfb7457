package resolver

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/revocation"
)

// TestHorizonLetsEntriesGo: where all users are short-lived, what * covers
// leaves the list by one drop, and the record forgets it once it has expired.
func TestHorizonLetsEntriesGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ac := w.account()
	if err := fleet.SetOnly(ac, time.Hour); err != nil {
		t.Fatal(err)
	}
	ac.Revocations = jwt.RevocationList{"UA": w.clock.Unix(), "UB": w.clock.Unix() + 2}
	base := w.sign(w.sk, ac)
	w.mustPut(base, "")
	all := func(i *api.Item) { i.Drop = []revocation.Drop{{Key: revocation.All, Because: revocation.Covered}} }

	// Compacted by a clock that is ahead: UA is covered, and may yet be valid.
	early := w.edit(base, func(ac *jwt.AccountClaims) {
		ac.Revocations[revocation.All] = ac.Revocations["UA"]
		delete(ac.Revocations, "UA")
	})
	if res := w.put(api.Item{JWT: early.Token, Base: base.ID}); res.Error == nil || res.Error.Rule != "revocation" {
		t.Fatalf("lacks an entry that no drop names: %+v", res)
	}
	w.mustPut(early, base.ID, all)
	if d := w.record(early.Subject).Dropped; len(d) != 1 || d[0].Key != "UA" {
		t.Fatalf("remembered: %+v", d)
	}
	tooMuch := w.edit(early, func(ac *jwt.AccountClaims) { delete(ac.Revocations, "UB") })
	if res := w.put(api.Item{JWT: tooMuch.Token, Base: early.ID, Drop: []revocation.Drop{{Key: revocation.All, Because: revocation.Covered}}}); res.Error == nil {
		t.Fatal("an entry that * does not cover was dropped")
	}

	w.clock = w.clock.Add(2 * time.Hour)
	late := w.edit(early, func(ac *jwt.AccountClaims) { fleet.Compact(ac, w.clock, false) })
	w.mustPut(late, early.ID, all)
	if rec := w.record(late.Subject); len(rec.Dropped) != 0 {
		t.Fatalf("remembers what has expired: %+v", rec.Dropped)
	}
	back := w.edit(late, func(ac *jwt.AccountClaims) { delete(ac.Revocations, revocation.All) })
	if res := w.put(api.Item{JWT: back.Token, Base: late.ID, Unrevoke: []string{revocation.All}}); res.Error == nil || res.Error.Rule != "horizon" {
		t.Fatalf("the horizon went back: %+v", res)
	}
}
