package isolation

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// endpoint is a connection of a user.
type endpoint struct {
	tenant *tenant
	label  string
	perms  *perms

	refused string // why the login fails
	maybe   string // why it may fail

	maxPayload, maxSubs int64

	leaf   bool // it is a leaf node
	client bool // it may be a client as well

	least  *perms // what every user of a role may do, nil if that is perms
	unsure string // what it depends on
}

// roleMark before a name in place of a user's stands for whoever has that role.
const roleMark = "@"

// login judges the connection of who, "account", "account:user" or
// "account:@role", as a NATS client or as a leaf node. A user that is not named
// or not known has no permissions of his own.
func (w *World) login(who string, leaf bool) endpoint {
	e := endpoint{label: who, maxPayload: jwt.NoLimit, maxSubs: jwt.NoLimit, leaf: leaf}
	var name string
	if e.tenant, name = w.endpoint(who); e.tenant == nil {
		e.refused = fmt.Sprintf("account %s is not known", who)
		return e
	}
	t := w.compiled(e.tenant.claims.Subject)
	ac := t.claims
	if t.dead != "" {
		e.refused = fmt.Sprintf("servers refuse account %s: %s", t.label(), t.dead)
		return e
	}
	e.perms = t.defaults
	if role, ok := strings.CutPrefix(name, roleMark); ok {
		e.refused, e.maybe = w.admitRole(&e, t, role)
	} else if uc := w.users[ac.Subject][name]; uc != nil && name != "" {
		e.refused, e.maybe = w.admit(&e, t, uc)
	} else if ac.Revocations[jwt.All] > w.cfg.Now.Unix() {
		e.refused = fmt.Sprintf("account %s revokes whoever is issued now, too", t.label())
	}
	e.maxPayload = lower(e.maxPayload, ac.Limits.Payload)
	e.maxSubs = lower(e.maxSubs, ac.Limits.Subs)
	switch {
	case e.refused != "":
	case accounts.Suspended(ac):
		e.refused = fmt.Sprintf("account %s is suspended", t.label())
	case leaf && ac.Limits.LeafNodeConn == 0:
		e.refused = fmt.Sprintf("account %s may have no leaf node", t.label())
	case !leaf && ac.Limits.Conn == 0:
		e.refused = fmt.Sprintf("account %s may have no connection", t.label())
	case ac.Authorization.IsEnabled():
		e.maybe = fmt.Sprintf("account %s leaves logins to a callout, which decides when it is asked", t.label())
	case e.maxSubs == 0:
		e.maybe = "servers close a connection that may have no subscription, soon after it is made"
	}
	return e
}

// endpoint returns the account of "account" or "account:user", nil if it is not
// known, and the user's name. Names of either may hold colons, too.
func (w *World) endpoint(who string) (*tenant, string) {
	for i := range who + ":" {
		account, user := who, ""
		if i < len(who) {
			if who[i] != ':' {
				continue
			}
			account, user = who[:i], who[i+1:]
		}
		if t := w.find(account); t != nil {
			return t, user
		}
	}
	return nil, ""
}

func lower(a, b int64) int64 {
	if a == jwt.NoLimit || b != jwt.NoLimit && b < a {
		return b
	}
	return a
}

// admit fills e with the rights of a user and says why servers refuse him.
func (w *World) admit(e *endpoint, t *tenant, uc *jwt.UserClaims) (refused, maybe string) {
	ac := t.claims
	if issues := accounts.Blocking(uc); len(issues) > 0 {
		return "servers refuse user " + uc.Name + ": " + issues[0], ""
	}
	if why := w.outside(uc.ClaimsData); why != "" {
		return "user " + uc.Name + ": " + why, ""
	}
	rights := uc.UserPermissionLimits
	switch scope, known := ac.SigningKeys[uc.Issuer]; {
	case !known && (uc.Issuer != ac.Subject || w.strict):
		return "the key that issued user " + uc.Name + " is no signing key of the account", ""
	case known && scope != nil:
		role, ok := scope.(*jwt.UserScope)
		if !ok || !uc.HasEmptyPermissions() {
			return "user " + uc.Name + " has permissions beside those of his role", ""
		}
		var err error
		if rights, err = accounts.Expand(role.Template, uc, ac); err != nil {
			return "the template of user " + uc.Name + "'s role: " + fault.As(err).Msg, ""
		}
	}
	if p := compile(rights.Permissions); p != nil {
		e.perms = p
	}
	e.maxPayload, e.maxSubs = rights.Payload, rights.Subs
	return w.circumstances(t, uc, rights, e.leaf)
}

