package accounts

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/revocation"
)

// Login is a user JWT in the light of what decides about it when somebody
// connects with it. Signatures were checked when the claims were decoded.
type Login struct {
	Trust   operator.Trust
	Account *jwt.AccountClaims // of the key that [IssuerAccount] returns; nil if servers know none
	Deleted bool               // there was such an account
	Retired map[string]int64   // signing keys that the account had, and when they went, Unix seconds
	User    *jwt.UserClaims
}

// Refusal is one reason for which servers do not let a user in. Rules are those
// of docs/why.md.
type Refusal struct {
	Rule string `json:"rule"`
	Why  string `json:"why"`
	Help string `json:"help,omitempty"` // what would change it
}

// Door is one way of connecting. It is open if Why is empty.
type Door struct {
	Type string `json:"type"` // as in allowed_connection_types
	Why  string `json:"why,omitempty"`
	Help string `json:"help,omitempty"`
}

// Verdict is what servers say to a login, and why.
type Verdict struct {
	Refusals []Refusal // in the order in which servers look: the first one decides
	Callout  bool      // the account's own service decides who connects, whatever the refusals
	Doors    []Door    // ways of connecting, if there is no refusal

	May    jwt.UserPermissionLimits // what the user may do, templates expanded
	Source string                   // whose permissions these are: of the "user", the "role", or "account" for its defaults
	Role   string                   // its name, if it has one
}

// Accepted reports whether servers let the user in by some door.
func (v Verdict) Accepted() bool {
	return len(v.Refusals) == 0 && slices.ContainsFunc(v.Doors, func(d Door) bool { return d.Why == "" })
}

// IssuerAccount returns the key of the account under which servers look for the
// signer of a user.
func IssuerAccount(uc *jwt.UserClaims) string { return cmp.Or(uc.IssuerAccount, uc.Issuer) }

// Judge says what servers do with a login at a time, by the rules of
// processClientOrLeafAuthentication (nats-server 2.15). What it cannot know is
// where the user connects from and how many are there already.
func Judge(l Login, now time.Time) Verdict {
	var v Verdict
	v.May = l.User.UserPermissionLimits
	v.user(l, now)
	if l.Account == nil {
		v.unknownAccount(l)
		return v
	}
	v.account(l, now)
	auth := l.Account.Authorization
	v.Callout = len(v.Refusals) == 0 && auth.IsEnabled() && !auth.AuthUsers.Contains(l.User.Subject)
	v.signer(l)
	v.limits(l, now)
	v.defaults(l)
	if len(v.Refusals) == 0 {
		v.Doors = doors(l.Account, v.May)
	}
	return v
}

func (v *Verdict) refuse(rule, help, why string, args ...any) {
	v.Refusals = append(v.Refusals, Refusal{Rule: rule, Why: fmt.Sprintf(why, args...), Help: help})
}

// reissue is the command that issues a user anew.
func reissue(l Login) string {
	if l.Account == nil {
		return ""
	}
	return "nsc add user " + fault.Words(l.User.Name, "-a", l.Account.Name, "--reissue")
}

// user judges the JWT by itself.
func (v *Verdict) user(l Login, now time.Time) {
	uc := l.User
	switch {
	case uc.Expires > 0 && now.Unix() >= uc.Expires:
		v.refuse("expired", reissue(l), "the user expired at %s", clock(uc.Expires))
	case uc.NotBefore > now.Unix():
		v.refuse("not-yet-valid", "wait until then, or "+reissue(l), "the user is not valid before %s", clock(uc.NotBefore))
	}
	for _, why := range Blocking(uc) {
		v.refuse("user-claims", "nsc edit user "+fault.Words(uc.Name), "the user's claims are not valid: %s", why)
	}
	if uc.ProxyRequired {
		v.refuse("proxy", "connect through a proxy that the servers trust", "the user must come through a trusted proxy")
	}
}

func (v *Verdict) unknownAccount(l Login) {
	key := keys.Short(IssuerAccount(l.User))
	switch {
	case l.Deleted:
		v.refuse("no-account", "nsc restore account "+IssuerAccount(l.User), "the account %s was deleted", key)
	case l.User.IssuerAccount == "":
		v.refuse("no-account", "nsc push", "servers know no account %s, which signed the user; one that a signing key signs must name its account", key)
	default:
		v.refuse("no-account", "nsc push", "servers know no account %s", key)
	}
}

