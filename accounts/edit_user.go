package accounts

import (
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator"
)

// PermissionsEdit is a change of what users may publish and subscribe to.
// Subjects to subscribe to may name a queue after a space. Remove takes
// subjects out of all four lists, after the additions.
type PermissionsEdit struct {
	AllowPub, AllowSub, DenyPub, DenySub []string
	Remove                               []string

	MaxResponses   *int           // messages that may be published to a reply subject; 0 is as nil
	ResponseTTL    *time.Duration // how long after the request; 0 is without limit
	RemoveResponse bool           // no more permission to publish to reply subjects
}

// Empty reports whether e changes nothing.
func (e PermissionsEdit) Empty() bool {
	return len(e.AllowPub)+len(e.AllowSub)+len(e.DenyPub)+len(e.DenySub)+len(e.Remove) == 0 &&
		e.MaxResponses == nil && e.ResponseTTL == nil && !e.RemoveResponse
}

// setsResponse reports whether e gives a permission to publish to reply
// subjects: servers read one of 0 messages as one of 1.
func (e PermissionsEdit) setsResponse() bool {
	return e.ResponseTTL != nil || e.MaxResponses != nil && *e.MaxResponses != 0
}

// Apply changes p. It is fault.Invalid for what cannot be a subject, and
// fault.Usage when response permissions are both set and removed.
func (e PermissionsEdit) Apply(p *jwt.Permissions) error {
	if e.RemoveResponse && e.setsResponse() {
		return fault.New(fault.Usage, "response permissions are both set and removed")
	}
	if e.RemoveResponse {
		p.Resp = nil
	}
	if e.setsResponse() {
		resp := jwt.ResponsePermission{}
		set(&resp, p.Resp)
		if e.MaxResponses != nil && *e.MaxResponses != 0 {
			resp.MaxMsgs = *e.MaxResponses
		}
		set(&resp.Expires, e.ResponseTTL)
		p.Resp = &resp
	}
	p.Pub.Allow = edited(p.Pub.Allow, e.AllowPub, e.Remove)
	p.Pub.Deny = edited(p.Pub.Deny, e.DenyPub, e.Remove)
	p.Sub.Allow = edited(p.Sub.Allow, e.AllowSub, e.Remove)
	p.Sub.Deny = edited(p.Sub.Deny, e.DenySub, e.Remove)
	if e.Empty() {
		return nil
	}
	vr := jwt.CreateValidationResults()
	p.Validate(vr)
	return blocking("the permissions", vr)
}

// edited returns list with add in it and without remove, sorted, as its own
// copy. A list that nothing touches keeps its order.
func edited(list, add, remove []string) []string {
	out := jwt.StringList(slices.Clone(list))
	out.Add(add...)
	out.Remove(remove...)
	if slices.Equal([]string(out), list) {
		return list
	}
	slices.Sort(out)
	if len(out) == 0 {
		return nil
	}
	return out
}

// LimitsEdit is a change of what a user, or the template of a role, permits.
type LimitsEdit struct {
	Permissions PermissionsEdit

	Payload, Data, Subs *int64 // bytes, bytes, count; [Unlimited] for none
	Bearer              *bool  // the JWT alone authenticates

	AddConnTypes, RemoveConnTypes []string // as [ParseConnectionType] returns them
	AddNetworks, RemoveNetworks   []string // as [ParseNetwork] returns them

	AddTimes    []jwt.TimeRange // as [ParseTimeRange] returns them
	RemoveTimes []string        // by their start, hh:mm:ss
	Locale      *string         // IANA time zone of the times
}

// Empty reports whether e changes nothing.
func (e LimitsEdit) Empty() bool {
	return e.Permissions.Empty() && e.Payload == nil && e.Data == nil && e.Subs == nil && e.Bearer == nil && e.Locale == nil &&
		len(e.AddConnTypes)+len(e.RemoveConnTypes)+len(e.AddNetworks)+len(e.RemoveNetworks)+len(e.AddTimes)+len(e.RemoveTimes) == 0
}

// Apply changes l. Errors are those of [PermissionsEdit.Apply], and
// fault.Invalid for limits that servers refuse.
func (e LimitsEdit) Apply(l *jwt.UserPermissionLimits) error {
	if err := e.Permissions.Apply(&l.Permissions); err != nil {
		return err
	}
	set(&l.Payload, e.Payload)
	set(&l.Data, e.Data)
	set(&l.Subs, e.Subs)
	set(&l.BearerToken, e.Bearer)
	set(&l.Locale, e.Locale)
	if len(e.AddConnTypes)+len(e.RemoveConnTypes) > 0 {
		types := jwt.StringList{}
		for _, t := range l.AllowedConnectionTypes {
			types.Add(strings.ToUpper(t))
		}
		types.Add(e.AddConnTypes...)
		types.Remove(e.RemoveConnTypes...)
		l.AllowedConnectionTypes = types
	}
	if len(e.AddNetworks)+len(e.RemoveNetworks) > 0 {
		l.Src = edited(l.Src, e.AddNetworks, e.RemoveNetworks)
	}
	e.times(l)
	if e.Empty() {
		return nil
	}
	vr := jwt.CreateValidationResults()
	l.Limits.Validate(vr)
	return blocking("the limits", vr)
}

func (e LimitsEdit) times(l *jwt.UserPermissionLimits) {
	if len(e.AddTimes)+len(e.RemoveTimes) == 0 {
		return
	}
	times := slices.Clone(l.Times)
	for _, t := range e.AddTimes {
		if !slices.Contains(times, t) {
			times = append(times, t)
		}
	}
	l.Times = slices.DeleteFunc(times, func(t jwt.TimeRange) bool { return slices.Contains(e.RemoveTimes, t.Start) })
}

