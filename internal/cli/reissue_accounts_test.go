package cli_test

import (
	"slices"
	"testing"

	"github.com/nats-io/jwt/v2"
)

// TestReissueAccounts: a signing key of the operator can go once another one has
// signed what it signed.
func TestReissueAccounts(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.offline(false)
	p.ok("push", "--all")
	p.ok("edit", "operator", "--sk", "generate")
	_, oc := p.operatorClaims()
	before, _ := p.account("app")
	i := slices.Index(oc.SigningKeys, before.Issuer)
	if len(oc.SigningKeys) != 2 || i < 0 {
		t.Fatalf("signing keys %v, issuer %s", oc.SigningKeys, before.Issuer)
	}
	old, fresh := oc.SigningKeys[i], oc.SigningKeys[1-i]
	p.unchanged(func() {
		p.run("edit", "operator", "--rm-sk", old).exits(4).complains("account app", "nsc reissue accounts --signed-by "+old)
		p.ok("reissue", "accounts", "--signed-by", old, "--dry-run", "-o", "wide").says("- iss: \""+old, "+ iss: \""+fresh, "nothing was changed")
		p.ok("reissue", "accounts", "--signed-by", fresh)
		p.run("reissue", "accounts", "none").exits(3)
		p.run("reissue", "accounts", "--signed-by", "app").exits(2)
		p.run("reissue", "accounts", "--signed-by", old, "-K", old).exits(4)
	})
	p.ok("reissue", "accounts", "--signed-by", old).says("account app", "account SYS", "in force on 1 of 1 nodes")
	for _, name := range []string{"app", "SYS"} {
		if doc, _ := p.account(name); doc.Issuer != fresh || p.published(name).ID != doc.ID {
			t.Errorf("%s is issued by %s, published %+v", name, doc.Issuer, p.published(name))
		}
	}
	if after, _ := p.account("app"); after.IssuedAt < before.IssuedAt {
		t.Error("time went back")
	}
	p.ok("edit", "operator", "--rm-sk", old)
	p.ok("reissue", "accounts", "--no-push")

	// What a removed key has signed is signed anew by name only.
	q := local(t)
	signed, _ := q.account("app")
	q.ok("edit", "operator", "--sk", "generate")
	q.editOperator(func(c *jwt.OperatorClaims) { c.SigningKeys.Remove(signed.Issuer) })
	q.unchanged(func() { q.run("reissue", "accounts").exits(7).complains("nsc reissue accounts SYS") })
	q.ok("reissue", "accounts", "app").says("account app", "names no account server")
	if doc, _ := q.account("app"); doc.Issuer == signed.Issuer {
		t.Error("not signed anew")
	}
}