// account judges the account's own claims.
func (v *Verdict) account(l Login, now time.Time) {
	ac, name := l.Account, fault.Words(l.Account.Name)
	if err := l.Trust.CheckIssuer(ac.Issuer); err != nil {
		v.refuse("account-chain", "nsc edit account "+name+" -K <key of the operator>", "account %s is %s", ac.Name, err)
	}
	switch {
	case ac.Expires > 0 && now.Unix() >= ac.Expires:
		v.refuse("account-expired", "nsc edit account "+name+" --expiry 0", "account %s expired at %s", ac.Name, clock(ac.Expires))
	case ac.NotBefore > now.Unix():
		v.refuse("account-not-yet-valid", "nsc edit account "+name+" --start 0", "account %s is not valid before %s", ac.Name, clock(ac.NotBefore))
	}
	if Suspended(ac) {
		v.refuse("suspended", "nsc resume account "+name, "account %s is suspended", ac.Name)
	}
	for _, why := range Blocking(ac) {
		v.refuse("account-claims", "nsc describe account "+name, "servers refuse account %s and all of its users: %s", ac.Name, why)
	}
}

// signer judges who signed the user, and takes over what its role says.
func (v *Verdict) signer(l Login) {
	ac, uc := l.Account, l.User
	v.Source = "user"
	scope, known := ac.SigningKeys[uc.Issuer]
	at, retired := l.Retired[uc.Issuer]
	switch {
	case known && scope != nil:
		v.role(l, scope)
	case known:
	case uc.Issuer != ac.Subject && retired:
		v.refuse("issuer", reissue(l)+" -K <role or key>", "account %s retired the signing key %s at %s", ac.Name, keys.Short(uc.Issuer), clock(at))
	case uc.Issuer != ac.Subject:
		v.refuse("issuer", reissue(l)+" -K <role or key>", "account %s has no signing key %s", ac.Name, keys.Short(uc.Issuer))
	case l.Trust.Strict:
		v.refuse("issuer", "nsc edit account "+fault.Words(ac.Name)+" --sk generate, then "+reissue(l),
			"the account's own key signed the user, and the operator requires signing keys")
	}
}

func (v *Verdict) role(l Login, scope jwt.Scope) {
	uc := l.User
	us, ok := scope.(*jwt.UserScope)
	if !ok {
		v.refuse("scope", "", "the signing key %s has a scope of an unknown kind", keys.Short(uc.Issuer))
		return
	}
	v.Source, v.Role = "role", us.Role
	if err := us.ValidateScopedSigner(uc); err != nil {
		v.refuse("scope", reissue(l), "the role decides what the user may do, and the user has permissions or limits of its own")
		return
	}
	may, err := Expand(us.Template, uc, l.Account)
	if err != nil {
		v.refuse("template", "nsc edit user "+fault.Words(uc.Name, "-a", l.Account.Name)+" --tag <tag>, or nsc edit signing-key "+fault.Words(cmp.Or(us.Role, us.Key), "-a", l.Account.Name),
			"the role's template fits no such user: %s", fault.As(err).Msg)
		return
	}
	v.May = may
	if may.ProxyRequired {
		v.refuse("proxy", "connect through a proxy that the servers trust", "users of the role must come through a trusted proxy")
	}
}

// limits judges what servers look at once they know who signed.
func (v *Verdict) limits(l Login, now time.Time) {
	ac, uc := l.Account, l.User
	if v.May.BearerToken && bool(ac.Limits.DisallowBearer) {
		v.refuse("bearer", "nsc edit account "+fault.Words(ac.Name)+" --disallow-bearer=false",
			"account %s takes no bearer users", ac.Name)
	}
	if types := v.May.AllowedConnectionTypes; len(types) > 0 && !slices.ContainsFunc(types, knownType) {
		v.refuse("connection-types", "nsc edit user "+fault.Words(uc.Name, "-a", ac.Name)+" --conn-type STANDARD", "servers know none of the connection types %s", strings.Join(types, ", "))
	}
	list := revocation.List(ac.Revocations)
	if own, ok := list[uc.Subject]; ok && uc.IssuedAt <= own {
		v.refuse("revoked", "nsc unrevoke user "+fault.Words(uc.Name, "-a", ac.Name)+", or "+reissue(l), "%s", revokedText("the user", uc.IssuedAt, own))
	}
	if all, ok := list[revocation.All]; ok && uc.IssuedAt <= all {
		v.refuse("revoked-all", reissue(l), "%s", revokedText("every user of "+ac.Name+" (*)", uc.IssuedAt, all))
	}
	if !InTimes(v.May, now.UTC()) {
		v.refuse("times", "nsc edit user "+fault.Words(uc.Name, "-a", ac.Name)+" --rm-time <start>", "the user may connect %s", timesText(v.May))
	}
}

