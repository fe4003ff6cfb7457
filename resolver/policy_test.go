package resolver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// guarded is a world with a policy.
func guarded(t *testing.T, policy string) *world {
	t.Helper()
	p := must(isolation.ParsePolicy([]byte(policy)))
	return newWorld(t, func(c *Config) { c.Policy = &p })
}

// taking adds a stream or service of another account.
func taking(of string, kind jwt.ExportType, subject, local string) func(*jwt.AccountClaims) {
	return func(ac *jwt.AccountClaims) {
		ac.Imports.Add(&jwt.Import{Account: of, Type: kind, Subject: jwt.Subject(subject), LocalSubject: jwt.RenamingSubject(local)})
	}
}

func giving(kind jwt.ExportType, subject string) func(*jwt.AccountClaims) {
	return func(ac *jwt.AccountClaims) { ac.Exports.Add(&jwt.Export{Type: kind, Subject: jwt.Subject(subject)}) }
}

const cokeAndPepsi = "isolated: [[coke, pepsi]]\nreaches: [{from: coke, only: [platform]}]\n"

// TestPolicyIsKept: no change that would break the policy is admitted, whoever
// makes it and by whichever account, and the answer says the way.
func TestPolicyIsKept(t *testing.T) {
	t.Parallel()
	w := guarded(t, cokeAndPepsi)
	refused := func(d *claims.Document, base string, path ...string) {
		t.Helper()
		res := w.put(api.Item{JWT: d.Token, Base: base})
		if res.Error == nil || res.Error.Rule != "policy" || res.Error.Code != "denied" {
			t.Fatalf("%s: %+v", d.Name, res)
		}
		for _, step := range path {
			if !strings.Contains(res.Error.Message, step) {
				t.Errorf("%q does not say %q", res.Error.Message, step)
			}
		}
		if _, err := w.s.Push(context.Background(), "push", d.Token); err == nil {
			t.Errorf("%s is admitted by a door without a base", d.Name)
		}
	}
	coke, pepsi, platform, fanta := w.named("coke"), w.named("pepsi"), w.named("platform"), w.named("fanta")
	coke = w.edit(coke, giving(jwt.Stream, "orders.>"))
	for _, d := range []*claims.Document{coke, pepsi, platform, fanta} {
		w.mustPut(d, "")
	}
	refused(w.edit(pepsi, taking(coke.Subject, jwt.Stream, "orders.>", "coke.>")), pepsi.ID,
		"coke and pepsi are isolated", "a user of coke publishes orders.>", "pepsi imports the stream orders.> of coke, as coke.>")
	refused(w.edit(fanta, taking(coke.Subject, jwt.Stream, "orders.>", "coke.>")), fanta.ID, "coke reaches only platform")
	platform = w.edit(platform, giving(jwt.Service, "coke.>"))
	w.mustPut(platform, must(w.newest(platform.Subject)).ID)
	d := w.edit(coke, taking(platform.Subject, jwt.Service, "coke.>", "ask.>"))
	w.mustPut(d, coke.ID)
	coke = d
	// The platform would pass on what it asks others.
	d = w.edit(pepsi, giving(jwt.Service, "q.>"))
	w.mustPut(d, pepsi.ID)
	pepsi = d
	refused(w.edit(platform, taking(pepsi.Subject, jwt.Service, "q.>", "coke.q.>")), platform.ID, "coke and pepsi are isolated", "pepsi")
	refused(w.edit(coke, func(ac *jwt.AccountClaims) { ac.Name = "cola" }), coke.ID, "account coke is not among the claims")
	// Both halves in one request, and one that has nothing to do with it.
	a := w.edit(platform, taking(pepsi.Subject, jwt.Service, "q.>", "coke.q.>"))
	b := w.edit(fanta, giving(jwt.Stream, "x"))
	reply := w.request(api.PutRequest{Items: []api.Item{{JWT: a.Token, Base: platform.ID}, {JWT: b.Token, Base: fanta.ID}}})
	if r := reply.Results; len(r) != 2 || r[0].Error == nil || r[0].Error.Rule != "policy" || r[1].Outcome != api.OutcomePut {
		t.Errorf("%+v", reply)
	}
	if res := w.put(api.Item{Delete: pepsi.Subject, Base: pepsi.ID}); res.Error == nil || res.Error.Rule != "policy" {
		t.Errorf("an account of the policy is deleted: %+v", res)
	}
}

// newest is the stored version of an account.
func (w *world) newest(key string) (*claims.Document, error) { return claims.Decode(w.record(key).JWT) }

// TestPolicyOverHTTP: the doors over HTTP refuse with 403 and the rule.
func TestPolicyOverHTTP(t *testing.T) {
	t.Parallel()
	w := guarded(t, cokeAndPepsi)
	coke := w.edit(w.named("coke"), giving(jwt.Stream, "orders.>"))
	pepsi := w.named("pepsi")
	for _, d := range []*claims.Document{coke, pepsi, w.named("platform")} {
		w.mustPut(d, "")
	}
	bad := w.edit(pepsi, taking(coke.Subject, jwt.Stream, "orders.>", "coke.>"))
	srv := httptest.NewServer(w.handler())
	t.Cleanup(srv.Close)
	resp, err := http.Post(srv.URL+"/jwt/v1/accounts/"+pepsi.Subject, "application/jwt", strings.NewReader(bad.Token))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "(policy)") {
		t.Errorf("%d: %s", resp.StatusCode, body)
	}
}