// UserEdit is a change of a user's claims. What is nil or empty stays.
type UserEdit struct {
	Starts, Expires     *int64 // Unix seconds, 0 for always and never
	AddTags, RemoveTags []string
	Limits              LimitsEdit
}

// Apply changes uc, to be signed by a key of the account ac, whose scope is nil
// unless the key is that of a role. A role decides the limits of its users:
// fault.Invalid if e names any. fault.Denied if the account forbids bearer
// users and the user would be one.
func (e UserEdit) Apply(uc *jwt.UserClaims, ac *jwt.AccountClaims, issuer string) error {
	set(&uc.NotBefore, e.Starts)
	set(&uc.Expires, e.Expires)
	operator.EditTags(&uc.Tags, e.AddTags, e.RemoveTags)
	uc.IssuerAccount = ""
	if issuer != ac.Subject {
		uc.IssuerAccount = ac.Subject
	}
	scope := ac.SigningKeys[issuer]
	if err := Rescope(uc, scope); err != nil {
		return err
	}
	if err := CheckLiteral(uc, ac, scope); err != nil {
		return err
	}
	if scope != nil && !e.Limits.Empty() {
		return invalid("scoped-user", "the role that signs user %q decides its permissions and limits", uc.Name).
			About("user", uc.Name).WithHint("change the role: nsc edit signing-key %s -a %s", fault.Words(roleName(ac, issuer)), fault.Words(ac.Name))
	}
	if scope != nil {
		return nil
	}
	if err := e.Limits.Apply(&uc.UserPermissionLimits); err != nil {
		return err
	}
	if uc.BearerToken && ac.Limits.DisallowBearer {
		return fault.New(fault.Denied, "account %q forbids bearer users", ac.Name).About("account", ac.Name).ByRule("bearer").
			WithHint("allow them with: nsc edit account %s --disallow-bearer=false", ac.Name)
	}
	return nil
}

// roleName is the name of the role of a signing key, or the key if the name
// does not tell it from others.
func roleName(ac *jwt.AccountClaims, key string) string {
	if scope, ok := ac.SigningKeys[key].(*jwt.UserScope); ok && scope != nil {
		if found, _, err := KeyNamed(ac, scope.Role); err == nil && found == key {
			return scope.Role
		}
	}
	return key
}

// Rescope prepares a user for its signer: under a role it must have no
// permissions and limits of its own, else it must have limits. A user with
// permissions does not lose them unasked: fault.Invalid.
func Rescope(uc *jwt.UserClaims, scope jwt.Scope) error {
	scoped := uc.HasEmptyPermissions()
	switch {
	case scope == nil && scoped:
		uc.SetScoped(false)
	case scope != nil && !scoped:
		plain := jwt.NewUserClaims(uc.Subject)
		own := uc.UserPermissionLimits
		if len(own.Src) == 0 {
			own.Src = jwt.CIDRList{}
		}
		if !equalLimits(own, plain.UserPermissionLimits) {
			return invalid("scoped-user", "user %q has permissions or limits of its own, and a role would decide them", uc.Name).
				About("user", uc.Name).WithHint("remove them first, or keep its signer")
		}
		uc.SetScoped(true)
	}
	return nil
}

// equalLimits compares what the JSON of both says.
func equalLimits(a, b jwt.UserPermissionLimits) bool {
	return a.Resp == nil && b.Resp == nil && a.Pub.Empty() && a.Sub.Empty() && b.Pub.Empty() && b.Sub.Empty() &&
		len(a.Src)+len(b.Src)+len(a.Times)+len(b.Times)+len(a.AllowedConnectionTypes)+len(b.AllowedConnectionTypes) == 0 &&
		a.NatsLimits == b.NatsLimits && a.Locale == b.Locale && a.BearerToken == b.BearerToken && a.ProxyRequired == b.ProxyRequired
}

// RoleEdit is a change of a role: of a signing key and the template that
// decides what its users may do.
type RoleEdit struct {
	Key               string // public key
	Role, Description *string
	Ready             *ReadyRole // its permissions take the place of those of the role
	ByKey             bool       // see [ReadyRole.Template]
	Limits            LimitsEdit
	Confine           bool // the role and the account permit nothing that is not granted
}

// Apply changes the role in ac. A signing key that is new, or was plain, becomes
// a role without limits before the edit applies; its users get no permissions
// of their own any more.
func (e RoleEdit) Apply(ac *jwt.AccountClaims) error {
	if ac.SigningKeys == nil {
		ac.SigningKeys = jwt.SigningKeys{}
	}
	scope, ok := ac.SigningKeys[e.Key].(*jwt.UserScope)
	if !ok || scope == nil {
		scope = jwt.NewUserScope()
		scope.Key = e.Key
	}
	changed := *scope
	set(&changed.Role, e.Role)
	set(&changed.Description, e.Description)
	if strings.TrimSpace(changed.Role) != changed.Role {
		return invalid("role", "the role %q begins or ends with a space", changed.Role)
	}
	if e.Ready != nil {
		t, err := e.Ready.Template(ac, e.ByKey)
		if err != nil {
			return err
		}
		changed.Template.Permissions, changed.Template.AllowedConnectionTypes = t.Permissions, t.AllowedConnectionTypes
	}
	if err := e.Limits.Apply(&changed.Template); err != nil {
		return err
	}
	if e.Confine {
		Close(&changed.Template.Permissions)
		Confine(ac, true)
	}
	ac.SigningKeys.AddScopedSigner(&changed)
	return CheckAccount(ac)
}
