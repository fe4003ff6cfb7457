package accounts

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// isLiteral reports whether servers, who put s into the subjects of a role, take
// it for one token that matches nothing but itself.
func isLiteral(s string) bool {
	return s != "" && !strings.ContainsAny(s, ".*>{}") && !strings.ContainsFunc(s, func(c rune) bool {
		return unicode.IsSpace(c) || unicode.IsControl(c)
	})
}

// functions returns the functions in the subjects of a template, each once, in
// small letters.
func functions(t jwt.UserPermissionLimits) []string {
	var out []string
	for _, list := range []jwt.StringList{t.Pub.Allow, t.Pub.Deny, t.Sub.Allow, t.Sub.Deny} {
		for _, subject := range list {
			for _, fn := range templateForm.FindAllString(subject, -1) {
				out = append(out, strings.ToLower(strings.TrimSpace(fn[2:len(fn)-2])))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// wide is a value that would be more than a literal token, and the function by
// which a template takes it in.
type wide struct{ value, fn string }

// widened returns all such of the functions of t that want accepts.
func widened(t jwt.UserPermissionLimits, user *jwt.UserClaims, account *jwt.AccountClaims, want func(fn string) bool) []wide {
	var out []wide
	for _, fn := range functions(t) {
		if !want(fn) || strings.HasSuffix(fn, "subject()") { // keys are literal
			continue
		}
		values, _ := templateValues(fn, user, account) // a function that does not exist is refused elsewhere
		for _, v := range values {
			if !isLiteral(v) {
				out = append(out, wide{v, fn})
			}
		}
	}
	return out
}

func ofAccount(fn string) bool { return strings.HasPrefix(fn, "account-") }

// CheckLiteral is fault.Invalid for a user of a role whose name or tags would
// widen the role's subjects: those that the template takes in must be literal
// tokens. A nil scope is no role.
func CheckLiteral(uc *jwt.UserClaims, ac *jwt.AccountClaims, scope jwt.Scope) error {
	us, _ := scope.(*jwt.UserScope)
	if us == nil {
		return nil
	}
	found := widened(us.Template, uc, ac, func(string) bool { return true })
	if len(found) == 0 {
		return nil
	}
	return invalid("literal", "user %q: %s", uc.Name, found[0].text(us)).About("user", uc.Name).
		WithHint("choose names and tags without dots, spaces, * and >")
}

// CheckLiteralDevice is [CheckLiteral] for a device that a signing key of ac is to
// issue.
func CheckLiteralDevice(id string, tags []string, ac *jwt.AccountClaims, issuer string) error {
	uc := jwt.NewUserClaims(issuer)
	uc.Name, uc.Tags = id, tags
	return CheckLiteral(uc, ac, ac.SigningKeys[issuer])
}

func (w wide) text(us *jwt.UserScope) string {
	return fmt.Sprintf("the role %q puts %q into its subjects by {{%s}}, and it is no literal token", cmp.Or(us.Role, us.Key), w.value, w.fn)
}

// wideRoles returns what of the name and tags of ac its roles would be widened
// by, sorted.
func wideRoles(ac *jwt.AccountClaims) []string {
	if ac == nil {
		return nil
	}
	var out []string
	for _, scope := range ac.SigningKeys {
		if us, _ := scope.(*jwt.UserScope); us != nil {
			for _, w := range widened(us.Template, &jwt.UserClaims{}, ac, ofAccount) {
				out = append(out, w.text(us))
			}
		}
	}
	slices.Sort(out)
	return out
}

// CheckRoles is fault.Invalid for a version of an account whose name or tags
// would widen a role by more than those of the version before, nil for none, do.
func CheckRoles(before, after *jwt.AccountClaims) error {
	was := wideRoles(before)
	for _, text := range wideRoles(after) {
		if !slices.Contains(was, text) {
			return invalid("literal", "account %q: %s", after.Name, text).About("account", after.Name).
				WithHint("write the subject out in the role: nsc edit role <role> -a %s", fault.Words(after.Name))
		}
	}
	return nil
}
