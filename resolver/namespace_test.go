package resolver

import (
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// named signs a new account with a key of its own.
func (w *world) named(name string, tags ...string) *claims.Document {
	w.tick()
	ac := jwt.NewAccountClaims(must(keys.NewAccount()).PublicKey())
	ac.Name, ac.Tags = name, tags
	return w.sign(w.sk, ac)
}

// TestNamespacesDoNotMeet: nobody takes a prefix that another account has, or
// one above or below it, by name or by tag, alone or beside others; what is
// given up is free.
func TestNamespacesDoNotMeet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refused := func(d *claims.Document, base string) {
		t.Helper()
		if res := w.put(api.Item{JWT: d.Token, Base: base}); res.Error == nil || res.Error.Rule != "namespace" {
			t.Errorf("%s %v: %+v", d.Name, d.Token, res)
		}
	}
	coke := w.named("coke")
	w.mustPut(coke, "")
	for _, d := range []*claims.Document{
		w.named("coke"), w.named("COKE"), w.named("coke.x"), w.named("x", "namespace:coke"), w.named("x", "namespace:coke.eu"),
		w.named("x", "namespace:_inbox"), w.named("x", "namespace:*"), w.named("x", "namespace:a", "namespace:b"),
	} {
		refused(d, "")
	}
	w.mustPut(w.named("cokes"), "")
	w.mustPut(w.named("coke zero"), "") // no prefix at all
	w.mustPut(w.named("coke.z", "namespace:drinks.z"), "")
	refused(w.named("drinks"), "")

	moved := w.edit(coke, func(ac *jwt.AccountClaims) { ac.Tags.Add("namespace:cola") })
	w.mustPut(moved, coke.ID)
	other := w.named("x", "namespace:coke")
	w.mustPut(other, "")
	refused(w.edit(moved, func(ac *jwt.AccountClaims) { ac.Tags = nil }), moved.ID)
	if res := w.put(api.Item{Delete: other.Subject, Base: other.ID}); res.Error != nil {
		t.Fatalf("%+v", res)
	}
	w.mustPut(w.edit(moved, func(ac *jwt.AccountClaims) { ac.Tags = nil }), moved.ID)
	back := w.edit(other, func(*jwt.AccountClaims) {})
	if res := w.put(api.Item{JWT: back.Token, Base: other.ID, Restore: true}); res.Error == nil || res.Error.Rule != "namespace" {
		t.Errorf("a restored account takes what is another's now: %+v", res)
	}

	items := []api.Item{{JWT: w.named("pepsi").Token}, {JWT: w.named("pepsi.max").Token}, {JWT: w.named("fanta").Token}}
	reply := w.request(api.PutRequest{Items: items})
	if reply.Error != nil || reply.Results[0].Error != nil || reply.Results[2].Error != nil {
		t.Fatalf("%+v", reply)
	}
	if e := reply.Results[1].Error; e == nil || e.Rule != "namespace" {
		t.Errorf("two of one request: %+v", e)
	}
	fresh := must(New(w.s.cfg)) // a process that starts on this store
	w.s = fresh
	refused(w.named("fanta.x"), "")
}

// TestNamespaceThatMetBefore: an account that met another before it was judged
// can be changed; only a new meeting is refused.
func TestNamespaceThatMetBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustPut(w.named("coke"), "")
	bad := w.named("coke.x")
	rec := store.Record{Kind: store.Account, Key: bad.Subject}
	setVersion(&rec, bad)
	if err := w.store.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Put(0, rec, store.Change{Action: "put", After: "x"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.mustPut(w.edit(bad, func(ac *jwt.AccountClaims) { ac.Limits.Conn = 5 }), bad.ID)
}
