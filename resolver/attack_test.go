package resolver

import (
	"context"
	"encoding/json"
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

// victim is a user key that attackers want back in.
var victim = must(keys.NewUser()).PublicKey()

// setup stores a tenant with a revoked user, a revoked activation, and a
// retired signing key, and returns the versions before and after.
type setup struct {
	first, current *claims.Document
	retired        string // a signing key of first, gone from current
	kept           string // a signing key of both
}

func (w *world) setup() setup {
	w.t.Helper()
	s := setup{retired: must(keys.NewAccount()).PublicKey(), kept: must(keys.NewAccount()).PublicKey()}
	ac := w.account()
	ac.SigningKeys.Add(s.retired, s.kept)
	ac.Exports = jwt.Exports{{Name: "orders", Subject: "orders.>", Type: jwt.Stream, TokenReq: true}}
	s.first = w.sign(w.sk, ac)
	w.mustPut(s.first, "")
	s.current = w.edit(s.first, func(ac *jwt.AccountClaims) {
		ac.Revocations = jwt.RevocationList{victim: w.clock.Unix()}
		ac.Exports[0].Revocations = jwt.RevocationList{"*": w.clock.Unix()}
		delete(ac.SigningKeys, s.retired)
	})
	w.mustPut(s.current, s.first.ID)
	return s
}

// attack is one row of the table: an item that must be refused.
type attack struct {
	code fault.Code
	rule string
	item func(w *world, s setup) api.Item
}

// listAttacks try to get back in what was revoked.
func listAttacks() map[string]attack {
	return map[string]attack{
		"the older JWT": {fault.Conflict, "older", func(w *world, s setup) api.Item {
			return api.Item{JWT: s.first.Token, Base: s.current.ID}
		}},
		"a stale base": {fault.Conflict, "conflict", func(w *world, s setup) api.Item {
			return api.Item{JWT: w.edit(s.current, func(*jwt.AccountClaims) {}).Token, Base: s.first.ID}
		}},
		"no base where a version exists": {fault.Conflict, "conflict", func(w *world, s setup) api.Item {
			return api.Item{JWT: w.edit(s.current, func(*jwt.AccountClaims) {}).Token}
		}},
		"a base where none exists": {fault.Conflict, "conflict", func(w *world, s setup) api.Item {
			ac := jwt.NewAccountClaims(must(keys.NewAccount()).PublicKey())
			return api.Item{JWT: w.sign(w.sk, ac).Token, Base: s.current.ID}
		}},
		"lacking a revocation": {fault.Denied, "revocation", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) { delete(ac.Revocations, victim) })
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"an earlier revocation": {fault.Denied, "revocation", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Revocations[victim]-- })
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"lacking a revocation that * covers, unnamed": {fault.Denied, "revocation", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Revocations = jwt.RevocationList{"*": w.clock.Unix()} })
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"un-revoking under a covering *": {fault.Denied, "covered by *", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Revocations = jwt.RevocationList{"*": w.clock.Unix()} })
			return api.Item{JWT: d.Token, Base: s.current.ID, Unrevoke: []string{victim}}
		}},
		"a false drop": {fault.Denied, "drop", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Revocations = nil })
			return api.Item{JWT: d.Token, Base: s.current.ID, Drop: []revocation.Drop{{Key: victim, Because: "retired:" + s.kept}}}
		}},
		"lacking an export revocation": {fault.Denied, "export revocation", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Exports[0].Revocations = nil })
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"an overlapping export without the list": {fault.Denied, "export revocation", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) {
				ac.Exports = jwt.Exports{{Name: "o", Subject: "orders.eu", Type: jwt.Stream, TokenReq: true}}
			})
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
	}
}