// TestPolicyThatIsBroken: what was broken before is said, and stops neither
// revocations nor what does not make it worse.
func TestPolicyThatIsBroken(t *testing.T) {
	t.Parallel()
	p := must(isolation.ParsePolicy([]byte(cokeAndPepsi)))
	w := newWorld(t)
	coke := w.edit(w.named("coke"), giving(jwt.Stream, "orders.>"))
	pepsi := w.edit(w.named("pepsi"), taking(coke.Subject, jwt.Stream, "orders.>", "coke.>"))
	for _, d := range []*claims.Document{coke, pepsi} {
		w.mustPut(d, "")
	}
	cfg := w.s.cfg
	cfg.Policy = &p
	w.s = must(New(cfg))
	warned := must(w.s.Warnings(context.Background()))
	for _, want := range []string{"coke and pepsi are isolated", "coke reaches only platform", "account platform is not among the claims"} {
		if !slices.ContainsFunc(warned, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%q does not say %q", warned, want)
		}
	}
	user := must(keys.NewUser()).PublicKey()
	for name, edit := range map[string]func(*jwt.AccountClaims){
		"revoke":  func(ac *jwt.AccountClaims) { ac.Revoke(user) },
		"suspend": func(ac *jwt.AccountClaims) { accounts.Suspend(ac) },
		"resume":  func(ac *jwt.AccountClaims) { _, _ = accounts.Resume(ac) },
		"other":   giving(jwt.Stream, "other"),
	} {
		d := w.edit(must(w.newest(pepsi.Subject)), edit)
		if res := w.put(api.Item{JWT: d.Token, Base: must(w.newest(pepsi.Subject)).ID}); res.Error != nil {
			t.Errorf("%s: %+v", name, res.Error)
		}
	}
	// Mended, it stays so; and what is suspended is not opened on the way.
	now := must(w.newest(pepsi.Subject))
	mended := w.edit(now, func(ac *jwt.AccountClaims) { ac.Imports = nil; _, _ = accounts.Resume(ac) })
	w.mustPut(mended, now.ID)
	again := w.edit(mended, func(ac *jwt.AccountClaims) {
		taking(coke.Subject, jwt.Stream, "orders.>", "coke.>")(ac)
		accounts.Suspend(ac)
	})
	if res := w.put(api.Item{JWT: again.Token, Base: mended.ID}); res.Error == nil || res.Error.Rule != "policy" {
		t.Errorf("%+v", res)
	}
	if left := must(w.s.Warnings(context.Background())); len(left) != 1 || !strings.Contains(left[0], "platform") {
		t.Errorf("%q", left)
	}
}

// TestPolicyExpectsFlows: what must arrive cannot be taken away, but for a
// revocation of the contract.
func TestPolicyExpectsFlows(t *testing.T) {
	t.Parallel()
	w := guarded(t, "flows: [{from: coke, subject: orders.new, to: pepsi, pattern: 'coke.>', expect: delivered, on: coke.new}]")
	key := must(keys.NewAccount())
	ac := jwt.NewAccountClaims(key.PublicKey())
	ac.Name = "coke"
	ac.Exports.Add(&jwt.Export{Type: jwt.Stream, Subject: "orders.*", TokenReq: true})
	w.tick()
	coke, pepsi := w.sign(w.sk, ac), w.named("pepsi")
	act := jwt.NewActivationClaims(pepsi.Subject)
	act.ImportSubject, act.ImportType = "orders.*", jwt.Stream
	token := must(must(claims.New(act)).Sign(key, w.clock.Unix())).Token
	pepsi = w.edit(pepsi, func(ac *jwt.AccountClaims) {
		ac.Imports.Add(&jwt.Import{Account: coke.Subject, Type: jwt.Stream, Subject: "orders.*", LocalSubject: "coke.$1", Token: token})
	})
	w.mustPut(coke, "")
	w.mustPut(pepsi, "")
	for name, d := range map[string]*claims.Document{
		"end":   w.edit(pepsi, func(ac *jwt.AccountClaims) { ac.Imports = nil }),
		"other": w.edit(pepsi, func(ac *jwt.AccountClaims) { ac.Imports[0].LocalSubject = "cola.$1" }),
	} {
		if res := w.put(api.Item{JWT: d.Token, Base: pepsi.ID}); res.Error == nil || res.Error.Rule != "policy" {
			t.Errorf("%s: %+v", name, res)
		}
	}
	d := w.edit(coke, func(ac *jwt.AccountClaims) { ac.Exports[0].RevokeAt(pepsi.Subject, w.clock) })
	w.mustPut(d, coke.ID)
}