// admitRole fills e with what users of a role may do, whoever they are, and says
// why servers refuse them all.
func (w *World) admitRole(e *endpoint, t *tenant, name string) (refused, maybe string) {
	list := rolesNamed(t.claims, name)
	if len(list) == 0 {
		return "there is no role " + name + " in account " + t.label(), ""
	}
	user := jwt.UserClaims{ClaimsData: jwt.ClaimsData{Name: roleMark + name, IssuedAt: math.MaxInt64}} // after any revocation
	for i, role := range list {
		wide, slim, err := accounts.Bounds(t.claims, role.Template)
		if err != nil {
			return "the template of role " + name + ": " + fault.As(err).Msg, ""
		}
		if refused, maybe = w.circumstances(t, &user, role.Template, e.leaf); refused != "" {
			return refused, ""
		}
		most, least := compile(wide), compile(slim)
		if i > 0 {
			most, least = union(e.perms, most), compile(jwt.Permissions{Pub: jwt.Permission{Deny: jwt.StringList{anyTail}}, Sub: jwt.Permission{Deny: jwt.StringList{anyTail}}})
		}
		if e.perms, e.least = most, nil; !reflect.DeepEqual(most, least) {
			e.least, e.unsure = least, fmt.Sprintf("what users of role %s of %s may do depends on who they are", name, t.label())
		}
	}
	e.maxPayload, e.maxSubs = list[0].Template.Payload, list[0].Template.Subs
	return "", maybe
}

// rolesNamed returns the different roles of a name, those of a fleet's cohorts
// and stations among them, in the order of their keys.
func rolesNamed(ac *jwt.AccountClaims, name string) (out []*jwt.UserScope) {
	for _, key := range slices.Sorted(maps.Keys(ac.SigningKeys)) {
		role := accounts.RoleOf(ac, key)
		if role == nil || role.Role != name && !strings.HasPrefix(role.Role, name+"/") {
			continue
		}
		if !slices.ContainsFunc(out, func(o *jwt.UserScope) bool { return reflect.DeepEqual(o.Template, role.Template) }) {
			out = append(out, role)
		}
	}
	return out
}

// circumstances judges what depends on when, from where and how a user
// connects.
func (w *World) circumstances(t *tenant, uc *jwt.UserClaims, rights jwt.UserPermissionLimits, leaf bool) (refused, maybe string) {
	kinds, kind, as := rights.AllowedConnectionTypes, jwt.ConnectionTypeStandard, "an ordinary client"
	if leaf {
		kind, as = jwt.ConnectionTypeLeafnode, "a leaf node"
	}
	switch {
	case rights.ProxyRequired || uc.ProxyRequired:
		maybe = "user " + uc.Name + " must come through a trusted proxy"
	case uc.BearerToken && t.claims.Limits.DisallowBearer, rights.BearerToken && t.claims.Limits.DisallowBearer:
		refused = "account " + t.label() + " forbids bearer tokens"
	case len(kinds) > 0 && !slices.ContainsFunc(kinds, func(k string) bool { return strings.EqualFold(k, kind) }):
		refused = "user " + uc.Name + " may not connect as " + as
	case revocation.List(t.claims.Revocations).Covers(uc.Subject, uc.IssuedAt):
		refused = "user " + uc.Name + " is revoked"
	case !accounts.InTimes(rights, w.cfg.Now):
		refused = "user " + uc.Name + " may not connect at this time of the day"
	case len(rights.Src) > 0:
		maybe = "user " + uc.Name + " may connect from some addresses only"
	}
	return refused, maybe
}
