package resolver

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/revocation"
)

// sensors makes the tenant's account one for devices alone, with a station that
// retires in an hour.
func (w *world) sensors() *claims.Document {
	w.t.Helper()
	ac := w.account()
	f := fleet.Fleet{Name: "sensors", Cohorts: 2, TTL: time.Hour, Confine: fleet.ByID}
	template := must(f.Template(ac))
	public := make([]string, 3)
	for i := range public {
		public[i] = w.newAccountKey()
	}
	if err := fleet.SetOnly(ac, f.TTL); err != nil {
		w.t.Fatal(err)
	}
	if err := fleet.Add(ac, f, template, public[:2]); err != nil {
		w.t.Fatal(err)
	}
	if err := f.AddStation(ac, "line4", public[2], template, w.clock.Add(time.Hour).Unix()); err != nil {
		w.t.Fatal(err)
	}
	fleet.Compact(ac, w.clock, false)
	ac.Revocations["UA"] = w.clock.Unix()
	doc := w.sign(w.sk, ac)
	w.mustPut(doc, "")
	return doc
}

func (w *world) stored(key string) *jwt.AccountClaims {
	w.t.Helper()
	return must(claims.As[jwt.AccountClaims](must(claims.Decode(w.record(key).JWT))))
}

// TestUpkeepCompacts: with a key of its own, accountd retires keys and moves the
// horizon when they are due, and not before.
func TestUpkeepCompacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s.cfg.Signer = w.accountd
	doc := w.sensors()
	run := func(changes uint64) {
		t.Helper()
		before := w.head()
		if _, err := w.s.upkeep(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := w.head() - before; got != changes {
			t.Fatalf("%d changes at %s, want %d", got, w.clock, changes)
		}
		if open := must(w.s.Proposals(context.Background())); len(open) > 0 {
			t.Fatalf("accountd signs by itself, and these wait: %+v", open)
		}
	}
	run(0)
	w.clock = w.clock.Add(30 * time.Minute) // the horizon moves in steps
	run(1)
	run(0)
	if ac := w.stored(doc.Subject); len(ac.SigningKeys) != 3 || ac.Revocations["UA"] == 0 {
		t.Fatalf("too early: %v", ac.Revocations)
	}
	w.clock = w.clock.Add(30 * time.Minute)
	run(1)
	if ac := w.stored(doc.Subject); len(ac.SigningKeys) != 2 {
		t.Fatalf("the station lives: %v", ac.SigningKeys.Keys())
	}
	w.clock = w.clock.Add(time.Hour)
	run(1)
	rec := w.record(doc.Subject)
	if ac := w.stored(doc.Subject); len(ac.Revocations) != 1 || len(rec.Dropped) != 0 || rec.Issuer != w.accountd.PublicKey() {
		t.Fatalf("left %v, remembers %v, signed by %s", ac.Revocations, rec.Dropped, rec.Issuer)
	}
}

// TestUpkeepSetsNoFirstHorizon: an account that is made fleet-only later may
// have users that live longer.
func TestUpkeepSetsNoFirstHorizon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s.cfg.Signer = w.accountd
	ac := w.account()
	if err := fleet.SetOnly(ac, time.Hour); err != nil {
		t.Fatal(err)
	}
	doc := w.sign(w.sk, ac)
	w.mustPut(doc, "")
	w.clock = w.clock.Add(240 * time.Hour)
	if _, err := w.s.upkeep(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := w.stored(doc.Subject); got.Revocations[revocation.All] != 0 {
		t.Fatal("users were refused unasked")
	}
}

// TestUpkeepWithoutAKey: what accountd cannot sign waits, with a deadline, until
// somebody has.
func TestUpkeepWithoutAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := w.sensors()
	before := w.head()
	if _, err := w.s.upkeep(context.Background()); err != nil {
		t.Fatal(err)
	}
	if open := must(w.s.Proposals(context.Background())); len(open) > 0 {
		t.Fatalf("waits: %+v", open)
	}
	due := w.clock.Add(time.Hour)
	w.clock = w.clock.Add(2 * time.Hour)
	next := must(w.s.upkeep(context.Background()))
	open := must(w.s.Proposals(context.Background()))
	if len(open) != 1 || open[0].Account != doc.Subject || open[0].Do != api.DoCompact || open[0].Since > due.Unix() || open[0].By <= open[0].Since || !next.IsZero() {
		t.Fatalf("%+v, next %s", open, next)
	}
	if list := w.s.List(context.Background(), api.ListRequest{Kind: api.KindProposal}); len(list.Due) != 1 || list.Due[0] != open[0] {
		t.Fatalf("%+v", list)
	}
	if st := w.s.Status(context.Background(), api.StatusRequest{Account: "SYS"}); len(st.Proposals) != 0 {
		t.Fatalf("of SYS: %+v", st.Proposals)
	}
	if w.head() != before {
		t.Fatal("accountd signed without a key")
	}
	var drop []revocation.Drop
	next2 := w.edit(doc, func(ac *jwt.AccountClaims) {
		fleet.Compact(ac, w.clock, false)
		drop = fleet.Drops(ac)
	})
	w.mustPut(next2, doc.ID, func(i *api.Item) { i.Drop = drop })
	if open := must(w.s.Proposals(context.Background())); len(open) > 0 {
		t.Fatalf("still waits: %+v", open)
	}
}
