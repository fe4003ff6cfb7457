package resolver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/pg"
)

// onBothStores runs a test on a world in a file and on one in PostgreSQL.
func onBothStores(t *testing.T, f func(*testing.T, *world)) {
	t.Parallel()
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		f(t, newWorld(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, newWorldIn(t, postgres(t)))
	})
}

// postgres makes a database and opens it as a store.
func postgres(t *testing.T) store.Store {
	t.Helper()
	database := server.Database(t)
	if _, err := pg.Migrate(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	st, err := pg.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// ask sends a signed request to call.
func ask[Q, R any](w *world, by claims.Signer, call signedCall[R], req Q) R {
	body := must(json.Marshal(req))
	return call(context.Background(), "test", w.envelope(by, body), body)
}

func (w *world) allow(key string) {
	w.t.Helper()
	if reply := ask(w, w.sk, w.s.Allow, api.AllowRequest{Account: key}); reply.Error != nil {
		w.t.Fatal(reply.Error)
	}
}

// listed returns the keys on the list of a kind.
func (w *world) listed(kind string) (out []string) {
	w.t.Helper()
	reply := w.s.List(context.Background(), api.ListRequest{Kind: kind})
	if reply.Error != nil {
		w.t.Fatal(reply.Error)
	}
	for _, v := range reply.Accounts {
		out = append(out, v.Key)
	}
	return out
}

// own signs claims of a new tenant with its own key.
func (w *world) own(name string, edits ...func(*jwt.AccountClaims)) *claims.Document {
	pair := must(keys.NewAccount())
	ac := jwt.NewAccountClaims(pair.PublicKey())
	ac.Name = name
	for _, edit := range edits {
		edit(ac)
	}
	return w.sign(pair, ac)
}

// TestAllow: an account that the operator has allowed is made by who has its
// key, with the limits of any new account; what was taken back is refused.
func TestAllow(t *testing.T) { onBothStores(t, testAllow) }

func testAllow(t *testing.T, w *world) {
	w.s.cfg.Signer = w.accountd
	d := w.own("pepsi", func(ac *jwt.AccountClaims) {
		ac.Limits.DiskStorage, ac.Tags = -1, jwt.TagList{"namespace:coke"}
		ac.Exports = jwt.Exports{{Name: "o", Subject: "orders", Type: jwt.Stream}}
	})
	for name, by := range map[string]claims.Signer{"a tenant": w.tenant, "accountd": w.accountd, "a stranger": must(keys.NewOperator())} {
		if reply := ask(w, by, w.s.Allow, api.AllowRequest{Account: d.Subject}); reply.Error == nil || reply.Error.Code != fault.Denied {
			t.Errorf("allowed by %s: %+v", name, reply.Error)
		}
	}
	if reply := ask(w, w.sk, w.s.Allow, api.AllowRequest{Account: w.sk.PublicKey()}); reply.Error == nil {
		t.Error("the key of an operator is allowed as an account")
	}
	w.allow(d.Subject)
	head := w.head()
	w.allow(d.Subject)
	if w.head() != head {
		t.Error("allowing again is another change")
	}
	if got := w.listed(api.KindPermit); len(got) != 1 || got[0] != d.Subject {
		t.Errorf("allowed: %v", got)
	}
	if reply := ask(w, w.sk, w.s.Allow, api.AllowRequest{Account: d.Subject, Remove: true}); reply.Error != nil || len(w.listed(api.KindPermit)) != 0 {
		t.Errorf("taken back: %+v", reply)
	}
	if _, err := w.countersign(d); fault.RuleOf(err) != "not allowed" {
		t.Errorf("an account that is allowed no more: %v", err)
	}
	w.allow(d.Subject)
	if res, err := w.countersign(d); err != nil || res.Revision != 1 {
		t.Fatalf("%+v %v", res, err)
	}
	stored := must(claims.Decode(w.record(d.Subject).JWT))
	ac := must(claims.As[jwt.AccountClaims](stored))
	if stored.Issuer != w.accountd.PublicKey() || ac.Name != "pepsi" || ac.Limits.IsJSEnabled() || ac.Limits.Conn != jwt.NoLimit || len(ac.Tags) != 0 || len(ac.Exports) != 1 {
		t.Errorf("stored as %s", ac)
	}
	if got := w.listed(api.KindPermit); len(got) != 0 {
		t.Errorf("what is made is still to be made: %v", got)
	}
}

// TestProposal: in offline custody a self-signed account waits until the
// operator signs what comes of it, which ends the proposal in the same step.
func TestProposal(t *testing.T) { onBothStores(t, testProposal) }

func testProposal(t *testing.T, w *world) {
	first := w.own("pepsi")
	if _, err := w.countersign(first); fault.RuleOf(err) != "not allowed" {
		t.Fatalf("an account that nobody allowed: %v", err)
	}
	w.allow(first.Subject)
	srv := httptest.NewServer(w.handler())
	defer srv.Close()
	for range 2 {
		resp, err := http.Post(srv.URL+"/jwt/v1/accounts/"+first.Subject, "application/jwt", strings.NewReader(first.Token))
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%v %v", resp.Status, err)
		}
		resp.Body.Close()
	}
	if _, err := w.s.lookup(context.Background(), store.Account, first.Subject); !fault.Is(err, fault.NotFound) {
		t.Errorf("a proposal is served: %v", err)
	}
	got := w.s.Get(context.Background(), api.GetRequest{Account: "pepsi", Kind: api.KindProposal})
	if got.Error != nil || got.Version.JWT != first.Token || got.Version.Revision != 1 {
		t.Fatalf("%+v", got)
	}
	signed := must(must(accounts.Clamp(first, nil)).Sign(w.sk, w.clock.Unix()))
	if res := w.put(api.Item{JWT: signed.Token, Accept: "another"}); res.Error == nil || res.Error.Rule != "conflict" {
		t.Errorf("another proposal is accepted: %+v", res)
	}
	if res := w.mustPut(signed, "", func(i *api.Item) { i.Accept = first.ID }); res.Revision != 1 {
		t.Errorf("%+v", res)
	}
	if got := w.listed(api.KindProposal); len(got) != 0 {
		t.Errorf("still waiting: %v", got)
	}
	if meta := w.meta(metaProposals); meta != "0" {
		t.Errorf("%s proposals are counted", meta)
	}
}

// TestProposalIsJudgedAtTheDoor: what admission would refuse whoever signs it
// does not wait.
func TestProposalIsJudgedAtTheDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	for name, c := range map[string]struct {
		edit func(*jwt.AccountClaims)
		rule string
	}{
		"un-revoking":        {func(ac *jwt.AccountClaims) { ac.Revocations = nil }, "revocation"},
		"a claim that kills": {func(ac *jwt.AccountClaims) { ac.Exports = jwt.Exports{{Subject: "a..b", Type: jwt.Stream}} }, "blocking"},
	} {
		if _, err := w.countersign(w.selfSign(s.current, c.edit)); fault.RuleOf(err) != c.rule {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.countersign(w.selfSign(s.current, func(*jwt.AccountClaims) {})); !fault.Is(err, fault.Pending) {
		t.Errorf("an honest one: %v", err)
	}
}

// TestReject ends the proposal that is meant, and no other.
func TestReject(t *testing.T) { onBothStores(t, testReject) }

func testReject(t *testing.T, w *world) {
	d := w.own("pepsi")
	w.allow(d.Subject)
	if _, err := w.countersign(d); !fault.Is(err, fault.Pending) {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		by   claims.Signer
		req  api.RejectRequest
		code fault.Code
	}{
		"by a tenant":     {w.tenant, api.RejectRequest{Account: "pepsi", Base: d.ID}, fault.Denied},
		"another version": {w.sk, api.RejectRequest{Account: "pepsi", Base: "x"}, fault.Conflict},
		"of another":      {w.sk, api.RejectRequest{Account: "coke", Base: d.ID}, fault.NotFound},
	} {
		if reply := ask(w, c.by, w.s.Reject, c.req); reply.Error == nil || reply.Error.Code != c.code {
			t.Errorf("%s: %+v", name, reply.Error)
		}
	}
	req := api.RejectRequest{Account: d.Subject, Base: d.ID}
	if reply := ask(w, w.sk, w.s.Reject, req); reply.Error != nil || len(w.listed(api.KindProposal)) != 0 {
		t.Errorf("%+v", reply)
	}
	if reply := ask(w, w.sk, w.s.Reject, req); reply.Error == nil || reply.Error.Code != fault.NotFound {
		t.Errorf("again: %+v", reply)
	}
	if _, err := w.countersign(d); !fault.Is(err, fault.Pending) || len(w.listed(api.KindProposal)) != 1 {
		t.Errorf("proposed again: %v", err)
	}
}

// TestProposalsAreBounded, one an account and not too many in all.
func TestProposalsAreBounded(t *testing.T) { onBothStores(t, testProposalsAreBounded) }

func testProposalsAreBounded(t *testing.T, w *world) {
	if err := w.store.Update(context.Background(), func(tx store.Tx) error {
		return tx.SetMeta(metaProposals, fmt.Sprint(maxProposals-1))
	}); err != nil {
		t.Fatal(err)
	}
	last, late := w.own("last"), w.own("late")
	w.allow(last.Subject)
	w.allow(late.Subject)
	if _, err := w.countersign(last); !fault.Is(err, fault.Pending) {
		t.Fatal(err)
	}
	if _, err := w.countersign(late); fault.RuleOf(err) != "proposals" {
		t.Errorf("one too many: %v", err)
	}
	if meta := w.meta(metaProposals); meta != fmt.Sprint(maxProposals) {
		t.Errorf("%s are counted", meta)
	}
}

func (w *world) meta(name string) (value string) {
	w.t.Helper()
	if err := w.store.View(context.Background(), func(r store.Reader) (err error) {
		value, err = r.Meta(name)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return value
}
