package accounts_test

import (
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

func TestUniteKeepsTheNewestAndEveryRevocation(t *testing.T) {
	t.Parallel()
	op, _ := keys.NewOperator()
	ac, _ := keys.NewAccount()
	version := func(at int64, change func(*jwt.AccountClaims)) *claims.Document {
		c := jwt.NewAccountClaims(ac.PublicKey())
		c.Name = "app"
		c.Exports.Add(&jwt.Export{Name: "s", Subject: "s.>", Type: jwt.Service, TokenReq: true})
		change(c)
		draft, err := claims.New(c)
		if err != nil {
			t.Fatal(err)
		}
		d, err := draft.Sign(op, at)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	revokes := func(user string, at int64) func(*jwt.AccountClaims) {
		return func(c *jwt.AccountClaims) { c.Revocations = jwt.RevocationList{user: at} }
	}
	a, b := "UA", "UB"
	older := version(100, func(c *jwt.AccountClaims) {
		c.Revocations = jwt.RevocationList{a: 50, b: 60}
		c.Exports[0].Revocations = jwt.RevocationList{"*": 70}
		c.Description = "old"
	})
	newer := version(200, func(c *jwt.AccountClaims) {
		c.Revocations = jwt.RevocationList{a: 90}
		c.Description = "new"
	})

	newest, draft, err := accounts.Unite([]*claims.Document{older, newer})
	if err != nil || newest.ID != newer.ID || draft == nil {
		t.Fatalf("newest %v, draft %v, error %v", newest, draft, err)
	}
	d, err := draft.Sign(op, 300)
	if err != nil {
		t.Fatal(err)
	}
	got, err := claims.As[jwt.AccountClaims](d)
	if err != nil {
		t.Fatal(err)
	}
	if got.Description != "new" || got.Revocations[a] != 90 || got.Revocations[b] != 60 || got.Exports[0].Revocations["*"] != 70 {
		t.Fatalf("united: %+v, exports %+v", got.Revocations, got.Exports[0])
	}

	for name, versions := range map[string][]*claims.Document{
		"one":           {newer},
		"nothing lost":  {version(100, revokes(a, 90)), newer},
		"an older time": {version(100, revokes(a, 10)), newer},
	} {
		if newest, draft, err := accounts.Unite(versions); err != nil || newest.ID != newer.ID || draft != nil {
			t.Errorf("%s: newest %v, draft %v, error %v", name, newest.ID, draft, err)
		}
	}
	twin := version(200, revokes(a, 90))
	if newest, _, _ := accounts.Unite([]*claims.Document{twin, newer}); newest.ID != twin.ID {
		t.Error("of two versions of one second the second was taken")
	}
}
