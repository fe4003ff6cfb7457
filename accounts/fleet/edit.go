package fleet

import (
	"strconv"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
)

// Template returns what devices of f may do unless its maker says otherwise:
// publish and subscribe below the account's namespace and their own name,
// receive replies below their own inbox, and renew their credentials.
func (f Fleet) Template(ac *jwt.AccountClaims) (jwt.UserPermissionLimits, error) {
	space, err := accounts.RequireNamespace(ac)
	if err != nil {
		return jwt.UserPermissionLimits{}, err
	}
	own := space + ".{{name()}}.>"
	if f.Confine == ByKey {
		own = space + ".{{subject()}}.>"
	}
	t := jwt.NewUserScope().Template
	t.Pub.Allow = jwt.StringList{own, EnrollSubject} // where it renews its credentials
	t.Sub.Allow = jwt.StringList{own, "_INBOX.{{subject()}}.>"}
	return t, nil
}

// Add puts a new fleet into ac: one key a cohort, each with the template.
// It is fault.Conflict if there is one of that name.
func Add(ac *jwt.AccountClaims, f Fleet, template jwt.UserPermissionLimits, public []string) error {
	if err := f.Check(); err != nil {
		return err
	}
	if err := f.CheckBearer(template); err != nil {
		return err
	}
	if len(public) != f.Cohorts {
		return fault.New(fault.Internal, "%d keys for %d cohorts", len(public), f.Cohorts)
	}
	if _, err := Find(ac, f.Name); err == nil || len(f.Keys(ac)) > 0 {
		return fault.New(fault.Conflict, "account %q has a fleet %q already", ac.Name, f.Name).About("fleet", f.Name).ByRule("fleet-exists").
			WithHint("look at it with: nsc describe fleet %s -a %s", f.Name, fault.Words(ac.Name))
	}
	if ttl, only := Only(ac); only && f.TTL > ttl {
		return invalid("ttl", "account %q is for credentials that live at most %s, and the fleet's would live %s", ac.Name, Span(ttl), Span(f.TTL))
	}
	for cohort, key := range public {
		setKey(ac, key, f.CohortRole(cohort, 1), template)
	}
	ac.Tags.Add(f.tag())
	return nil
}

// Put replaces what the tag of a fleet says.
func Put(ac *jwt.AccountClaims, old, next Fleet) error {
	if err := next.Check(); err != nil {
		return err
	}
	if ttl, only := Only(ac); only && next.TTL > ttl {
		return invalid("ttl", "account %q is for credentials that live at most %s, and the fleet's would live %s", ac.Name, Span(ttl), Span(next.TTL))
	}
	ac.Tags.Remove(old.tag())
	ac.Tags.Add(next.tag())
	return nil
}

// AddStation gives a station of f a key of its own, to be retired at a time,
// Unix seconds, 0 for none.
func (f Fleet) AddStation(ac *jwt.AccountClaims, name, public string, template jwt.UserPermissionLimits, at int64) error {
	if !simpleName(name) {
		return invalid("station-name", "%q is no name of a station: small letters, digits, - and _, at most 32, a letter or digit first", name)
	}
	if _, err := f.Station(ac, name); err == nil {
		return fault.New(fault.Conflict, "fleet %q has a station %q already", f.Name, name).About("station", name).ByRule("station-exists").
			WithHint("retire it with: nsc edit account %s --rm-sk %s", fault.Words(ac.Name), fault.Words(f.StationRole(name)))
	}
	setKey(ac, public, f.StationRole(name), template)
	if at > 0 {
		ac.Tags.Add(retireTag(f.StationRole(name), at))
	}
	return nil
}

// Delete takes f and all its keys out of ac: what they signed is refused.
func Delete(ac *jwt.AccountClaims, f Fleet) {
	Retire(ac, f.Keys(ac))
	for _, g := range f.Groups(ac) {
		DeleteGroup(ac, g)
	}
	ac.Tags.Remove(f.tag())
	f.forgetRolled(ac)
	f.forgetRollAt(ac)
	f.forgetMarks(ac)
}

// Retire takes keys out of ac, with what its tags say about them.
func Retire(ac *jwt.AccountClaims, list []Key) {
	for _, k := range list {
		ac.SigningKeys.Remove(k.Public)
		if k.Retires > 0 {
			ac.Tags.Remove(retireTag(k.Role, k.Retires))
		}
	}
}

// Scope returns the template of a key of ac.
func Scope(ac *jwt.AccountClaims, k Key) jwt.UserPermissionLimits {
	if us, ok := ac.SigningKeys[k.Public].(*jwt.UserScope); ok && us != nil {
		return us.Template
	}
	return jwt.NewUserScope().Template
}

func setKey(ac *jwt.AccountClaims, public, role string, template jwt.UserPermissionLimits) {
	scope := jwt.NewUserScope()
	scope.Key, scope.Role, scope.Template = public, role, template
	if ac.SigningKeys == nil {
		ac.SigningKeys = jwt.SigningKeys{}
	}
	ac.SigningKeys.AddScopedSigner(scope)
}

func retireTag(role string, at int64) string { return timeTag(tagRetires, role, at) }

func timeTag(kind, role string, at int64) string {
	return kind + role + ":" + strconv.FormatInt(at, 10)
}

// timesOf returns the times in tags of a kind by role, the earliest if there are
// several.
func timesOf(ac *jwt.AccountClaims, kind string) map[string]int64 {
	out := map[string]int64{}
	for _, tag := range ac.Tags {
		rest, ok := strings.CutPrefix(tag, kind)
		i := strings.LastIndexByte(rest, ':')
		if !ok || i < 0 {
			continue
		}
		at, err := strconv.ParseInt(rest[i+1:], 10, 64)
		if err == nil && at > 0 && (out[rest[:i]] == 0 || at < out[rest[:i]]) {
			out[rest[:i]] = at
		}
	}
	return out
}

// Newest returns what devices may do that are issued now.
func (f Fleet) Newest(ac *jwt.AccountClaims) (jwt.UserPermissionLimits, error) {
	signers, err := f.Signers(ac)
	if err != nil {
		return jwt.UserPermissionLimits{}, err
	}
	return Scope(ac, signers[0]), nil
}
