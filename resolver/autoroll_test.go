package resolver

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/enroll"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// rolling is a world with a fleet whose list is to be freed at 10 %, and of which
// accountd has the keys if it is to.
func rolling(t *testing.T, kept bool) (*world, *jwt.AccountClaims) {
	t.Helper()
	w := newWorld(t)
	devices := must(enroll.New(enroll.Config{Store: w.store, Identity: must(operator.NewIdentity()), Now: w.s.cfg.Now}))
	w.s.cfg.Signer, w.s.cfg.Keyring = w.accountd, devices.Keyring()
	op := w.editOperator(w.operator, w.root, func(oc *jwt.OperatorClaims) { oc.StrictSigningKeyUsage = true })
	if res := w.putOperator(op, w.operator.ID); res.Error != nil {
		t.Fatalf("%+v", res.Error)
	}
	ac := w.account()
	w.mustPut(w.sign(w.sk, ac), "")
	public := []string{w.newAccountKey(), w.newAccountKey()}
	if kept {
		err := w.store.Update(t.Context(), func(tx store.Tx) error {
			made, old, rec, err := devices.Keyring().Make(tx, ac.Subject, 2)
			if err == nil {
				public = made
				_, err = tx.Put(old.Revision, rec, store.Change{Time: w.clock, Action: "keys"})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	f := fleet.Fleet{Name: "sensors", Cohorts: 2, TTL: time.Hour, Confine: fleet.ByID}
	if err := fleet.Add(ac, f, must(f.Template(ac)), public); err != nil {
		t.Fatal(err)
	}
	if err := f.SetRollAt(ac, fleet.RollAt{Percent: 10, Over: 10 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	ac.Revocations = jwt.RevocationList{}
	for i := range 1300 {
		ac.Revocations[fmt.Sprintf("U%055d", i)] = w.clock.Unix()
	}
	w.tick()
	w.mustPut(w.sign(w.sk, ac), w.record(ac.Subject).ID)
	return w, ac
}

// TestAccountdRolls: with the keys of a fleet accountd begins the roll that is due by
// itself, once, and ends it.
func TestAccountdRolls(t *testing.T) {
	t.Parallel()
	w, ac := rolling(t, true)
	upkeep := func() *jwt.AccountClaims {
		t.Helper()
		if _, err := w.s.upkeep(t.Context()); err != nil {
			t.Fatal(err)
		}
		return w.stored(ac.Subject)
	}
	if open := must(w.s.Proposals(t.Context())); len(open) > 0 {
		t.Errorf("accountd does it by itself, and these wait: %+v", open)
	}
	before := w.head()
	if upkeep(); w.head() != before {
		t.Error("rolled, though who was revoked just before stays listed")
	}
	w.clock = w.clock.Add(20 * time.Minute)
	if open := must(w.s.Proposals(t.Context())); len(open) != 1 {
		t.Errorf("it is late, and nobody is told: %+v", open)
	}
	now := upkeep()
	f := must(fleet.Find(now, "sensors"))
	roll, rolls := f.Rolling(now)
	if begun := w.clock.Unix(); !rolls || roll.Old != 2 || roll.Last != begun+590 || roll.Next != begun+295+147 {
		t.Fatalf("%v %+v at %d", rolls, roll, begun)
	}
	if marks := fleet.ReturnsOf(now); len(marks) != 2 {
		t.Errorf("marks %v", marks)
	}
	if got := w.head() - before; got != 3 { // keys, spared, account
		t.Errorf("%d changes", got)
	}
	var public []string
	for _, k := range must(f.Signers(now)) {
		public = append(public, k.Public)
	}
	err := w.store.View(t.Context(), func(r store.Reader) error {
		has, err := w.s.cfg.Keyring.Has(r, ac.Subject, public)
		if spared := must(fleet.DecodeSpared(must(r.Get(store.Spared, ac.Subject)).JWT)); !has || len(spared) != 2 {
			t.Errorf("keys kept: %v, spared: %v", has, spared)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	before = w.head()
	if upkeep(); w.head() != before {
		t.Error("it began again")
	}
	w.clock = w.clock.Add(10 * time.Minute)
	if now = upkeep(); len(now.SigningKeys) != 2 || len(now.Revocations) != 0 {
		t.Errorf("%d keys and %d revocations are left", len(now.SigningKeys), len(now.Revocations))
	}
}

// TestRollsThatWait: where accountd cannot begin a roll, it waits for the operator,
// with a deadline.
func TestRollsThatWait(t *testing.T) {
	t.Parallel()
	w, ac := rolling(t, false)
	since := ac.Revocations[fmt.Sprintf("U%055d", 0)] + 601
	w.clock = time.Unix(since, 0)
	check := func(what string) {
		t.Helper()
		before := w.head()
		if _, err := w.s.upkeep(t.Context()); err != nil || w.head() != before {
			t.Errorf("%s: %d changes, %v", what, w.head()-before, err)
		}
		open := must(w.s.Proposals(t.Context()))
		if i := slices.IndexFunc(open, func(p api.Proposal) bool { return p.Do == api.DoRoll }); i < 0 || open[i].Since != since || open[i].By != since+450 {
			t.Errorf("%s: %+v", what, open)
		}
	}
	check("without the keys of the fleet")
	w.s.cfg.Keyring = nil
	check("without an identity")
	w.s.cfg.Signer = nil
	check("without a signing key")
}

// sized remembers what a resolver.Meter is told of sizes.
type sized struct {
	noMeter
	bytes map[string]int
}

func (m sized) Stored(account, _ string, bytes int) { m.bytes[account] = bytes }

// TestSizesOfStoredAccounts: a process that starts, or beside which another one
// changes accounts, measures them too.
func TestSizesOfStoredAccounts(t *testing.T) {
	t.Parallel()
	w, ac := rolling(t, false)
	cfg, m := w.s.cfg, sized{bytes: map[string]int{}}
	cfg.Meter = m
	other := must(New(cfg))
	for range 2 {
		if _, err := other.upkeep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := m.bytes[ac.Subject], len(w.record(ac.Subject).JWT); got != want {
			t.Errorf("%d bytes of %d", got, want)
		}
		w.tick()
		ac.Revocations["UX"] = w.clock.Unix()
		w.mustPut(w.sign(w.sk, ac), w.record(ac.Subject).ID)
	}
}
