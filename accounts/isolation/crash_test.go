package isolation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/natstest"
)

// renamed is an account that imports a stream of another one under a new name,
// by the deprecated prefix if that is not empty.
func renamed(subject, local, prefix string) []*tenantKeys {
	a := newTenant("a").exports(jwt.Stream, ">")
	b := newTenant("b")
	//lint:ignore SA1019 servers still honour it
	im := &jwt.Import{Account: a.pub, Subject: jwt.Subject(subject), LocalSubject: jwt.RenamingSubject(local), To: jwt.Subject(prefix), Type: jwt.Stream}
	b.claims.Imports.Add(im)
	return []*tenantKeys{a, b}
}

// TestServersCrashAtRenames pins for which renames a real server ends at a
// subscription that is narrower than the import: those that doors refuse.
func TestServersCrashAtRenames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		subject, local, prefix, pattern string
		crash                           bool
	}{
		{"m.*.>", "l.$1.>", "", "l.a.b", false},
		{"m.*.*", "l.$1.$1", "", "l.a.b", false},
		{"m.*.*", "", "k", "k.m.a.b", false},
		{"m.>", "l.>", "", "l.a", false},
		{"$1.x", "", "k", "k.>", false},
		{"m.*.>", "l.$0.>", "", "l.$0.a", true},
		{"m.*", "l.{{wildcard(1)}}.$1", "", "l.a.a", true},
		{"m.*", "", "$1", "k.m.a", true},
		{"$1.*", "", "k", "k.a.b", false},
	} {
		name := fmt.Sprintf("%s as %s%s", c.subject, c.local, c.prefix)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenants := renamed(c.subject, c.local, c.prefix)
			b := tenants[1]
			if err := accounts.CheckRenames(b.claims); (fault.RuleOf(err) == "crash") != c.crash {
				t.Errorf("doors say %v", err)
			}
			if got := crashes(t, tenants, b.newUser("u"), c.pattern); got != c.crash {
				t.Errorf("a real server ends: %v", got)
			}
			w := isolation.New(isolation.Config{Accounts: []*jwt.AccountClaims{tenants[0].claims, b.claims}, Now: time.Now()})
			out := w.Flow(isolation.Flow{From: "a", Subject: "other", To: "b", Pattern: c.pattern})
			if (out.Result == isolation.Possible) != c.crash {
				t.Errorf("%+v", out)
			}
			if wide := w.Flow(isolation.Flow{From: "a", Subject: "other", To: "b", Pattern: ">"}); wide.Result != isolation.None {
				t.Errorf("not narrower: %+v", wide)
			}
		})
	}
}

// crashes reports whether a stock server ends when u subscribes.
func crashes(t *testing.T, tenants []*tenantKeys, u *user, pattern string) bool {
	t.Helper()
	op, sys := newPair(nkeys.PrefixByteOperator), newTenant("SYS")
	oc := jwt.NewOperatorClaims(op.pub)
	oc.SystemAccount = sys.pub
	encode := func(c jwt.Claims) string {
		token, err := c.Encode(op.kp)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	config := "operator: " + encode(oc) + "\nresolver: MEMORY\nresolver_preload {\n"
	for _, a := range append(tenants, sys) {
		config += fmt.Sprintf("  %s: %s\n", a.pub, encode(a.claims))
	}
	s := natstest.StartServer(t, config+"}\n")
	k, why := dialAt(t, strings.TrimPrefix(s.URL, "nats://"), u, false)
	if why != "" {
		t.Fatal(why)
	}
	if k.subscribe(pattern, "") == "" {
		return false
	}
	s.Wait(t, 20*time.Second)
	return strings.Contains(s.Output(), "addShadowSub")
}
