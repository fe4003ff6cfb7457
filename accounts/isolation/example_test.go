package isolation_test

import (
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/isolation"
)

// pepsi imports what coke offers: whatever anybody of coke publishes as orders
// comes to pepsi, and nothing else.
func Example() {
	coke, pepsi := newTenant("coke").claims, newTenant("pepsi").claims
	coke.Exports.Add(&jwt.Export{Subject: "orders.*", Type: jwt.Stream})
	pepsi.Imports.Add(&jwt.Import{Account: coke.Subject, Subject: "orders.*", LocalSubject: "coke.$1", Type: jwt.Stream})

	w := isolation.New(isolation.Config{Accounts: []*jwt.AccountClaims{coke, pepsi}, Now: time.Now()})
	out := w.Flow(isolation.Flow{From: "coke", Subject: "orders.new", To: "pepsi", Pattern: "coke.>"})
	fmt.Println(out.Result, out.Subjects, "by", out.Rule)
	for _, r := range w.Isolated("coke", "pepsi") {
		fmt.Println(r.From, "reaches", r.To, "by", r.How, r.Subject, "as", r.Arrives)
	}
	// Output:
	// delivered [coke.new] by stream import
	// coke reaches pepsi by stream orders.* as coke.*
}
