package resolver

import (
	"context"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// selfSign signs a changed copy of d with the tenant's own key, a second later.
func (w *world) selfSign(d *claims.Document, f func(*jwt.AccountClaims)) *claims.Document {
	w.tick()
	return must(must(claims.Edit(d, func(ac *jwt.AccountClaims) error { f(ac); return nil })).Sign(w.tenant, w.clock.Unix()))
}

func (w *world) countersign(d *claims.Document) (api.Result, error) {
	return w.s.Countersign(context.Background(), "http", d.Token, "")
}

// TestCountersign: a tenant changes what is its own, within what the operator
// decided, and takes nothing back.
func TestCountersign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s.cfg.Signer = w.accountd
	ac := w.account()
	ac.Limits.Conn = 10
	ac.Tags.Add("namespace:coke")
	first := w.sign(w.sk, ac)
	unknown := w.selfSign(first, func(*jwt.AccountClaims) {})
	if _, err := w.countersign(unknown); fault.RuleOf(err) != "not allowed" {
		t.Fatalf("an account that nobody allowed: %v", err)
	}
	w.mustPut(first, "")
	posted := w.selfSign(first, func(ac *jwt.AccountClaims) {
		ac.Name, ac.Limits.Conn, ac.Limits.DiskStorage, ac.Tags = "pepsi", -1, -1, jwt.TagList{"namespace:pepsi"}
		ac.Exports = jwt.Exports{{Name: "o", Subject: "orders", Type: jwt.Stream}}
		ac.Revocations = jwt.RevocationList{victim: w.clock.Unix()}
	})
	res, err := w.countersign(posted)
	if err != nil || res.Revision != 2 {
		t.Fatalf("%+v %v", res, err)
	}
	stored := must(claims.Decode(w.record(first.Subject).JWT))
	got := must(claims.As[jwt.AccountClaims](stored))
	if stored.Issuer != w.accountd.PublicKey() || got.Name != "coke" || got.Limits.Conn != 10 || got.Limits.IsJSEnabled() ||
		len(got.Tags) != 1 || got.Tags[0] != "namespace:coke" {
		t.Errorf("not clamped: %s", got)
	}
	if len(got.Exports) != 1 || len(got.Revocations) != 1 {
		t.Errorf("the tenant's own changes are lost: %s", got)
	}
	if _, err := w.countersign(unknown); fault.RuleOf(err) != "older" {
		t.Errorf("an older self-signed version: %v", err)
	}
	back := w.selfSign(stored, func(ac *jwt.AccountClaims) { ac.Revocations = nil })
	if _, err := w.countersign(back); fault.RuleOf(err) != "revocation" {
		t.Errorf("a tenant un-revokes in passing: %v", err)
	}
	ours := w.selfSign(stored, func(*jwt.AccountClaims) {})
	if _, err := w.s.Countersign(context.Background(), "http", ours.Token, first.ID); fault.RuleOf(err) != "conflict" {
		t.Errorf("built on a version that is no longer stored: %v", err)
	}
	if _, err := w.s.Countersign(context.Background(), "http", ours.Token, stored.ID); err != nil {
		t.Errorf("built on the stored version: %v", err)
	}
	stored = must(claims.Decode(w.record(first.Subject).JWT))
	w.s.cfg.Signer = nil
	if _, err := w.countersign(w.selfSign(stored, func(*jwt.AccountClaims) {})); !fault.Is(err, fault.Pending) {
		t.Errorf("offline custody: %v", err)
	}
}

// TestRenew: what is signed anew differs from what was stored in nothing but
// signature and time; only the version that was asked for is renewed.
func TestRenew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s.cfg.Signer = w.accountd
	ac := w.account()
	ac.Revocations = jwt.RevocationList{must(keys.NewUser()).PublicKey(): w.clock.Unix() - 1}
	d := w.sign(w.sk, ac)
	w.mustPut(d, "")
	if err := w.s.Renew(t.Context(), d.Subject, 2); fault.RuleOf(err) != "conflict" {
		t.Errorf("another revision: %v", err)
	}
	if err := w.s.Renew(t.Context(), d.Subject, 1); err != nil {
		t.Fatal(err)
	}
	rec := w.record(d.Subject)
	got := must(claims.Decode(rec.JWT))
	if rec.Revision != 2 || rec.JWT == d.Token || got.Issuer != w.accountd.PublicKey() || got.IssuedAt <= d.IssuedAt {
		t.Errorf("revision %d by %s at %d", rec.Revision, got.Issuer, got.IssuedAt)
	}
	if list := must(claims.As[jwt.AccountClaims](got)).Revocations; len(list) != 1 {
		t.Errorf("revocations: %v", list)
	}
	w.s.cfg.Signer = nil
	if err := w.s.Renew(t.Context(), d.Subject, 2); fault.RuleOf(err) != "custody" {
		t.Errorf("offline custody: %v", err)
	}
}

func TestSelfSignedIsOnlyTheIdentityKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := must(keys.NewAccount())
	if !isSelfSigned(w.sign(w.tenant, w.account()).Token) || isSelfSigned(w.sign(other, w.account()).Token) ||
		isSelfSigned(w.sign(w.sk, w.account()).Token) || isSelfSigned("x") {
		t.Error("misjudged")
	}
}
