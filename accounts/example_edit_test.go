package accounts_test

import (
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
)

func ExampleEdit() {
	ac := jwt.NewAccountClaims("ADRL5S2GYZGPWKFUPTDOEBVCF3J3UWHKJV5YC7O4BJUMF3JWPMQ7CAIE")
	ac.Name = "app"
	conns, disk := int64(500), int64(10<<30)
	edit := accounts.Edit{
		Conns:       &conns,
		AddTags:     []string{"Env:Test"},
		Permissions: accounts.PermissionsEdit{DenyPub: []string{"admin.>"}},
		JetStream:   accounts.JetStreamEdit{DiskStorage: &disk},
	}
	if err := edit.Apply(ac); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ac.Limits.Conn, ac.Limits.DiskStorage, ac.Tags, ac.DefaultPermissions.Pub.Deny)
	// Output: 500 10737418240 [env:test] [admin.>]
}

func ExampleRoleEdit() {
	ac := jwt.NewAccountClaims("ADRL5S2GYZGPWKFUPTDOEBVCF3J3UWHKJV5YC7O4BJUMF3JWPMQ7CAIE")
	role := "sensor"
	edit := accounts.RoleEdit{
		Key:  "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA",
		Role: &role,
		Limits: accounts.LimitsEdit{
			Permissions: accounts.PermissionsEdit{AllowPub: []string{"data.{{name()}}.>"}},
		},
	}
	if err := edit.Apply(ac); err != nil {
		fmt.Println(err)
		return
	}
	key, _, err := accounts.KeyNamed(ac, "sensor")
	fmt.Println(key, err)
	// Output: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA <nil>
}

func ExampleParseTime() {
	now := time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)
	at, err := accounts.ParseTime("3d12h", now)
	fmt.Println(time.Unix(at, 0).UTC(), err)
	_, err = accounts.ParseTime("10days", now)
	fmt.Println(err)
	// Output:
	// 2027-02-03 22:00:00 +0000 UTC <nil>
	// "10days" is not a time such as 2027-01-31, 2027-01-31T10:00:00Z, or 12h, 7d, 3d12h, 2w, 6M or 1y from now; 0 is none (time)
}
