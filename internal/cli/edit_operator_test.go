package cli_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
)

// fixed is a clock that stands.
func fixed(at time.Time) func() time.Time { return func() time.Time { return at } }

// operatorClaims decodes the person's operator.
func (p *person) operatorClaims() (*claims.Document, *jwt.OperatorClaims) {
	p.t.Helper()
	token, err := p.operator().JWT()
	if err != nil {
		p.t.Fatal(err)
	}
	return decode[jwt.OperatorClaims](p.t, token)
}

func TestEditOperator(t *testing.T) {
	t.Parallel()
	p := local(t)
	seeds := p.seedCount()
	p.ok("edit", "operator", "--sk", "generate", "--tag", "Prod", "--service-url", "NATS://Host:4222", "-n", "tls://host:4223", "--expiry", "2035-01-01").
		says("operator acme", "signing key O", "until they restart", "local only: operator acme names no account server")
	doc, oc := p.operatorClaims()
	if doc.Issuer != doc.Subject || len(oc.SigningKeys) != 2 || oc.Tags[0] != "prod" || oc.Expires == 0 ||
		!slices.Equal(oc.OperatorServiceURLs, jwt.StringList{"nats://host:4222", "tls://host:4223"}) || p.seedCount() != seeds+1 {
		t.Errorf("%+v", oc)
	}
	fresh, used := oc.SigningKeys[1], oc.SigningKeys[0]
	p.ok("edit", "operator", "--rm-service-url", "tls://host:4223", "--rm-tag", "prod")
	if _, oc := p.operatorClaims(); len(oc.OperatorServiceURLs) != 1 || len(oc.Tags) != 0 || len(oc.SigningKeys) != 2 {
		t.Errorf("%+v", oc)
	}
	p.unchanged(func() {
		p.run("edit", "operator").exits(2)
		p.ok("edit", "operator", "--expiry", "2035-01-01").says("nothing to change")
		p.ok("edit", "operator", "--sk", "generate", "--dry-run").says("new key", "nothing was changed")
		p.run("edit", "operator", "--rm-sk", used).exits(4).complains("still signed by a key", "account app")
		p.run("edit", "operator", "--rm-sk", fresh[:55]+"A").exits(3).complains("did you mean")
		p.run("edit", "operator", "--account-jwt-server-url", "host:4222").exits(7).complains("nats://host:4222")
		p.run("edit", "operator", "-u", "nats://a:1", "--rm-account-jwt-server-url").exits(2)
		p.run("edit", "operator", "--service-url", "http://host").exits(7)
		p.run("edit", "operator", "--system-account", "ap").exits(3).complains(`did you mean "app"`)
		p.run("edit", "operator", "--sk", "generate", "--service-url", "http://host").exits(7)
		p.run("edit", "operator", "--tag", "x", "-K", used).exits(4).complains("is no key of the root of operator")
	})
	p.ok("edit", "operator", "--rm-sk", fresh).says("retired for ever once this is published")
	p.ok("edit", "account", "app", "--js-enable", "0")
	p.run("edit", "operator", "--system-account", "app").exits(4).complains("--js-disable")
	p.ok("edit", "account", "app", "--js-disable")
	app, _ := p.account("app")
	p.ok("edit", "operator", "--system-account", "app")
	if _, oc := p.operatorClaims(); oc.SystemAccount != app.Subject {
		t.Errorf("system account %s", oc.SystemAccount)
	}
}

// TestRequireSigningKeys: strict mode is refused while anything is signed by an
// identity key, and then holds.
func TestRequireSigningKeys(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	p.unchanged(func() {
		p.run("edit", "operator", "--require-signing-keys").exits(4).complains("user u in app")
	})
	p.ok("edit", "account", "app", "--sk", "generate")
	_, ac := p.account("app")
	p.ok("edit", "user", "u", "-a", "app", "--tag", "x", "-K", ac.SigningKeys.Keys()[0])
	p.ok("edit", "operator", "--require-signing-keys").says("+ nats.strict_signing_key_usage: true")
	p.ok("edit", "user", "u", "-a", "app", "--tag", "y")
	if _, uc := p.user("app", "u"); uc.Issuer != ac.SigningKeys.Keys()[0] || uc.IssuerAccount != ac.Subject {
		t.Errorf("%+v", uc)
	}
	p.ok("edit", "operator", "--tag", "x") // the root key still signs the operator itself
	if doc, _ := p.operatorClaims(); doc.Issuer != doc.Subject {
		t.Errorf("signed by %s", doc.Issuer)
	}
}

// TestUndelegate: accountd's own key goes only on purpose, and status says what
// is left; nor is an operator here that expired, unpublished, kept quiet.
func TestUndelegate(t *testing.T) {
	t.Parallel()
	p := own(t).person(t)
	_, oc := p.operatorClaims()
	mine := p.store().Keystore().HasSeed
	i := slices.IndexFunc(oc.SigningKeys, func(key string) bool { return !mine(key) })
	p.ok("status").says("delegated custody")
	p.unchanged(func() {
		p.run("edit", "operator", "--rm-sk", oc.SigningKeys[i]).exits(4).complains("accountd's own signing key", "(delegated key)", "--yes")
	})
	p.run("edit", "operator", "--rm-sk", oc.SigningKeys[i], "--yes").exits(8).says("is retired", "restart needed: still trusts operator key O")
	p.run("status").exits(8).says("offline custody", "warnings", "accountd signs nothing")
	p.ok("edit", "operator", "--expiry", "2020-01-01", "--no-push")
	p.run("status").exits(8).says("still trusts", "is another version than the one in force", "expired at 2020-01-01", "nsc edit operator --expiry 0")
	p.run("status", "--json").exits(8).says(`"warnings": [`, `"restart": [`)
}
