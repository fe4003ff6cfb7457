package resolver

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/revocation"
)

// TestReplacedKeysFreeTheList: once every key that can have signed for a revoked
// device is retired, its entry may go; and it must return when one of them does.
func TestReplacedKeysFreeTheList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	allRetired := func(i *api.Item) { i.Drop = []revocation.Drop{{Key: revocation.All, Because: revocation.AllRetired}} }
	f := fleet.Fleet{Name: "sensors", Cohorts: 2, TTL: 100 * time.Hour, Confine: fleet.ByID}
	ac := w.account()
	template := must(f.Template(ac))
	first := []string{w.newAccountKey(), w.newAccountKey()}
	if err := fleet.Add(ac, f, template, first); err != nil {
		t.Fatal(err)
	}
	ac.Revocations = jwt.RevocationList{"UA": w.clock.Unix()}
	v := w.sign(w.sk, ac)
	w.mustPut(v, "")
	roll := func(ac *jwt.AccountClaims) {
		f.Roll(ac, template, map[int]string{0: w.newAccountKey(), 1: w.newAccountKey()}, fleet.Window{Now: w.clock.Unix()})
	}

	w.clock = w.clock.Add(time.Hour)
	early := w.edit(v, func(ac *jwt.AccountClaims) { delete(ac.Revocations, "UA") })
	if res := w.put(api.Item{JWT: early.Token, Base: v.ID, Drop: []revocation.Drop{{Key: revocation.All, Because: revocation.AllRetired}}}); res.Error == nil || res.Error.Rule != "drop" {
		t.Fatalf("its key is there: %+v", res)
	}
	rolled := w.edit(v, roll)
	w.mustPut(rolled, v.ID)
	gone := w.edit(rolled, func(ac *jwt.AccountClaims) { delete(ac.Revocations, "UA") })
	item := api.Item{JWT: gone.Token, Base: rolled.ID, Drop: []revocation.Drop{{Key: revocation.All, Because: revocation.AllRetired}}}
	if res := w.put(item); res.Error == nil || res.Error.Rule != "drop" {
		t.Fatalf("the account itself can have signed: %+v", res)
	}
	op := w.editOperator(w.operator, w.root, func(oc *jwt.OperatorClaims) { oc.StrictSigningKeyUsage = true })
	if res := w.putOperator(op, w.operator.ID); res.Error != nil {
		t.Fatalf("%+v", res.Error)
	}
	w.mustPut(gone, rolled.ID, allRetired)
	if d := w.record(v.Subject).Dropped; len(d) != 1 || d[0].Key != "UA" {
		t.Fatalf("remembered: %+v", d)
	}

	back := w.edit(gone, func(ac *jwt.AccountClaims) {
		scope := jwt.NewUserScope()
		scope.Key, scope.Role, scope.Template = first[0], f.CohortRole(0, 1), template
		ac.SigningKeys.AddScopedSigner(scope)
	})
	unretire := func(i *api.Item) { i.Unretire = []string{first[0]} }
	res := w.put(api.Item{JWT: back.Token, Base: gone.ID, Unretire: []string{first[0]}})
	if res.Error == nil || res.Error.Rule != "revocation" {
		t.Fatalf("a key returns, and the entry does not: %+v", res)
	}
	with := w.edit(back, func(ac *jwt.AccountClaims) { ac.Revocations = jwt.RevocationList{"UA": v.IssuedAt} })
	w.mustPut(with, gone.ID, unretire)
	if rec := w.record(v.Subject); len(rec.Dropped) != 0 || rec.Born[first[0]] != 0 || len(rec.Born) != 2 {
		t.Fatalf("%+v, born %v", rec.Dropped, rec.Born)
	}
}

// TestCompactionFreesTheList: what Compact takes out and Drops names is admitted,
// with clocks that differ by as much as they may.
func TestCompactionFreesTheList(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-fleet.Skew + time.Second, fleet.Skew - time.Second} {
		w := newWorld(t)
		op := w.editOperator(w.operator, w.root, func(oc *jwt.OperatorClaims) { oc.StrictSigningKeyUsage = true })
		if res := w.putOperator(op, w.operator.ID); res.Error != nil {
			t.Fatalf("%+v", res.Error)
		}
		doc := w.sensors()
		f := fleet.Fleet{Name: "sensors", Cohorts: 2, TTL: time.Hour, Confine: fleet.ByID}
		w.clock = w.clock.Add(20 * time.Minute)
		theirs := w.clock.Add(skew)
		next := w.edit(doc, func(ac *jwt.AccountClaims) {
			fleet.Retire(ac, f.Keys(ac)[2:]) // the station
			f.Roll(ac, must(f.Newest(ac)), map[int]string{0: w.newAccountKey(), 1: w.newAccountKey()},
				fleet.Window{From: theirs.Unix(), To: theirs.Add(2 * time.Minute).Unix(), Now: theirs.Unix()})
		})
		w.mustPut(next, doc.ID)
		w.clock = w.clock.Add(10 * time.Minute)
		var done fleet.Compacted
		var drops []revocation.Drop
		last := w.edit(next, func(ac *jwt.AccountClaims) {
			done = fleet.Compact(ac, w.clock.Add(skew), true)
			drops = fleet.Drops(ac)
		})
		if done.Entries != 1 || len(done.Keys) != 2 {
			t.Fatalf("took out %+v", done)
		}
		w.mustPut(last, next.ID, func(i *api.Item) { i.Drop = drops })
	}
}