func revokedText(who string, issued, at int64) string {
	text := fmt.Sprintf("%s was revoked: what was issued until %s is refused", who, clock(at))
	if issued == at {
		return text + "; this JWT is of that very second"
	}
	return text + "; this JWT is of " + clock(issued)
}

// defaults puts the account's default permissions in place of none at all.
func (v *Verdict) defaults(l Login) {
	p, d := v.May.Permissions, l.Account.DefaultPermissions
	if p.Pub.Empty() && p.Sub.Empty() && p.Resp == nil && (!d.Pub.Empty() || !d.Sub.Empty() || d.Resp != nil) {
		v.May.Permissions, v.Source = d, "account"
	}
}

func knownType(t string) bool { return slices.Contains(ConnectionTypes(), strings.ToUpper(t)) }

// doors says by which connection types a user may connect.
func doors(ac *jwt.AccountClaims, may jwt.UserPermissionLimits) []Door {
	name := fault.Words(ac.Name)
	var out []Door
	for _, t := range ConnectionTypes() {
		d := Door{Type: t}
		leaf := t == jwt.ConnectionTypeLeafnode || t == jwt.ConnectionTypeLeafnodeWS
		mqtt := t == jwt.ConnectionTypeMqtt || t == jwt.ConnectionTypeMqttWS
		switch {
		case len(may.AllowedConnectionTypes) > 0 && !slices.ContainsFunc(may.AllowedConnectionTypes, func(x string) bool { return strings.EqualFold(x, t) }):
			d.Why, d.Help = "not among the allowed connection types", "nsc edit user --conn-type "+t
		case mqtt && !may.BearerToken:
			d.Why, d.Help = "MQTT clients cannot prove their key, so the JWT must do without", "nsc edit user --bearer"
		case mqtt && !ac.Limits.IsJSEnabled():
			d.Why, d.Help = "MQTT needs JetStream in the account", "nsc edit account "+name+" --js-enable 0"
		case leaf && ac.Limits.LeafNodeConn == 0:
			d.Why, d.Help = "the account allows no leaf nodes", "nsc edit account "+name+" --leaf-conns -1"
		case !leaf && ac.Limits.Conn == 0:
			d.Why, d.Help = "the account allows no connections", "nsc edit account "+name+" --conns -1"
		}
		out = append(out, d)
	}
	return out
}

// InTimes reports whether servers let somebody in at a time. Ranges may go past
// midnight; one that servers cannot read lets nobody in. Where no zone is named
// it is that of now.
func InTimes(may jwt.UserPermissionLimits, now time.Time) bool {
	if len(may.Times) == 0 {
		return true
	}
	if may.Locale != "" {
		zone, err := time.LoadLocation(may.Locale)
		if err != nil {
			return false
		}
		now = now.In(zone)
	}
	in := false
	for _, r := range may.Times {
		start, errStart := time.Parse(clockForm, r.Start)
		end, errEnd := time.Parse(clockForm, r.End)
		if errStart != nil || errEnd != nil {
			return false
		}
		at := time.Date(0, 1, 1, now.Hour(), now.Minute(), now.Second(), now.Nanosecond(), time.UTC)
		after, before := !at.Before(start), at.Before(end)
		in = in || after && before || start.After(end) && (after || before)
	}
	return in
}

func timesText(may jwt.UserPermissionLimits) string {
	var each []string
	for _, r := range may.Times {
		each = append(each, r.Start+"-"+r.End)
	}
	return fmt.Sprintf("at %s only, %s", strings.Join(each, " and "), cmp.Or(may.Locale, "in the servers' time zone"))
}

// clock is a time, Unix seconds, as people read it.
func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05 UTC") }