// trustAttacks try keys, subjects and times that are not right.
func trustAttacks() map[string]attack {
	return map[string]attack{
		"bringing back a retired key": {fault.Denied, "retired key", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.SigningKeys.Add(s.retired) })
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"bringing back a retired key as a role": {fault.Denied, "retired key", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) {
				scope := jwt.NewUserScope()
				scope.Key, scope.Role = s.retired, "r"
				ac.SigningKeys.AddScopedSigner(scope)
			})
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"a foreign operator": {fault.Untrusted, "chain", func(w *world, s setup) api.Item {
			ac := must(claims.As[jwt.AccountClaims](s.current))
			w.tick()
			return api.Item{JWT: w.sign(must(keys.NewOperator()), ac).Token, Base: s.current.ID}
		}},
		"a self-signed account": {fault.Untrusted, "chain", func(w *world, s setup) api.Item {
			ac := must(claims.As[jwt.AccountClaims](s.current))
			w.tick()
			return api.Item{JWT: w.sign(w.tenant, ac).Token, Base: s.current.ID}
		}},
		"a user for an account": {fault.Invalid, "type", func(w *world, s setup) api.Item {
			uc := jwt.NewUserClaims(victim)
			return api.Item{JWT: must(must(claims.New(uc)).Sign(w.tenant, w.clock.Unix())).Token}
		}},
		"the operator for an account": {fault.Invalid, "type", func(w *world, s setup) api.Item {
			return api.Item{JWT: w.operator.Token}
		}},
		"a subject that is no account": {fault.Invalid, "", func(w *world, s setup) api.Item {
			ac := jwt.NewAccountClaims(victim)
			return api.Item{JWT: w.sign(w.sk, ac).Token}
		}},
		"an expired account": {fault.Expired, "expired", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Expires = w.clock.Unix() })
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"an account of tomorrow": {fault.Expired, "not yet valid", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) { ac.NotBefore = w.clock.Unix() + 1 })
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"issued in the future": {fault.Invalid, "future", func(w *world, s setup) api.Item {
			now := w.clock
			w.clock = w.clock.Add(6 * time.Minute)
			d := w.edit(s.current, func(*jwt.AccountClaims) {})
			w.clock = now
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"a blocking error": {fault.Invalid, "blocking", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) {
				ac.Exports = append(ac.Exports, &jwt.Export{Subject: "orders.>", Type: jwt.Stream})
			})
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"an import at which servers crash": {fault.Invalid, "crash", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) {
				ac.Imports = jwt.Imports{{Account: w.system.PublicKey(), Subject: "x.*.>", LocalSubject: "y.$0.>", Type: jwt.Stream}}
			})
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
		"an import without an export": {fault.Denied, "incomplete", func(w *world, s setup) api.Item {
			d := w.edit(s.current, func(ac *jwt.AccountClaims) {
				ac.Imports = jwt.Imports{{Account: w.system.PublicKey(), Subject: "x", Type: jwt.Stream}}
			})
			return api.Item{JWT: d.Token, Base: s.current.ID}
		}},
	}
}

// stateAttacks try the system account, deletions and malformed items.
func stateAttacks() map[string]attack {
	return map[string]attack{
		"deleting the system account": {fault.Denied, "system account", func(w *world, s setup) api.Item {
			return api.Item{Delete: w.system.PublicKey(), Base: w.record(w.system.PublicKey()).ID}
		}},
		"JetStream on the system account": {fault.Denied, "system account", func(w *world, s setup) api.Item {
			return w.editSystem(func(ac *jwt.AccountClaims) { ac.Limits.DiskStorage = -1 })
		}},
		"revoking accountd's own user": {fault.Denied, "system account", func(w *world, s setup) api.Item {
			return w.editSystem(func(ac *jwt.AccountClaims) { ac.Revocations = jwt.RevocationList{w.self.PublicKey(): w.clock.Unix()} })
		}},
		"revoking all system users": {fault.Denied, "system account", func(w *world, s setup) api.Item {
			return w.editSystem(func(ac *jwt.AccountClaims) { ac.Revocations = jwt.RevocationList{"*": w.clock.Unix()} })
		}},
		"removing accountd's signer": {fault.Denied, "system account", func(w *world, s setup) api.Item {
			return w.editSystem(func(ac *jwt.AccountClaims) { ac.SigningKeys = jwt.SigningKeys{} })
		}},
		"binding system users by default": {fault.Denied, "system account", func(w *world, s setup) api.Item {
			return w.editSystem(func(ac *jwt.AccountClaims) { ac.DefaultPermissions.Pub.Deny.Add(">") })
		}},
		"making a role of accountd's signer": {fault.Denied, "system account", func(w *world, s setup) api.Item {
			return w.editSystem(func(ac *jwt.AccountClaims) {
				scope := jwt.NewUserScope()
				scope.Key, scope.Role = w.systemKey.PublicKey(), "boo"
				ac.SigningKeys.AddScopedSigner(scope)
			})
		}},
		"another account called SYS": {fault.Denied, "system account", func(w *world, s setup) api.Item {
			return api.Item{JWT: w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Name = "sys" }).Token, Base: s.current.ID}
		}},
		"a name that leaves a store": {fault.Invalid, "name-separator", func(w *world, s setup) api.Item {
			return api.Item{JWT: w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Name = "../../etc/x" }).Token, Base: s.current.ID}
		}},
		"a name that stands for all": {fault.Invalid, "name-wildcard", func(w *world, s setup) api.Item {
			return api.Item{JWT: w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Name = ">" }).Token, Base: s.current.ID}
		}},
		"a name that is a key": {fault.Invalid, "name-key", func(w *world, s setup) api.Item {
			return api.Item{JWT: w.edit(s.current, func(ac *jwt.AccountClaims) { ac.Name = victim }).Token, Base: s.current.ID}
		}},
		"redirecting system requests": {fault.Denied, "system account", func(w *world, s setup) api.Item {
			return w.editSystem(func(ac *jwt.AccountClaims) {
				ac.Mappings = jwt.Mapping{"accountd.v1.>": {{Subject: "evil.>"}}}
			})
		}},
		"deleting with a stale base": {fault.Conflict, "conflict", func(w *world, s setup) api.Item {
			return api.Item{Delete: s.current.Subject, Base: s.first.ID}
		}},
		"deleting what is not there": {fault.NotFound, "", func(w *world, s setup) api.Item {
			return api.Item{Delete: must(keys.NewAccount()).PublicKey()}
		}},
		"both a JWT and a deletion": {fault.Invalid, "malformed", func(w *world, s setup) api.Item {
			return api.Item{JWT: s.current.Token, Delete: s.current.Subject}
		}},
		"restoring what is not deleted": {fault.Conflict, "tombstone", func(w *world, s setup) api.Item {
			return api.Item{JWT: w.edit(s.current, func(*jwt.AccountClaims) {}).Token, Base: s.current.ID, Restore: true}
		}},
		"a token over 1 MiB": {fault.Denied, "size", func(w *world, s setup) api.Item {
			return api.Item{JWT: s.current.Token + strings.Repeat("A", 1<<20+1), Base: s.current.ID}
		}},
		"a truncated token": {fault.Untrusted, "signature", func(w *world, s setup) api.Item {
			parts := strings.Split(s.current.Token, ".")
			return api.Item{JWT: parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86), Base: s.current.ID}
		}},
	}
}

