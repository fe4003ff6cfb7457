package resolver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
)

func TestSameJWTIsASuccessWithoutARevision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.sign(w.sk, w.account())
	first := w.mustPut(d, "")
	if first.Outcome != api.OutcomePut || first.Revision != 1 || first.ID != d.ID {
		t.Fatalf("%+v", first)
	}
	head := w.head()
	again := w.mustPut(d, "anything")
	if again.Outcome != api.OutcomeSame || again.Revision != 1 || w.head() != head {
		t.Fatalf("%+v", again)
	}
}

func TestUnrevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	d := w.edit(s.current, func(ac *jwt.AccountClaims) { delete(ac.Revocations, victim) })
	w.mustPut(d, s.current.ID, func(i *api.Item) { i.Unrevoke = []string{victim} })
	open := w.edit(d, func(ac *jwt.AccountClaims) { ac.Exports[0].Revocations = nil })
	w.mustPut(open, d.ID, func(i *api.Item) { i.Unrevoke = []string{"stream orders.> *"} })
}

// TestDropsAreRemembered: a dropped entry stays in the record and must return
// when its reason goes.
func TestDropsAreRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	all := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Revocations = jwt.RevocationList{"*": w.clock.Unix()} })
	w.mustPut(all, s.current.ID, func(i *api.Item) { i.Drop = []revocation.Drop{{Key: victim, Because: revocation.Covered}} })
	if d := w.record(s.current.Subject).Dropped; len(d) != 1 || d[0].Key != victim {
		t.Fatalf("dropped: %+v", d)
	}
	open := w.edit(all, func(ac *jwt.AccountClaims) { ac.Revocations = nil })
	res := w.put(api.Item{JWT: open.Token, Base: all.ID, Unrevoke: []string{"*"}})
	if res.Error == nil || res.Error.Rule != "revocation" {
		t.Fatalf("lifting * lets a dropped entry go: %+v", res)
	}
	back := w.edit(all, func(ac *jwt.AccountClaims) {
		at := w.record(s.current.Subject).Dropped[0].At
		ac.Revocations = jwt.RevocationList{victim: at}
	})
	w.mustPut(back, all.ID, func(i *api.Item) { i.Unrevoke = []string{"*"} })
	if d := w.record(s.current.Subject).Dropped; len(d) != 0 {
		t.Fatalf("still remembered although listed: %+v", d)
	}
	byKey := w.edit(back, func(ac *jwt.AccountClaims) { ac.Revocations = nil })
	w.mustPut(byKey, back.ID, func(i *api.Item) { i.Drop = []revocation.Drop{{Key: victim, Because: "retired:" + s.retired}} })
	unretired := w.edit(byKey, func(ac *jwt.AccountClaims) { ac.SigningKeys.Add(s.retired) })
	res = w.put(api.Item{JWT: unretired.Token, Base: byKey.ID, Unretire: []string{s.retired}})
	if res.Error == nil || res.Error.Rule != "revocation" {
		t.Fatalf("un-retiring the key lets its revoked user back: %+v", res)
	}
	w.mustPut(unretired, byKey.ID, func(i *api.Item) { i.Unretire, i.Unrevoke = []string{s.retired}, []string{victim} })
}

// TestExportListsOutliveTheirExport: an export that goes and returns, also as
// an overlapping one, must bring its revocations along.
func TestExportListsOutliveTheirExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	gone := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Exports = nil })
	w.mustPut(gone, s.current.ID)
	for _, subject := range []jwt.Subject{"orders.>", "orders.eu", ">"} {
		d := w.edit(gone, func(ac *jwt.AccountClaims) {
			ac.Exports = jwt.Exports{{Subject: subject, Type: jwt.Stream, TokenReq: true}}
		})
		if res := w.put(api.Item{JWT: d.Token, Base: gone.ID}); res.Error == nil || res.Error.Rule != "export revocation" {
			t.Errorf("%s: %+v", subject, res)
		}
	}
	d := w.edit(gone, func(ac *jwt.AccountClaims) {
		ac.Exports = jwt.Exports{{Subject: "orders.>", Type: jwt.Service, TokenReq: true}, {Subject: "other", Type: jwt.Stream}}
	})
	w.mustPut(d, gone.ID)
}

func TestDeleteAndRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	res := w.put(api.Item{Delete: s.current.Subject, Base: s.current.ID})
	if res.Error != nil || res.Outcome != api.OutcomeDeleted || res.Revision != 3 {
		t.Fatalf("%+v", res)
	}
	if again := w.put(api.Item{Delete: s.current.Subject, Base: s.current.ID}); again.Outcome != api.OutcomeSame {
		t.Fatalf("%+v", again)
	}
	rec := w.record(s.current.Subject)
	if !rec.Deleted || rec.JWT != s.current.Token || rec.Retired[s.retired] == 0 {
		t.Fatalf("the tombstone forgets: %+v", rec)
	}
	if _, err := w.s.lookup(context.Background(), store.Account, s.current.Subject); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a tombstone is served: %v", err)
	}
	renewed := w.edit(s.current, func(*jwt.AccountClaims) {})
	for name, item := range map[string]api.Item{
		"plain put":        {JWT: renewed.Token, Base: s.current.ID},
		"new account":      {JWT: renewed.Token},
		"the removed JWT":  {JWT: s.current.Token, Base: s.current.ID, Restore: true},
		"another base":     {JWT: renewed.Token, Base: s.first.ID, Restore: true},
		"less revocations": {JWT: w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Revocations = nil }).Token, Base: s.current.ID, Restore: true},
		"a retired key":    {JWT: w.edit(s.current, func(ac *jwt.AccountClaims) { ac.SigningKeys.Add(s.retired) }).Token, Base: s.current.ID, Restore: true},
	} {
		if res := w.put(item); res.Error == nil {
			t.Errorf("%s brings the account back", name)
		}
	}
	res = w.put(api.Item{JWT: renewed.Token, Base: s.current.ID, Restore: true})
	if res.Error != nil || res.Outcome != api.OutcomeRestore || w.record(s.current.Subject).Deleted {
		t.Fatalf("%+v", res)
	}
}

// TestDeletionNamesTheDataItWouldLose: JetStream data needs --force, and a
// service that cannot ask deletes nothing.
func TestDeletionNamesTheDataItWouldLose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	item := api.Item{Delete: s.current.Subject, Base: s.current.ID}
	w.s.cfg.Streams = func(context.Context, string) (api.JetStreamUse, error) {
		return api.JetStreamUse{}, errors.New("no answer")
	}
	if reply := w.request(api.PutRequest{Items: []api.Item{item}}); reply.Error == nil || reply.Error.Code != fault.Unavailable {
		t.Fatalf("%+v", reply)
	}
	w.s.cfg.Streams = func(context.Context, string) (api.JetStreamUse, error) {
		return api.JetStreamUse{Streams: []string{"ORDERS", "KV_config"}}, nil
	}
	if res := w.put(item); res.Error == nil || res.Error.Rule != "jetstream data" || !strings.Contains(res.Error.Message, "KV_config, ORDERS") {
		t.Fatalf("%+v", res)
	}
	item.Force = true
	if res := w.put(item); res.Error != nil {
		t.Fatalf("%+v", res)
	}
}

// exporterAndImporter returns coke, which exports, and pepsi, which imports it.
func (w *world) exporterAndImporter() (coke, pepsi *jwt.AccountClaims) {
	coke = w.account()
	coke.Exports = jwt.Exports{{Name: "orders", Subject: "orders.*", Type: jwt.Stream}}
	pepsi = jwt.NewAccountClaims(must(keys.NewAccount()).PublicKey())
	pepsi.Name = "pepsi"
	pepsi.Imports = jwt.Imports{{Name: "o", Account: coke.Subject, Subject: "orders.eu", Type: jwt.Stream}}
	return coke, pepsi
}

func TestFindingsAreJudgedOverTheBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	coke, pepsi := w.exporterAndImporter()
	c, p := w.sign(w.sk, coke), w.sign(w.sk, pepsi)
	if res := w.put(api.Item{JWT: p.Token}); res.Error == nil || res.Error.Rule != "incomplete" {
		t.Fatalf("importer alone: %+v", res)
	}
	reply := w.request(api.PutRequest{Items: []api.Item{{JWT: p.Token}, {JWT: c.Token}}})
	for _, r := range reply.Results {
		if r.Error != nil {
			t.Fatalf("importer with its exporter: %+v", r)
		}
	}
	// The exporter may not break the importer, nor go.
	without := w.edit(c, func(ac *jwt.AccountClaims) { ac.Exports = nil })
	if res := w.put(api.Item{JWT: without.Token, Base: c.ID}); res.Error == nil || res.Error.Rule != "imported" {
		t.Fatalf("breaks an import: %+v", res)
	}
	if res := w.put(api.Item{Delete: coke.Subject, Base: c.ID}); res.Error == nil || res.Error.Rule != "imported" {
		t.Fatalf("deleted under its importer: %+v", res)
	}
	reply = w.request(api.PutRequest{AllowIncomplete: true, Items: []api.Item{{JWT: without.Token, Base: c.ID}}})
	if reply.Results[0].Error != nil {
		t.Fatalf("%+v", reply.Results[0])
	}
	if rec := w.record(pepsi.Subject); len(rec.Findings) != 1 || rec.Revision != 2 || rec.JWT != p.Token {
		t.Fatalf("the importer's record does not know: %+v", rec)
	}
	// A revocation is admitted whatever else is wrong; so is a change that adds nothing.
	revoked := w.edit(p, func(ac *jwt.AccountClaims) { ac.Revocations = jwt.RevocationList{victim: w.clock.Unix()} })
	w.mustPut(revoked, p.ID)
	tagged := w.edit(revoked, func(ac *jwt.AccountClaims) { ac.Tags.Add("x") })
	w.mustPut(tagged, revoked.ID)
	more := w.edit(tagged, func(ac *jwt.AccountClaims) {
		ac.Imports = append(ac.Imports, &jwt.Import{Account: coke.Subject, Subject: "orders.us", Type: jwt.Stream})
	})
	if res := w.put(api.Item{JWT: more.Token, Base: tagged.ID}); res.Error == nil || res.Error.Rule != "incomplete" {
		t.Fatalf("a second finding: %+v", res)
	}
	// The export returns: the importer's finding goes.
	back := w.edit(without, func(ac *jwt.AccountClaims) { ac.Exports = coke.Exports })
	w.mustPut(back, without.ID)
	if rec := w.record(pepsi.Subject); len(rec.Findings) != 0 {
		t.Fatalf("the finding stays: %v", rec.Findings)
	}
}

// TestRevokedActivationsAreAdmitted: that imports end is what a revocation of
// activations is for; the importer's record knows of it, until it is taken back.
func TestRevokedActivationsAreAdmitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	coke, pepsi := w.exporterAndImporter()
	coke.Exports[0].TokenReq = true
	act := jwt.NewActivationClaims(pepsi.Subject)
	act.ImportSubject, act.ImportType = "orders.eu", jwt.Stream
	pepsi.Imports[0].Token = must(must(claims.New(act)).Sign(w.tenant, w.clock.Unix())).Token
	c := w.sign(w.sk, coke)
	w.mustPut(c, "")
	w.mustPut(w.sign(w.sk, pepsi), "")
	revoked := w.edit(c, func(ac *jwt.AccountClaims) { ac.Exports[0].RevokeAt(pepsi.Subject, w.clock) })
	w.mustPut(revoked, c.ID)
	if got := w.record(pepsi.Subject).Findings; len(got) != 1 || !strings.Contains(got[0], "activation is revoked") {
		t.Fatalf("the importer's record does not know: %v", got)
	}
	more := w.edit(revoked, func(ac *jwt.AccountClaims) { ac.Exports = nil })
	reply := w.request(api.PutRequest{AllowIncomplete: true, Items: []api.Item{{JWT: more.Token, Base: revoked.ID}}})
	if reply.Results[0].Error != nil {
		t.Fatalf("%+v", reply.Results[0])
	}
	back := w.edit(more, func(ac *jwt.AccountClaims) { ac.Exports = coke.Exports })
	if res := w.put(api.Item{JWT: back.Token, Base: more.ID}); res.Error == nil || res.Error.Rule != "export revocation" {
		t.Fatalf("the export is back without its revocations: %+v", res)
	}
	w.mustPut(back, more.ID, func(i *api.Item) { i.Unrevoke = []string{"stream orders.* " + pepsi.Subject} })
	if got := w.record(pepsi.Subject).Findings; len(got) != 0 {
		t.Fatalf("the finding stays: %v", got)
	}
}

func TestOneOutcomeAnItem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	coke, pepsi := w.exporterAndImporter()
	pepsi.Imports = nil
	good, bad := w.sign(w.sk, coke), w.sign(w.tenant, pepsi)
	reply := w.request(api.PutRequest{Items: []api.Item{{JWT: bad.Token}, {JWT: good.Token}, {JWT: good.Token}}})
	if r := reply.Results; r[0].Error == nil || r[1].Error != nil || r[2].Error == nil {
		t.Fatalf("%+v", reply)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d, head := w.sign(w.sk, w.account()), w.head()
	reply := w.request(api.PutRequest{DryRun: true, Items: []api.Item{{JWT: d.Token}}})
	if reply.Error != nil || reply.Results[0].Outcome != api.OutcomeDry || w.head() != head {
		t.Fatalf("%+v, head %d", reply, w.head())
	}
}

func TestTheLogTellsWhoDidWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.setup()
	var changes []store.Change
	if err := w.store.View(context.Background(), func(r store.Reader) error {
		var err error
		changes, err = r.Changes(0, 100)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	last := changes[len(changes)-1]
	if last.Actor != w.sk.PublicKey() || last.Action != "put" || last.Base != s.first.ID || last.ID != s.current.ID ||
		last.Before != claims.Digest(s.first.Token) || last.After != claims.Digest(s.current.Token) {
		t.Errorf("%+v", last)
	}
	if got := fmt.Sprint(last.Summary); got != fmt.Sprintf("[retired signing key %s revoked %s]", s.retired, victim) {
		t.Errorf("summary %s", got)
	}
}

func (w *world) putOperator(d *claims.Document, base string) api.Result {
	w.t.Helper()
	return w.requestOperator(api.OperatorPutRequest{JWT: d.Token, Base: base})
}

func (w *world) requestOperator(req api.OperatorPutRequest) api.Result {
	w.t.Helper()
	body := must(json.Marshal(req))
	reply := w.s.PutOperator(context.Background(), "test", w.envelope(w.root, body), body)
	if reply.Error != nil {
		w.t.Fatalf("%+v", reply.Error)
	}
	return reply.Results[0]
}

func (w *world) editOperator(d *claims.Document, s claims.Signer, f func(*jwt.OperatorClaims)) *claims.Document {
	w.tick()
	return must(must(claims.Edit(d, func(oc *jwt.OperatorClaims) error { f(oc); return nil })).Sign(s, w.clock.Unix()))
}

// drop is an edit that removes a signing key.
func drop(key string) func(*jwt.OperatorClaims) {
	return func(oc *jwt.OperatorClaims) { oc.SigningKeys.Remove(key) }
}

func TestOperatorPut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustPut(w.sign(w.sk2, w.account()), "")
	for name, c := range map[string]struct {
		doc  *claims.Document
		base string
		rule string
	}{
		"not by the root key":  {w.editOperator(w.operator, w.sk, func(*jwt.OperatorClaims) {}), w.operator.ID, "root key"},
		"a stale base":         {w.editOperator(w.operator, w.root, func(*jwt.OperatorClaims) {}), "x", "conflict"},
		"drops a key in use":   {w.editOperator(w.operator, w.root, drop(w.sk2.PublicKey())), w.operator.ID, "issued"},
		"other system account": {w.editOperator(w.operator, w.root, func(oc *jwt.OperatorClaims) { oc.SystemAccount = w.tenant.PublicKey() }), w.operator.ID, "system account"},
		"strict with accounts by root": {w.editOperator(w.operator, w.root, func(oc *jwt.OperatorClaims) {
			oc.SigningKeys = nil
		}), w.operator.ID, "issued"},
	} {
		if res := w.putOperator(c.doc, c.base); res.Error == nil || res.Error.Rule != c.rule {
			t.Errorf("%s: %+v", name, res)
		}
	}
	// Re-issue, drop the key, and it is gone for ever.
	rec := w.record(w.tenant.PublicKey())
	w.mustPut(w.edit(must(claims.Decode(rec.JWT)), func(*jwt.AccountClaims) {}), rec.ID)
	next := w.editOperator(w.operator, w.root, drop(w.sk2.PublicKey()))
	if res := w.putOperator(next, w.operator.ID); res.Error != nil || res.Revision != 2 {
		t.Fatalf("%+v", res)
	}
	if res := w.putOperator(w.operator, next.ID); res.Error == nil || res.Error.Rule != "older" {
		t.Errorf("the older operator JWT: %+v", res)
	}
	again := w.editOperator(next, w.root, func(oc *jwt.OperatorClaims) { oc.SigningKeys.Add(w.sk2.PublicKey()) })
	if res := w.putOperator(again, next.ID); res.Error == nil || res.Error.Rule != "retired key" {
		t.Errorf("a retired key returns: %+v", res)
	}
	other := jwt.NewAccountClaims(must(keys.NewAccount()).PublicKey())
	if res := w.put(api.Item{JWT: w.sign(w.sk2, other).Token}); res.Error == nil || res.Error.Rule != "chain" {
		t.Errorf("an account by a retired key: %+v", res)
	}
	body := []byte(`{"items":[{"delete":"x"}]}`)
	if reply := w.s.Put(context.Background(), "test", w.envelope(w.sk2, body), body); reply.Error == nil {
		t.Error("a retired key still signs requests")
	}
}

