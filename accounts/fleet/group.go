package fleet

import (
	"cmp"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
)

// EnrollSubject is where devices ask accountd for credentials: a service that
// their account imports from the system account.
const EnrollSubject = "accountd.v1.enroll"

// MaxRequest is the longest request for credentials, in bytes.
const MaxRequest = 16 << 10

// EnrollExport is that service as the system account exports it. Servers let an
// account import only the subject that ends in its own key, so that the subject
// of a request says whose it is.
func EnrollExport() *jwt.Export {
	return &jwt.Export{
		Name: "accountd-enroll", Subject: EnrollSubject + ".*", Type: jwt.Service, AccountTokenPosition: 4,
		Info: jwt.Info{Description: "Devices ask accountd for credentials, and to renew them"},
	}
}

// Group lets the holders of its tokens enrol devices in a fleet. It is a signing
// key of the account whose users may do nothing but that.
type Group struct {
	Name   string
	Fleet  Fleet
	Public string
}

const groupMark = "enroll-"

func (f Fleet) groupRole(name string) string { return f.Name + "/" + groupMark + name }

// Groups returns the groups of an account, by name.
func Groups(ac *jwt.AccountClaims) []Group {
	var out []Group
	for _, f := range All(ac) {
		for public, scope := range ac.SigningKeys {
			us, ok := scope.(*jwt.UserScope)
			if !ok || us == nil {
				continue
			}
			if name, is := strings.CutPrefix(us.Role, f.groupRole("")); is && simpleName(name) {
				out = append(out, Group{name, f, public})
			}
		}
	}
	slices.SortFunc(out, func(a, b Group) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Public, b.Public)) })
	return out
}

// Groups returns those of f.
func (f Fleet) Groups(ac *jwt.AccountClaims) []Group {
	return slices.DeleteFunc(Groups(ac), func(g Group) bool { return g.Fleet.Name != f.Name })
}

// FindGroup returns the group of a name, fault.NotFound without one. "" is the
// only one there is.
func FindGroup(ac *jwt.AccountClaims, name string) (Group, error) {
	all := Groups(ac)
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	var names []string
	for _, g := range all {
		if g.Name == name {
			return g, nil
		}
		names = append(names, g.Name)
	}
	hint := "its groups are " + strings.Join(names, ", ")
	if len(all) == 0 {
		hint = "add one with: nsc add enrollment-group <name> -a " + fault.Words(ac.Name)
	}
	if name == "" && len(all) > 1 {
		return Group{}, fault.New(fault.Usage, "account %q has %d enrolment groups and none is named", ac.Name, len(all)).WithHint("%s", hint)
	}
	return Group{}, fault.New(fault.NotFound, "account %q has no enrolment group %q", ac.Name, name).About("enrollment-group", name).WithHint("%s", hint)
}

// AddGroup puts a new group into ac.
func (f Fleet) AddGroup(ac *jwt.AccountClaims, name, public string) error {
	if !simpleName(name) {
		return invalid("group-name", "%q is no name of a group: small letters, digits, - and _, at most 32, a letter or digit first", name)
	}
	for _, g := range Groups(ac) {
		if g.Name == name {
			return fault.New(fault.Conflict, "account %q has an enrolment group %q already", ac.Name, name).About("enrollment-group", name).ByRule("group-exists").
				WithHint("look at it with: nsc describe enrollment-group %s -a %s", name, fault.Words(ac.Name))
		}
	}
	t := jwt.NewUserScope().Template
	t.Pub.Allow = jwt.StringList{EnrollSubject}
	t.Sub.Allow = jwt.StringList{"_INBOX.{{subject()}}.>"}
	t.Subs, t.Payload = 8, MaxRequest
	// Leaf nodes may use some subjects of the servers' own, whatever their rights.
	t.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket}
	setKey(ac, public, f.groupRole(name), t)
	return nil
}

// Reach lets users of ac ask accountd over NATS, through the system account. It
// reports whether it changed ac.
func Reach(ac *jwt.AccountClaims, system string) bool {
	for _, im := range ac.Imports {
		if im != nil && im.Account == system && string(im.Subject) == EnrollSubject+"."+ac.Subject {
			return false
		}
	}
	ac.Imports.Add(&jwt.Import{
		Name: "accountd-enroll", Account: system, Type: jwt.Service,
		Subject: jwt.Subject(EnrollSubject + "." + ac.Subject), LocalSubject: EnrollSubject,
	})
	return true
}

// Reachable reports whether the system account sys exports what Reach imports.
func Reachable(sys *jwt.AccountClaims) bool {
	return slices.ContainsFunc(sys.Exports, func(e *jwt.Export) bool {
		return e != nil && e.Type == jwt.Service && e.AccountTokenPosition == 4 && accounts.Within(EnrollSubject+".*", string(e.Subject))
	})
}

// DeleteGroup takes g out of ac: its tokens are worth nothing from then on.
func DeleteGroup(ac *jwt.AccountClaims, g Group) { ac.SigningKeys.Remove(g.Public) }