// TestAttacks is the table of what must be refused, each by its rule and code,
// with nothing changed.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, table := range []map[string]attack{listAttacks(), trustAttacks(), stateAttacks()} {
		for name, a := range table {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a.run(t)
			})
		}
	}
}

func (a attack) run(t *testing.T) {
	w := newWorld(t)
	s := w.setup()
	item := a.item(w, s)
	head, stored := w.head(), w.record(s.current.Subject)
	res := w.put(item)
	if res.Error == nil {
		t.Fatalf("admitted: %+v", res)
	}
	if res.Error.Code != a.code || res.Error.Rule != a.rule {
		t.Errorf("code %q rule %q: %s", res.Error.Code, res.Error.Rule, res.Error.Message)
	}
	if res.Error.Message == "" || strings.Contains(res.Error.Message+res.Error.Hint, "%!") {
		t.Errorf("message %q hint %q", res.Error.Message, res.Error.Hint)
	}
	if w.head() != head || w.record(s.current.Subject).JWT != stored.JWT {
		t.Error("a refused item changed the store")
	}
	if res.Error.Code == fault.Conflict && res.Current == nil && res.Key == s.current.Subject {
		t.Error("a conflict does not say what is stored")
	}
}

// editSystem makes the item of a changed system account.
func (w *world) editSystem(f func(*jwt.AccountClaims)) api.Item {
	rec := w.record(w.system.PublicKey())
	return api.Item{JWT: w.edit(must(claims.Decode(rec.JWT)), f).Token, Base: rec.ID}
}

