package accounts_test

import (
	"fmt"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// A public service, and what importing it says as long as nothing exports it.
func ExampleExportEdit() {
	shop := jwt.NewAccountClaims("ADRL5S2GYZGPWKFUPTDOEBVCF3J3UWHKJV5YC7O4BJUMF3JWPMQ7CAIE")
	shop.Name = "shop"
	app := jwt.NewAccountClaims("ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA")
	app.Name = "app"
	lookup := func(key string) *jwt.AccountClaims {
		return map[string]*jwt.AccountClaims{shop.Subject: shop, app.Subject: app}[key]
	}
	price := accounts.NewImport{Account: shop.Subject, Subject: "price.get", Service: true, Local: "shop.price"}
	if err := price.Add(app, lookup, 0); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(accounts.Findings(app, lookup, 0))
	service := true
	if err := (accounts.ExportEdit{Service: &service}).Add(shop, "price.get"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(accounts.Findings(app, lookup, 0))
	// Output:
	// [import of price.get from shop: no service export covers it]
	// []
}

// A private export, the activation for one importer, and its revocation.
func ExampleActivation() {
	pair, err := keys.NewAccount()
	if err != nil {
		fmt.Println(err)
		return
	}
	shop := jwt.NewAccountClaims(pair.PublicKey())
	shop.Name = "shop"
	app := jwt.NewAccountClaims("ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA")
	app.Name = "app"
	lookup := func(key string) *jwt.AccountClaims {
		return map[string]*jwt.AccountClaims{shop.Subject: shop, app.Subject: app}[key]
	}
	private := true
	if err := (accounts.ExportEdit{Private: &private}).Add(shop, "orders.>"); err != nil {
		fmt.Println(err)
		return
	}
	act, earliest, err := accounts.Activation{Importer: app.Subject, Subject: "orders.eu"}.Claims(shop, pair.PublicKey())
	if err != nil {
		fmt.Println(err)
		return
	}
	draft, err := claims.New(act)
	if err != nil {
		fmt.Println(err)
		return
	}
	const now = 1_800_000_000
	doc, err := draft.Sign(pair, max(now, earliest))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(accounts.NewImport{Activation: doc.Token}.Add(app, lookup, now), len(accounts.Findings(app, lookup, now)))
	_, err = accounts.RevokeActivations(shop, accounts.ExportRef{Subject: "orders.>", Type: jwt.Stream}, app.Subject, now)
	fmt.Println(err, accounts.Findings(app, lookup, now))
	// Output:
	// <nil> 0
	// <nil> [import of orders.eu from shop: its activation is revoked]
}

func ExampleAddMapping() {
	ac := jwt.NewAccountClaims("ADRL5S2GYZGPWKFUPTDOEBVCF3J3UWHKJV5YC7O4BJUMF3JWPMQ7CAIE")
	for _, to := range []jwt.WeightedMapping{{Subject: "orders.v1", Weight: 90}, {Subject: "orders.v2", Weight: 20}} {
		if err := accounts.AddMapping(ac, "orders", to); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(ac.Mappings)
	// Output:
	// the mappings of "orders" would have weights of 110 % together (weight)
	// map[orders:[{orders.v1 90 }]]
}

func ExampleCalloutEdit() {
	ac := jwt.NewAccountClaims("ADRL5S2GYZGPWKFUPTDOEBVCF3J3UWHKJV5YC7O4BJUMF3JWPMQ7CAIE")
	ac.Name = "app"
	fmt.Println(accounts.CalloutEdit{AddAccounts: []string{jwt.AnyAccount}}.Apply(ac))
	// Output: the callout of account "app" would have no user that asks and answers (callout)
}