// BenchmarkPolicy: one of many tenants changes, which are all isolated from each
// other and each share a stream with a platform, with and without a policy.
func BenchmarkPolicy(b *testing.B) {
	const tenants = 1000
	list := isolation.Policy{Isolated: [][]string{{}}}
	for i := range tenants {
		list.Isolated[0] = append(list.Isolated[0], fmt.Sprint("t", i))
	}
	for what, policy := range map[string]*isolation.Policy{"without": nil, "with": &list} {
		w := newWorld(b, func(c *Config) { c.Policy = policy })
		platform := jwt.NewAccountClaims(must(keys.NewAccount()).PublicKey())
		platform.Name = "platform"
		var one *claims.Document
		var items []api.Item
		for i := range tenants {
			ac := jwt.NewAccountClaims(must(keys.NewAccount()).PublicKey())
			ac.Name = fmt.Sprint("t", i)
			giving(jwt.Stream, "orders.>")(ac)
			taking(ac.Subject, jwt.Stream, "orders.>", ac.Name+".orders.>")(platform)
			one = w.sign(w.sk, ac)
			items = append(items, api.Item{JWT: one.Token})
		}
		w.request(api.PutRequest{Items: items})
		w.mustPut(w.sign(w.sk, platform), "")
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				next := w.edit(one, func(ac *jwt.AccountClaims) { ac.Description = w.clock.String() })
				if res := w.put(api.Item{JWT: next.Token, Base: one.ID}); res.Error != nil {
					b.Fatal(res.Error)
				}
				one = next
			}
		})
	}
}

// TestPolicyIsReplaced: a newer policy holds from the next change on, what it
// finds broken is said, and one that cannot be read leaves the old one.
func TestPolicyIsReplaced(t *testing.T) {
	t.Parallel()
	w := guarded(t, "isolated: [[coke, fanta]]")
	coke := w.edit(w.named("coke"), giving(jwt.Stream, "orders.>"))
	pepsi, fanta := w.named("pepsi"), w.named("fanta")
	for _, d := range []*claims.Document{coke, pepsi, fanta} {
		w.mustPut(d, "")
	}
	take := func(d *claims.Document) string {
		t.Helper()
		base := must(w.newest(d.Subject))
		res := w.put(api.Item{JWT: w.edit(base, taking(coke.Subject, jwt.Stream, "orders.>", "coke.>")).Token, Base: base.ID})
		if res.Error != nil {
			return res.Error.Rule
		}
		return ""
	}
	if got := take(pepsi) + take(fanta); got != "policy" {
		t.Errorf("%q", got)
	}
	if err := w.s.SetPolicy(t.Context(), must(isolation.ParsePolicy([]byte("isolated: [[coke, pepsi]]")))); err != nil {
		t.Fatal(err)
	}
	if warned := must(w.s.Warnings(t.Context())); len(warned) != 1 || !strings.Contains(warned[0], "coke and pepsi are isolated") {
		t.Errorf("%q", warned)
	}
	if got := take(fanta); got != "" {
		t.Errorf("the old policy is kept: %q", got)
	}
	w.s.KeepPolicy(errors.New("line 3 is none"))
	if warned := must(w.s.Warnings(t.Context())); len(warned) != 2 || !strings.Contains(warned[1], "line 3 is none") {
		t.Errorf("%q", warned)
	}
}

// TestPolicyOfARole: a change of a role that breaks the policy is refused, though
// accountd knows none of its users.
func TestPolicyOfARole(t *testing.T) {
	t.Parallel()
	w := guarded(t, "isolated: [['coke:@device', pepsi]]")
	role := func(ac *jwt.AccountClaims, allowed ...string) {
		scope := jwt.NewUserScope()
		scope.Key, scope.Role = w.roleKey(t, ac), "device"
		scope.Template.Pub.Allow = allowed
		ac.SigningKeys.AddScopedSigner(scope)
	}
	coke := w.edit(w.named("coke"), func(ac *jwt.AccountClaims) { giving(jwt.Stream, "orders.>")(ac); role(ac, "own.{{name()}}.>") })
	w.mustPut(coke, "")
	pepsi := w.edit(w.named("pepsi"), taking(coke.Subject, jwt.Stream, "orders.>", "coke.>"))
	w.mustPut(pepsi, "")
	for _, edit := range []func(*jwt.AccountClaims){
		func(ac *jwt.AccountClaims) { role(ac, "own.{{name()}}.>", "orders.{{name()}}") },
		func(ac *jwt.AccountClaims) { ac.SigningKeys = nil },
	} {
		if res := w.put(api.Item{JWT: w.edit(coke, edit).Token, Base: coke.ID}); res.Error == nil || res.Error.Rule != "policy" {
			t.Errorf("%+v", res)
		}
	}
	w.mustPut(w.edit(coke, func(ac *jwt.AccountClaims) { role(ac, "own.{{name()}}.x") }), coke.ID)
}

// roleKey is the key of the only role of an account, a new one if there is none.
func (w *world) roleKey(t *testing.T, ac *jwt.AccountClaims) string {
	t.Helper()
	for key := range ac.SigningKeys {
		return key
	}
	return must(keys.NewAccount()).PublicKey()
}