// The key that was made for accountd goes only on purpose, and then custody is
// what it is.
func TestUndelegate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if st := w.s.Status(t.Context(), api.StatusRequest{}); st.Custody != Delegated || len(st.Warnings) != 0 {
		t.Fatalf("%+v", st)
	}
	next := w.editOperator(w.operator, w.root, drop(w.accountd.PublicKey()))
	if res := w.putOperator(next, w.operator.ID); res.Error == nil || res.Error.Rule != "delegated key" || !strings.Contains(res.Error.Hint, "--yes") {
		t.Fatalf("%+v", res)
	}
	if res := w.requestOperator(api.OperatorPutRequest{JWT: next.Token, Base: w.operator.ID, Undelegate: true}); res.Outcome != api.OutcomePut {
		t.Fatalf("%+v", res)
	}
	if st := w.s.Status(t.Context(), api.StatusRequest{}); st.Custody != Offline || len(st.Warnings) != 1 || !strings.Contains(st.Warnings[0], keys.Short(w.accountd.PublicKey())) {
		t.Fatalf("%+v", st)
	}
	if info := must(w.s.info(t.Context())); info.Custody != Offline {
		t.Errorf("%+v", info)
	}
	again := w.editOperator(next, w.root, func(oc *jwt.OperatorClaims) { oc.Tags.Add("x") })
	if res := w.putOperator(again, next.ID); res.Error != nil {
		t.Errorf("an edit afterwards: %+v", res.Error)
	}
}

// The operator's claims are warned of before they expire, and refused after.
func TestOperatorExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends := w.clock.Add(40 * 24 * time.Hour)
	next := w.editOperator(w.operator, w.root, func(oc *jwt.OperatorClaims) { oc.Expires = ends.Unix() })
	if res := w.putOperator(next, w.operator.ID); res.Error != nil {
		t.Fatalf("%+v", res.Error)
	}
	for at, want := range map[time.Time]string{
		w.clock: "", ends.Add(-29 * 24 * time.Hour): "expires at " + ends.Format(time.RFC3339), ends: "expired at " + ends.Format(time.RFC3339),
	} {
		w.clock = at
		warnings, err := w.s.Warnings(t.Context())
		if err != nil || (len(warnings) == 0) != (want == "") || want != "" && !strings.Contains(warnings[0], want) {
			t.Errorf("at %s: %v %v", at, warnings, err)
		}
	}
	w.clock = ends
	late := w.editOperator(next, w.root, func(oc *jwt.OperatorClaims) { oc.Tags.Add("x") })
	if res := w.putOperator(late, next.ID); res.Error == nil || res.Error.Rule != "expired" || res.Error.Hint != "nsc edit operator --expiry 0" {
		t.Errorf("%+v", res.Error)
	}
	if res := w.putOperator(w.operator, next.ID); res.Error == nil || res.Error.Rule != "older" || strings.Contains(res.Error.Hint, "nsc pull") {
		t.Errorf("%+v", res.Error)
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	head := w.head()
	if err := w.s.Bootstrap(context.Background(), w.operator.Token); err != nil || w.head() != head {
		t.Fatalf("not idempotent: %v", err)
	}
	root := must(keys.NewOperator())
	foreign := must(must(claims.New(jwt.NewOperatorClaims(root.PublicKey()))).Sign(root, 1))
	if err := w.s.Bootstrap(context.Background(), foreign.Token); !fault.Is(err, fault.Invalid) {
		t.Fatalf("foreign operator: %v", err)
	}
}

// TestRetireOfEarlierVersions: an account that is adopted brings the signing
// keys that were taken out before accountd knew it, and they stay out.
func TestRetireOfEarlierVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone, kept := must(keys.NewAccount()).PublicKey(), must(keys.NewAccount()).PublicKey()
	ac := w.account()
	ac.SigningKeys.Add(kept)
	d := w.sign(w.sk, ac)
	if res := w.put(api.Item{JWT: d.Token, Retire: []string{"SU…"}}); res.Error == nil || res.Error.Code != fault.Invalid {
		t.Errorf("what is no key: %+v", res)
	}
	res := w.mustPut(d, "", func(i *api.Item) { i.Retire = []string{gone, kept} })
	w.tick()
	back := w.edit(d, func(ac *jwt.AccountClaims) { ac.SigningKeys.Add(gone) })
	if res := w.put(api.Item{JWT: back.Token, Base: res.ID}); res.Error == nil || res.Error.Rule != "retired key" {
		t.Errorf("a key of an earlier version returns: %+v", res)
	}
	w.mustPut(w.edit(d, func(ac *jwt.AccountClaims) { ac.Tags.Add("x") }), res.ID)
}
