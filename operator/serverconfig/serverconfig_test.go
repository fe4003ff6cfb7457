package serverconfig_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/serverconfig"
)

func ExampleResolver() {
	system := serverconfig.Account{Name: "SYS", Key: "AA…", JWT: "eyJ…sys"}
	text, err := serverconfig.Resolver(serverconfig.Trust{Name: "acme", JWT: "eyJ…acme", System: &system}, serverconfig.Directory{AllowDelete: true})
	if err != nil {
		panic(err)
	}
	fmt.Print(text)
	// Output:
	// # operator acme
	// operator: eyJ…acme
	//
	// # account SYS
	// system_account: AA…
	//
	// resolver {
	//   type: full
	//   dir: "./jwt"
	//   # whether deletions are taken, which a key of the operator signs
	//   allow_delete: true
	//   # how often servers compare what they hold
	//   interval: "2m"
	//   # how long to wait for another server's copy
	//   timeout: "1.9s"
	// }
	//
	// resolver_preload {
	//   # account SYS
	//   AA…: eyJ…sys
	// }
}

func ExampleStatic() {
	app := jwt.NewAccountClaims("AB…")
	app.Name = "app"
	fmt.Print(serverconfig.Static("", []serverconfig.Tenant{{Claims: app, Users: []serverconfig.User{{Key: "UC…"}}}}))
	// Output:
	// accounts: {
	//   "app": {
	//     "users": [
	//       {
	//         "nkey": "UC…"
	//       }
	//     ]
	//   }
	// }
}

func TestResolverWithoutSystemAccount(t *testing.T) {
	t.Parallel()
	if _, err := serverconfig.Resolver(serverconfig.Trust{Name: "acme"}, serverconfig.Directory{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

// TestNamesStayInComments: a name cannot add lines to a configuration.
func TestNamesStayInComments(t *testing.T) {
	t.Parallel()
	evil := "x\nport: 1"
	text := serverconfig.Memory(serverconfig.Trust{Name: evil, JWT: "o"}, []serverconfig.Account{{Name: evil, Key: "A", JWT: "a"}})
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "port") {
			t.Errorf("a line of its own:\n%s", text)
		}
	}
}