// TestEnvelopeAttacks: what is wrong with the signed request refuses all of it.
func TestEnvelopeAttacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := must(json.Marshal(api.PutRequest{Items: []api.Item{{JWT: w.sign(w.sk, w.account()).Token}}}))
	request := func(change func(op, server *string, body *[]byte, at *time.Time), s claims.Signer) string {
		op, server, b, at := w.root.PublicKey(), w.server.PublicKey(), body, w.clock
		change(&op, &server, &b, &at)
		return must(api.SignRequest(s, op, server, b, at))
	}
	same := func(*string, *string, *[]byte, *time.Time) {}
	longLived := must(claims.Request(api.RequestType, w.sk.PublicKey(), api.Audience(w.root.PublicKey(), w.server.PublicKey()),
		keys.Nonce(), w.clock.Add(time.Hour).Unix(), map[string]any{}).Sign(w.sk, w.clock.Unix())).Token
	for name, c := range map[string]struct {
		token string
		code  fault.Code
		rule  string
	}{
		"unsigned":         {"", fault.Denied, "signed request"},
		"another operator": {request(func(op, _ *string, _ *[]byte, _ *time.Time) { *op = w.sk.PublicKey() }, w.sk), fault.Denied, "signed request"},
		"another accountd": {request(func(_, s *string, _ *[]byte, _ *time.Time) { *s = must(keys.NewServer()).PublicKey() }, w.sk), fault.Denied, "signed request"},
		"another body":     {request(func(_, _ *string, b *[]byte, _ *time.Time) { *b = []byte("{}") }, w.sk), fault.Denied, "signed request"},
		"a slow clock":     {request(func(_, _ *string, _ *[]byte, at *time.Time) { *at = at.Add(-6 * time.Minute) }, w.sk), fault.Expired, "clock"},
		"a fast clock":     {request(func(_, _ *string, _ *[]byte, at *time.Time) { *at = at.Add(6 * time.Minute) }, w.sk), fault.Expired, "clock"},
		"a foreign key":    {request(same, must(keys.NewOperator())), fault.Denied, "signed request"},
		"an account's key": {request(same, w.tenant), fault.Denied, "signed request"},
		"accountd's key":   {request(same, w.accountd), fault.Denied, "signed request"},
		"an operator JWT":  {w.operator.Token, fault.Invalid, "signed request"},
		"a long life":      {longLived, fault.Denied, "signed request"},
		"garbage":          {"a.b.c", fault.Invalid, "malformed"},
		"a huge token":     {strings.Repeat("x", 4096), fault.Invalid, "signed request"},
	} {
		reply := w.s.Put(context.Background(), "test", c.token, body)
		if reply.Error == nil || reply.Error.Code != c.code || reply.Error.Rule != c.rule {
			t.Errorf("%s: %+v", name, reply.Error)
		}
	}
	good := request(same, w.sk)
	if reply := w.s.Put(context.Background(), "test", good, body); reply.Error != nil || reply.Results[0].Error != nil {
		t.Fatalf("good request: %+v", reply)
	}
	head := w.head()
	if reply := w.s.Put(context.Background(), "test", good, body); reply.Error == nil || !strings.Contains(reply.Error.Message, "used before") {
		t.Errorf("replayed: %+v", reply)
	}
	w.clock = w.clock.Add(5 * time.Minute)
	if reply := w.s.Put(context.Background(), "test", good, body); reply.Error == nil {
		t.Errorf("replayed later: %+v", reply)
	}
	if w.head() != head {
		t.Error("a refused request changed the store")
	}
}

// TestHostileBodies: no form of request panics or half succeeds.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, body := range []string{
		"", "{", "null", "[]", `{"items":[]}`, `{"items":[{}]}`, `{"items":{}}`, `{"items":[{"jwt":1}]}`, `{"items":[{"jwt":"x","future":true}]}`,
		`{"items":[{"delete":"x"}]}`, `{"items":[{"delete":"SAAXXX"}]}{}`, strings.Repeat("[", 100000),
		`{"items":[` + strings.TrimSuffix(strings.Repeat(`{"delete":"x"},`, maxItems+1), ",") + `]}`,
	} {
		reply := w.s.Put(context.Background(), "test", w.envelope(w.sk, []byte(body)), []byte(body))
		refused := reply.Error != nil
		for _, r := range reply.Results {
			refused = refused || r.Error != nil
		}
		if !refused {
			t.Errorf("%.40s: %+v", body, reply)
		}
	}
}

