package isolation_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/accounts"
)

// permissions draws lists; templates may be in them if the permissions are those
// of a role.
func (g *generator) permissions(a *tenantKeys, template bool) jwt.Permissions {
	var p jwt.Permissions
	entry := func(queues bool) string {
		s := g.pattern()
		switch {
		case g.chance(30) && len(a.claims.Imports) > 0:
			s = g.narrow(string(pick(g, a.claims.Imports...).LocalSubject.ToSubject()), false)
		case g.chance(8):
			s = pick(g, "*", "*.*", "*.*.*", "$JS.API.>", "$SYS.>", "_R_.>")
		}
		if template && g.chance(60) {
			if g.chance(4) {
				return "s.{{nope()}}"
			}
			s = pick(g, "s", "q") + "." + pick(g, "{{name()}}", "{{tag(t)}}", "{{Subject()}}", "{{account-name()}}", "{{account-tag(z)}}.{{tag(t)}}",
				"{{name()}}.>", "a.{{name()}}", "{{TAG(t)}}")
		}
		if queues && g.chance(20) && s != "" {
			s += " " + pick(g, "q.*", "q.1", "q.>", "other")
		}
		return strings.TrimSpace(s)
	}
	fill := func(list *jwt.StringList, percent int, queues bool) {
		if g.chance(percent) {
			for range 1 + g.IntN(3) {
				list.Add(entry(queues))
			}
		}
	}
	fill(&p.Pub.Allow, 35, false)
	fill(&p.Pub.Deny, 25, g.chance(1))
	fill(&p.Sub.Allow, 35, true)
	fill(&p.Sub.Deny, 30, true)
	if g.chance(15) {
		p.Resp = &jwt.ResponsePermission{MaxMsgs: pick(g, 0, 1, 2, -1), Expires: time.Minute}
	}
	return p
}

func (g *generator) roles(a *tenantKeys) {
	a.claims.Tags.Add("z:a", "z:b")
	for i := range g.IntN(3) {
		role := newPair(nkeys.PrefixByteAccount)
		scope := jwt.NewUserScope()
		scope.Key, scope.Role = role.pub, fmt.Sprintf("role%d", i)
		scope.Template.Permissions = g.permissions(a, true)
		a.claims.SigningKeys.AddScopedSigner(scope)
		a.roles = append(a.roles, role)
	}
}

func (g *generator) limits(a *tenantKeys) {
	switch g.IntN(80) {
	case 0:
		accounts.Suspend(a.claims)
	case 1:
		a.claims.Limits.Payload = 0
	case 2:
		a.claims.Expires = time.Now().Add(-time.Hour).Unix()
	case 3:
		a.claims.Limits.DisallowBearer = true
	case 4, 5, 6:
		a.claims.Limits.MemoryStorage = 1 << 20
	}
}

func (g *generator) user(a *tenantKeys) {
	u := a.newUser(pick(g, "a", "b", "u", "*", ">", "a.b", "bad name", "x-y"))
	if g.chance(30) {
		return
	}
	by := pick(g, a.pair, a.signer)
	switch {
	case g.chance(25) && len(a.roles) > 0:
		by = pick(g, a.roles...)
		u.claims.SetScoped(true)
		if g.chance(3) {
			u.claims.Pub.Allow.Add("s.>")
		}
	case g.chance(50):
		u.claims.Permissions = g.permissions(a, false)
	}
	for _, tag := range []string{"t:a", "t:b", "t:>", "t:x y"} {
		if g.chance(25) {
			u.claims.Tags.Add(tag)
		}
	}
	switch g.IntN(50) {
	case 0:
		u.claims.Expires = time.Now().Add(-time.Hour).Unix()
	case 1:
		a.claims.Revocations = jwt.RevocationList{u.pub: time.Now().Add(time.Hour).Unix()}
	case 2:
		if by.pub == a.pub {
			u.claims.AllowedConnectionTypes.Add(pick(g, "WEBSOCKET", "STANDARD"))
		}
	case 3:
		by = newPair(nkeys.PrefixByteAccount)
	}
	a.sign(u, by)
}
