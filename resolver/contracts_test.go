package resolver

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// TestContractsThatEnd: what ends soon is said, and importers are signed anew,
// once, when one ends of which stock servers do not notice.
func TestContractsThatEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s.cfg.Signer, w.s.cfg.Unaware = w.accountd, func() bool { return true }
	key := must(keys.NewAccount())
	ac := jwt.NewAccountClaims(key.PublicKey())
	ac.Name = "coke"
	ac.Exports.Add(&jwt.Export{Type: jwt.Service, Subject: "q.>", TokenReq: true})
	w.mustPut(w.sign(w.sk, ac), "")
	end := w.clock.Add(10 * time.Minute).Unix()
	importer := func(name, local string) *claims.Document {
		d := w.named(name)
		act := jwt.NewActivationClaims(d.Subject)
		act.ImportSubject, act.ImportType, act.Expires = "q.a", jwt.Service, end
		token := must(must(claims.New(act)).Sign(key, w.clock.Unix())).Token
		d = w.edit(d, func(ac *jwt.AccountClaims) {
			ac.Imports.Add(&jwt.Import{Account: key.PublicKey(), Type: jwt.Service, Subject: "q.a", LocalSubject: jwt.RenamingSubject(local), Token: token})
		})
		w.mustPut(d, "")
		return d
	}
	noticed, unnoticed := importer("noticed", "q.a"), importer("unnoticed", "coke.a")
	if soon, next, err := w.s.Contracts(context.Background()); soon != 2 || next.Unix() != end || err != nil {
		t.Errorf("%d, %s, %v", soon, next, err)
	}
	if warned := strings.Join(must(w.s.Warnings(context.Background())), "\n"); strings.Count(warned, "nsc contracts renew ") != 2 {
		t.Errorf("%s", warned)
	}
	next := must(w.s.upkeep(context.Background()))
	if next.Unix() != end || w.record(unnoticed.Subject).Revision != 1 {
		t.Errorf("next %s, %+v", next, w.record(unnoticed.Subject))
	}
	w.clock = time.Unix(end, 0)
	for range 2 {
		_ = must(w.s.upkeep(context.Background()))
		if rec := w.record(unnoticed.Subject); rec.Revision != 2 || rec.IssuedAt < end {
			t.Errorf("%+v", rec)
		}
		if rec := w.record(noticed.Subject); rec.Revision != 1 {
			t.Errorf("%+v", rec)
		}
	}
	if soon, next, err := w.s.Contracts(context.Background()); soon != 0 || !next.IsZero() || err != nil {
		t.Errorf("%d, %s, %v", soon, next, err)
	}
}
