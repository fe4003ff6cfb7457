package isolation_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/isolation"
)

// TestARoleStandsForItsUsers: what is decided of a role is so for each of its
// users, of whatever name and tags, and a user reaches nobody that his role does
// not.
func TestARoleStandsForItsUsers(t *testing.T) {
	t.Parallel()
	sys := newTenant("SYS")
	sys.newUser("sys")
	decided, open := 0, 0
	for seed := range uint64(150) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 11))}
		s := g.scene(sys)
		w := worldOf(s.tenants...)
		for _, a := range s.tenants {
			for _, u := range a.users {
				scope, _ := a.claims.SigningKeys[u.claims.Issuer].(*jwt.UserScope)
				if scope == nil {
					continue
				}
				role, one := a.claims.Name+":@"+scope.Role, a.claims.Name+":"+u.pub
				for range 10 {
					other := pick(g, s.tenants...)
					f := isolation.Flow{From: one, Subject: g.literal(), Reply: "", To: other.claims.Name, Pattern: g.pattern()}
					asRole := f
					asRole.From = role
					if g.chance(50) {
						f.From, f.To, asRole.From, asRole.To = f.To, f.From, f.To, role
					}
					got, all := w.Flow(f), w.Flow(asRole)
					switch {
					case got.Result == isolation.LoginRefused:
					case all.Result == isolation.Possible:
						open++
					case got.Result != all.Result || !slices.Equal(got.Subjects, all.Subjects):
						t.Fatalf("seed %d: %+v is %s %q, of the role %s %q\n%+v\n%+v", seed, f, got.Result, got.Subjects, all.Result, all.Subjects, scope.Template, u.claims)
					default:
						decided++
					}
				}
				for _, other := range s.tenants {
					if other != a && len(w.Isolated(one, other.claims.Name)) > len(w.Isolated(role, other.claims.Name)) {
						t.Fatalf("seed %d: %s reaches more of %s than its role\n%+v\n%+v", seed, one, other.claims.Name, scope.Template, u.claims)
					}
				}
			}
		}
	}
	t.Logf("%d decided, %d open", decided, open)
	if decided < 500 || open < 50 {
		t.Errorf("too few: %d decided, %d open", decided, open)
	}
}

// TestPolicyNamesRoles: a policy holds roles to what it demands, by what their
// templates say and without any user.
func TestPolicyNamesRoles(t *testing.T) {
	t.Parallel()
	coke := newCrew("coke", false)
	coke.exports(jwt.Stream, "coke.>")
	pepsi := newTenant("pepsi").importing(jwt.Stream, coke.tenantKeys, "coke.>", "")
	for policy, want := range map[string]string{
		"isolated: [['coke:@dashboard', pepsi]]":                                                                             "",
		"isolated: [['coke:@device', pepsi]]":                                                                                "coke:@device and pepsi are isolated",
		"isolated: [['coke:@device', 'coke:@dashboard']]":                                                                    "coke:@device and coke:@dashboard are isolated",
		"isolated: [['coke:@leaf', pepsi]]":                                                                                  "coke:@leaf and pepsi are isolated",
		"isolated: [['coke:@nobody', pepsi]]":                                                                                "account coke has no role nobody",
		"reaches: [{from: 'coke:@device', only: []}]":                                                                        "coke:@device reaches only no account",
		"reaches: [{from: 'coke:@device', only: [pepsi]}]":                                                                   "",
		"flows: [{from: 'coke:@device', subject: pepsi.x, to: pepsi, expect: publish_denied}]":                               "",
		"flows: [{from: 'coke:@device', subject: coke.d1.x, to: pepsi, pattern: 'coke.>', expect: possible}]":                "",
		"flows: [{from: 'coke:@device', subject: coke.d1.x, to: pepsi, pattern: 'coke.>', expect: delivered}]":               "depends on who they are",
		"flows: [{from: 'coke:@service', subject: coke.d1.x, to: 'coke:@dashboard', pattern: 'coke.>', expect: delivered}]":  "",
		"flows: [{from: coke, subject: 'x', to: 'coke:@dashboard', pattern: '>', expect: subscribe_denied}]":                 "",
		"flows: [{from: coke, subject: 'coke.d1.x', to: 'coke:@device', pattern: 'coke.d1.x', expect: subscribe_denied}]":    "depends on who they are",
		"flows: [{from: 'coke:@leaf', subject: coke.x, to: pepsi, pattern: 'coke.>', expect: login_refused}]":                "",
		"flows: [{from: 'coke:@nobody', subject: coke.x, to: pepsi, pattern: 'coke.>', expect: login_refused}]":              "account coke has no role nobody",
		"flows: [{from: 'coke:@dashboard', subject: coke.x, to: pepsi, pattern: 'coke.>', expect: publish_denied, on: ''}] ": "",
	} {
		p, err := isolation.ParsePolicy([]byte(policy))
		if err != nil {
			t.Fatalf("%s: %v", policy, err)
		}
		if p.Users() {
			t.Errorf("%s: names users", policy)
		}
		text := ""
		for _, b := range worldOf(coke.tenantKeys, pepsi).Check(p) {
			text += b.Rule + ": " + strings.Join(b.Path, "; ") + "\n"
		}
		if want == "" && text != "" || !strings.Contains(text, want) {
			t.Errorf("%s\n got %q\nwant %q", policy, text, want)
		}
	}
}
