package accounts_test

import (
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
)

// The whole chain in memory: an operator, an account with a role, and a user
// under it that may say what it measures and nothing else.
func Example() {
	now := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	root := must(keys.NewOperator())
	tenant := must(keys.NewAccount())
	sensors := must(keys.NewAccount()) // the key of the role
	device := must(keys.NewUser())

	oc := jwt.NewOperatorClaims(root.PublicKey())
	oc.Name = "acme"
	operatorDoc := must(must(claims.New(oc)).Sign(root, now.Unix()))

	ac := jwt.NewAccountClaims(tenant.PublicKey())
	ac.Name = "coke"
	role := "sensor"
	add := accounts.RoleEdit{Key: sensors.PublicKey(), Role: &role, Limits: accounts.LimitsEdit{
		Permissions: accounts.PermissionsEdit{AllowPub: []string{"data.{{name()}}"}, DenySub: []string{">"}},
	}}
	if err := add.Apply(ac); err != nil {
		fmt.Println(err)
		return
	}
	accountDoc := must(must(claims.New(ac)).Sign(root, now.Unix()))

	uc := jwt.NewUserClaims(device.PublicKey())
	uc.Name = "d7"
	expires := now.Add(24 * time.Hour).Unix()
	if err := (accounts.UserEdit{Expires: &expires}).Apply(uc, ac, sensors.PublicKey()); err != nil {
		fmt.Println(err)
		return
	}
	userDoc := must(must(claims.New(uc)).Sign(sensors, now.Unix()))

	verdict := accounts.Judge(accounts.Login{
		Trust:   must(operator.TrustOf(operatorDoc)),
		Account: must(claims.As[jwt.AccountClaims](accountDoc)),
		User:    must(claims.As[jwt.UserClaims](userDoc)),
	}, now)
	fmt.Println(verdict.Accepted(), verdict.May.Pub.Allow, verdict.May.Sub.Deny)
	// Output: true [data.d7] [>]
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
