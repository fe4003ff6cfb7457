package accounts_test

import (
	"slices"
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
		c.SigningKeys.Add("AOLD", "ANEW")
	})
	newer := version(200, func(c *jwt.AccountClaims) {
		c.Revocations = jwt.RevocationList{a: 90}
		c.Description = "new"
		c.SigningKeys.Add("ANEW")
	})

	u, err := accounts.Unite([]*claims.Document{older, newer})
	if err != nil || u.Newest.ID != newer.ID || u.Draft == nil || !slices.Equal(u.Gone, []string{"AOLD"}) {
		t.Fatalf("united %+v, error %v", u, err)
	}
	d, err := u.Draft.Sign(op, 300)
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
		if u, err := accounts.Unite(versions); err != nil || u.Newest.ID != newer.ID || u.Draft != nil || u.Gone != nil {
			t.Errorf("%s: united %+v, error %v", name, u, err)
		}
	}
	twin := version(200, revokes(a, 90))
	if u, err := accounts.Unite([]*claims.Document{twin, newer}); err != nil || u.Newest.ID != twin.ID {
		t.Error("of two versions of one second the second was taken")
	}
}