func FuzzPutBody(f *testing.F) {
	f.Add([]byte(`{"items":[{"jwt":"a.b.c","base":"x","unrevoke":["*"]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var req api.PutRequest
		if err := decodeBody(body, &req); err != nil {
			return
		}
		for _, c := range decodeItems(req.Items) {
			if c.err == nil && c.doc == nil && c.item.Delete == "" {
				t.Fatal("an item without anything was decoded")
			}
		}
	})
}

// No version is admitted that a running server would refuse, because it started
// before its issuer was a key of the operator; one that does not run is no hurdle.
func TestIssuerThatServersDoNotTrustYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.sign(w.sk, w.account())
	base := w.mustPut(first, "").ID
	both, old := []string{w.sk.PublicKey(), w.sk2.PublicKey()}, []string{w.sk.PublicKey()}
	w.s.cfg.Nodes = func() []Node {
		return []Node{fakeNode{name: "a", trusts: both}, fakeNode{name: "b", trusts: old}, fakeNode{name: "away"}}
	}
	w.tick()
	ac := w.account()
	ac.Tags.Add("x")
	next := w.sign(w.sk2, ac)
	res := w.put(api.Item{JWT: next.Token, Base: base})
	if e := res.Error; e == nil || e.Code != fault.Untrusted || e.Rule != "restart" ||
		!strings.Contains(e.Message, "which b trust") || !strings.Contains(e.Hint, "-K "+w.sk.PublicKey()) {
		t.Errorf("%+v", res)
	}
	if rec := w.record(w.tenant.PublicKey()); rec.ID != base {
		t.Error("what was refused is stored")
	}
	reply := w.s.Status(t.Context(), api.StatusRequest{})
	if r := reply.Nodes; len(r[0].Restart) != 2 || len(r[1].Restart) != 3 || len(r[2].Restart) != 0 { // root and accountd's key, too
		t.Errorf("%+v", reply.Nodes)
	}
	live := w.s.cfg.Nodes
	w.s.cfg.Nodes = func() []Node { return nil } // another process watches the servers
	w.s.cfg.Known = func(store.Reader) ([]StockServer, error) {
		return []StockServer{{Name: "b", Trusts: old}, {Name: "away"}}, nil
	}
	if e := w.put(api.Item{JWT: next.Token, Base: base}).Error; e == nil || e.Rule != "restart" || !strings.Contains(e.Message, "which b trust") {
		t.Errorf("as it is stored: %+v", e)
	}
	w.s.cfg.Nodes = live
	old = both
	w.mustPut(next, base)
}

// TestVersionOfTheSameSecond is refused in offline custody while a stock server
// is expected that could not tell it from the one before.
func TestVersionOfTheSameSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var servers []StockServer
	w.s.cfg.Known = func(store.Reader) ([]StockServer, error) { return servers, nil }
	next := func(tag string) *claims.Document {
		ac := w.account()
		ac.Tags.Add(tag)
		return w.sign(w.sk, ac)
	}
	base := w.mustPut(next("one"), "").ID
	servers = []StockServer{{Name: "cache"}}
	base = w.mustPut(next("two"), base).ID
	servers = append(servers, StockServer{Name: "full", Seconds: true})
	res := w.put(api.Item{JWT: next("three").Token, Base: base})
	if e := res.Error; e == nil || e.Code != fault.Conflict || e.Rule != "same-second" || res.Current == nil || res.Current.ID != base {
		t.Errorf("%+v", res)
	}
	if _, err := w.s.Push(t.Context(), "push", next("four").Token); fault.RuleOf(err) != "same-second" {
		t.Errorf("at a door without a base: %v", err)
	}
	w.s.cfg.Signer = w.accountd // which signs it anew where that is needed
	base = w.mustPut(next("five"), base).ID
	w.s.cfg.Signer = nil
	w.tick()
	w.mustPut(next("six"), base)
}

// TestDeletionRequestOfATombstone is taken only as stock servers would obey it,
// of this account alone.
func TestDeletionRequestOfATombstone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := w.mustPut(w.sign(w.sk, w.account()), "").ID
	key := w.tenant.PublicKey()
	request := func(by claims.Signer, subject string, accounts ...string) string {
		return must(claims.Request("generic", subject, "", "n", 0, map[string]any{"accounts": accounts}).Sign(by, w.clock.Unix())).Token
	}
	for name, deletion := range map[string]string{
		"of another account":        request(w.sk, w.sk.PublicKey(), w.system.PublicKey()),
		"of two":                    request(w.sk, w.sk.PublicKey(), key, w.system.PublicKey()),
		"of none":                   request(w.sk, w.sk.PublicKey()),
		"by a tenant":               request(w.tenant, key, key),
		"for somebody else":         request(w.sk, w.root.PublicKey(), key),
		"by accountd's own key":     request(w.accountd, w.accountd.PublicKey(), key),
		"an account and no request": w.sign(w.sk, w.account()).Token,
		"no token":                  "x",
	} {
		if res := w.put(api.Item{Delete: key, Base: base, Deletion: deletion}); res.Error == nil || w.record(key).Deleted {
			t.Errorf("%s: %+v", name, res)
		}
	}
	good := request(w.sk, w.sk.PublicKey(), key)
	if res := w.put(api.Item{Delete: key, Base: base, Deletion: good}); res.Error != nil || w.record(key).Deletion != good {
		t.Fatalf("%+v", res)
	}
	w.tick()
	w.mustPut(w.sign(w.sk, w.account()), base, func(i *api.Item) { i.Restore = true })
	if rec := w.record(key); rec.Deleted || rec.Deletion != "" {
		t.Errorf("restored with the deletion: %+v", rec)
	}
}
