package accounts

import (
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// ReadyRole is a role whose permissions are known to be the least that users of
// a kind need. Its subjects are written with the account's namespace, so that
// another name of the account moves nobody.
type ReadyRole struct {
	Name, About string

	pub, sub []string // NS is the namespace, OWN what tells the user from others
	noPub    bool
	crossing bool // with what the account shares, as it is when the role is written
	types    []string
}

// ReadyRoles returns all ready-made roles. None has a response permission, which
// would let whoever sends to a user choose the subject that it publishes to; who
// answers may publish to inboxes, and to what servers put in their place for a
// request of another account. No inbox can be read but the user's own.
func ReadyRoles() []ReadyRole {
	const ns, own, inbox = "NS.>", "NS.OWN.>", "_INBOX.{{subject()}}.>"
	answers := []string{"_INBOX.>", "_R_.>"}
	return []ReadyRole{
		{Name: "device", About: "publishes and subscribes below its own subject", pub: []string{own}, sub: []string{own, inbox}},
		{Name: "service", About: "publishes, subscribes and answers below the namespace", pub: append([]string{ns}, answers...), sub: []string{ns, inbox}},
		{
			Name: "leaf", About: "a leaf node that carries the namespace and replies, both ways",
			pub: append([]string{ns}, answers...), sub: []string{ns, "_INBOX.>", "$LDS.>"}, types: []string{jwt.ConnectionTypeLeafnode, jwt.ConnectionTypeLeafnodeWS},
		},
		{
			Name: "edge", About: "a leaf node that carries what the account exports and imports, and nothing else",
			crossing: true, types: []string{jwt.ConnectionTypeLeafnode, jwt.ConnectionTypeLeafnodeWS},
		},
		{Name: "dashboard", About: "subscribes below the namespace, and publishes nothing", noPub: true, sub: []string{ns}},
		{
			Name: "operator", About: "all of the account: its subjects, streams, buckets and connections",
			pub: append([]string{ns, "$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$O.>", "$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.PING.*"}, answers...),
			sub: []string{ns, inbox},
		},
	}
}

// ReadyRoleNamed returns the ready-made role of a name, fault.NotFound for none.
func ReadyRoleNamed(name string) (ReadyRole, error) {
	var names []string
	for _, r := range ReadyRoles() {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return ReadyRole{}, fault.New(fault.NotFound, "there is no template %q", name).About("template", name).
		WithHint("the templates are %s", strings.Join(names, ", "))
}

// Lines says in words of the template what users of the role may do.
func (r ReadyRole) Lines() []string {
	pub, sub := strings.Join(r.pub, ", "), strings.Join(r.sub, ", ")
	if r.crossing {
		return []string{"publish    streams that are exported, services that are imported, _R_.>", "subscribe  services that are exported, streams that are imported, _INBOX.>"}
	}
	if r.noPub {
		pub = "nothing"
	}
	return []string{"publish    " + pub, "subscribe  " + sub}
}

// Template returns what users of the role may do in ac. byKey tells them apart
// by their public keys and not by their names.
func (r ReadyRole) Template(ac *jwt.AccountClaims, byKey bool) (jwt.UserPermissionLimits, error) {
	space, err := RequireNamespace(ac)
	if err != nil {
		return jwt.UserPermissionLimits{}, err
	}
	own := "{{name()}}"
	if byKey {
		own = "{{subject()}}"
	}
	written := func(list []string) []string {
		var out []string
		for _, s := range list {
			out = append(out, strings.ReplaceAll(strings.ReplaceAll(s, "NS", space), "OWN", own))
		}
		slices.Sort(out)
		return out
	}
	t := jwt.NewUserScope().Template
	t.Pub.Allow, t.Sub.Allow = written(r.pub), written(r.sub)
	if r.noPub {
		t.Pub.Deny = jwt.StringList{anyTail}
	}
	if r.crossing {
		c := CrossingOf(ac)
		t.Pub.Allow, t.Sub.Allow = c.Up, c.Down
		Close(&t.Permissions)
	}
	t.AllowedConnectionTypes = slices.Clone(r.types)
	return t, nil
}

// RoleOf returns the role of a signing key of ac, nil for a key that has none.
func RoleOf(ac *jwt.AccountClaims, key string) *jwt.UserScope {
	us, _ := ac.SigningKeys[key].(*jwt.UserScope)
	return us
}

// CheckRoleName is fault.Invalid for a name that a new role may not have.
func CheckRoleName(name string) error {
	_, err := keys.ParseAccount(name)
	if !IsToken(name) || err == nil || keys.IsSeed(name) || name == "generate" { // which makes a key
		return invalid("role-name", "%q is no name of a role: letters, digits and - _ : @ + = ~, and no key", keys.Short(name)).About("role", keys.Short(name))
	}
	return nil
}

// Confine lets users of ac do nothing unless their role or their own permissions
// grant it, or takes that back.
func Confine(ac *jwt.AccountClaims, on bool) {
	p := &ac.DefaultPermissions
	for _, list := range []*jwt.StringList{&p.Pub.Deny, &p.Sub.Deny} {
		if *list = slices.DeleteFunc(slices.Clone(*list), func(s string) bool { return s == anyTail }); on {
			*list = append(*list, anyTail)
		} else if len(*list) == 0 {
			*list = nil
		}
	}
	if on {
		p.Resp = nil // it would go before what is denied
	}
}

// SystemConfined is the refusal to confine the system account, whose users are
// servers' and accountd's own.
func SystemConfined(name string) error {
	return fault.New(fault.Denied, "account %q is the system account, and default permissions would bind accountd's own user", name).
		About("account", name).ByRule("system account")
}

// Close denies what p leaves open: servers let those subscribe, or publish, to
// everything of whom only the other is said.
func Close(p *jwt.Permissions) {
	for _, one := range []*jwt.Permission{&p.Pub, &p.Sub} {
		answers := one == &p.Pub && p.Resp != nil
		if len(one.Allow) == 0 && !one.Deny.Contains(anyTail) && !answers {
			one.Deny = append(slices.Clone(one.Deny), anyTail)
		}
	}
}

// Open returns what users of a role may do without that anything says so:
// publish, subscribe.
func Open(p jwt.Permissions) []string {
	closed := p
	Close(&closed)
	var out []string
	if !slices.Equal(closed.Pub.Deny, p.Pub.Deny) {
		out = append(out, "publish")
	}
	if !slices.Equal(closed.Sub.Deny, p.Sub.Deny) {
		out = append(out, "subscribe")
	}
	return out
}

// Reach is what users of a role can do, whoever they are.
type Reach struct {
	Functions []string `json:"functions"` // that tell its users apart, as they stand in its subjects
	Publish   []string `json:"publish"`   // where somebody can who has stolen its key
	Subscribe []string `json:"subscribe"`
	Answers   bool     `json:"answers"` // to any subject that somebody who sends to a user names
	Bearer    bool     `json:"bearer"`  // who has the key can be any user that there is, since none proves its key
}

// ReachOf returns the reach of a role of ac. Who holds its key issues users of
// any name, any tags and any new key.
func ReachOf(ac *jwt.AccountClaims, t jwt.UserPermissionLimits) Reach {
	p := t.Permissions
	if p.Pub.Empty() && p.Sub.Empty() && p.Resp == nil {
		p = ac.DefaultPermissions // where templates are plain text
	}
	r := Reach{Functions: functions(t), Answers: p.Resp != nil, Bearer: t.BearerToken}
	r.Publish = reach(p.Pub, t.BearerToken, false)
	if p.Resp != nil && len(p.Pub.Allow) == 0 {
		r.Publish = nil
	}
	r.Subscribe = reach(p.Sub, t.BearerToken, true)
	return r
}

func reach(p jwt.Permission, bearer, sub bool) []string {
	if p.Deny.Contains(anyTail) {
		return nil
	}
	if len(p.Allow) == 0 {
		return []string{anyTail}
	}
	var out []string
	for _, s := range p.Allow {
		s = widest(s, bearer)
		if head, isLast := strings.CutSuffix(s, anyToken); sub && isLast && (head == "" || strings.HasSuffix(head, ".")) {
			s = head + anyTail // servers admit a subscription by its text
		}
		if !slices.ContainsFunc(out, func(o string) bool { return Within(s, o) }) {
			out = append(slices.DeleteFunc(out, func(o string) bool { return Within(o, s) }), s)
		}
	}
	slices.Sort(out)
	return out
}

// widest returns what a subject of a template can come to stand for: a name can
// be several tokens, and wildcards. Where users do not prove their keys, that
// goes for the token of a key, too, which stays one.
func widest(subject string, bearer bool) string {
	subject, _, _ = strings.Cut(subject, " ") // the queue
	for _, at := range templateForm.FindAllStringIndex(subject, -1) {
		name := strings.ToLower(strings.TrimSpace(subject[at[0]+2 : at[1]-2]))
		if name == "name()" || strings.HasPrefix(name, "tag(") {
			return subject[:strings.LastIndexByte(subject[:at[0]], '.')+1] + anyTail
		}
	}
	if bearer {
		toks := strings.Split(subject, ".")
		for i, tok := range toks {
			if strings.Contains(strings.ToLower(tok), "subject()") && !strings.Contains(strings.ToLower(tok), "account-subject()") {
				toks[i] = anyToken
			}
		}
		subject = strings.Join(toks, ".")
	}
	return subject
}

// Bounds returns what users of a role of ac may do at most, whoever they are, and
// what every one of them may do: the names, tags and keys that tell them apart are
// taken for anything. Of a role without permissions both are the account's
// defaults.
func Bounds(ac *jwt.AccountClaims, t jwt.UserPermissionLimits) (most, least jwt.Permissions, err error) {
	p := t.Permissions
	if p.Pub.Empty() && p.Sub.Empty() && p.Resp == nil {
		return ac.DefaultPermissions, ac.DefaultPermissions, nil
	}
	most, least = p, p
	for _, list := range []struct {
		of         jwt.StringList
		wide, slim *jwt.StringList
		deny       bool
	}{
		{p.Pub.Allow, &most.Pub.Allow, &least.Pub.Allow, false}, {p.Pub.Deny, &least.Pub.Deny, &most.Pub.Deny, true},
		{p.Sub.Allow, &most.Sub.Allow, &least.Sub.Allow, false}, {p.Sub.Deny, &least.Sub.Deny, &most.Sub.Deny, true},
	} {
		if *list.wide, *list.slim, err = boundList(list.of, list.deny, ac); err != nil {
			return most, least, err
		}
	}
	for _, b := range []*jwt.Permissions{&most, &least} {
		denyRest(&b.Pub, p.Pub)
		denyRest(&b.Sub, p.Sub)
	}
	return most, least, nil
}

// boundList expands a list of a template for any user: wide with all that it can
// stand for, slim with what it stands for whoever the user is.
func boundList(list jwt.StringList, deny bool, ac *jwt.AccountClaims) (wide, slim jwt.StringList, err error) {
	var same, open jwt.StringList
	for _, subject := range list {
		if w := widest(subject, true); templateForm.MatchString(subject) && w != subject {
			open = append(open, w)
		} else {
			same = append(same, subject)
		}
	}
	if len(open) > 0 { // beside which the others are checked
		same = slices.DeleteFunc(same, func(s string) bool { return !templateForm.MatchString(s) && !validSubject(s) })
	}
	anyone := &jwt.UserClaims{User: jwt.User{IssuerAccount: ac.Subject}}
	if slim, err = expandList(same, deny, anyone, ac); err != nil {
		return nil, nil, err
	}
	rest, err := expandList(open, deny, anyone, ac)
	return append(slices.Clone(slim), rest...), slim, err
}
