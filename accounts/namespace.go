package accounts

import (
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// tagNamespace is the tag that names the prefix of an account's subjects. Tags
// are in small letters, and so is a prefix that is named by one.
const tagNamespace = "namespace:"

// MaxToken is the length of the longest token that is a name.
const MaxToken = 128

// IsToken reports whether s is a literal token of a subject: letters, digits and
// - _ : @ + = ~, which no template of a role can widen and no file name escapes.
func IsToken(s string) bool {
	return s != "" && len(s) <= MaxToken && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_:@+=~", c)
	})
}

// CheckNamespace is fault.Invalid unless space can be the prefix of an account's
// subjects: literal tokens, not one of the prefixes that servers use themselves.
func CheckNamespace(space string) error {
	for tok := range strings.SplitSeq(space, ".") {
		if !IsToken(tok) {
			return invalid("namespace", "%q is no namespace: one or more tokens with dots between, of letters, digits and - _ : @ + = ~", space)
		}
	}
	for _, reserved := range []string{"_INBOX", "_R_", "_GR_"} { // the form of a token excludes $
		if len(space) >= len(reserved) && strings.EqualFold(space[:len(reserved)], reserved) {
			return invalid("namespace", "%q is no namespace: servers and clients use %s themselves", space, reserved)
		}
	}
	return nil
}

// Namespace returns the prefix of an account's subjects: that of its tag, or its
// name, "" for a name that cannot be one. It is fault.Invalid for a tag that
// names none, and for several tags.
func Namespace(ac *jwt.AccountClaims) (string, error) {
	spaces := namespaceTags(ac)
	switch {
	case len(spaces) > 1:
		return "", invalid("namespace", "account %q has several namespaces: %s", ac.Name, strings.Join(spaces, ", ")).About("account", ac.Name)
	case len(spaces) == 1:
		return spaces[0], CheckNamespace(spaces[0])
	case CheckNamespace(ac.Name) != nil:
		return "", nil
	}
	return ac.Name, nil
}

// RequireNamespace is Namespace for what is of no use without one.
func RequireNamespace(ac *jwt.AccountClaims) (string, error) {
	space, err := Namespace(ac)
	if err == nil && space == "" {
		err = invalid("namespace", "%q cannot be the prefix of subjects", ac.Name).About("account", ac.Name).
			WithHint("give the account one: nsc edit account %s --namespace <prefix>", fault.Words(ac.Name))
	}
	return space, err
}

func namespaceTags(ac *jwt.AccountClaims) []string {
	var out []string
	for _, tag := range ac.Tags {
		if s, ok := strings.CutPrefix(tag, tagNamespace); ok {
			out = append(out, s)
		}
	}
	return out
}

// SetNamespace gives ac a namespace in place of the one that it has; "" leaves
// it that of its name.
func SetNamespace(ac *jwt.AccountClaims, space string) error {
	if space != "" {
		if err := CheckNamespace(space); err != nil {
			return err
		}
		if space != strings.ToLower(space) {
			return invalid("namespace", "%q is no namespace: it is kept in a tag, and tags are in small letters", space)
		}
	}
	ac.Tags = slices.DeleteFunc(slices.Clone(ac.Tags), func(tag string) bool { return strings.HasPrefix(tag, tagNamespace) })
	if space != "" {
		ac.Tags.Add(tagNamespace + space)
		slices.Sort(ac.Tags)
	}
	return nil
}

// Namespaces says who has which prefix, so that no two share one or lie below
// each other. Upper and lower case are the same. The zero value is empty.
type Namespaces struct {
	of         map[string]string              // account key to prefix
	own, below map[string]map[string]struct{} // prefix to the accounts that have it, and that have one below it
}

// Set gives an account a prefix in place of the one it had; "" gives it none.
func (n *Namespaces) Set(key, space string) {
	if n.of == nil {
		n.of, n.own, n.below = map[string]string{}, map[string]map[string]struct{}{}, map[string]map[string]struct{}{}
	}
	if old := n.of[key]; old != "" {
		leave(n.own, old, key)
		for above := range prefixes(old) {
			leave(n.below, above, key)
		}
	}
	space = strings.ToLower(space)
	if n.of[key] = space; space == "" {
		delete(n.of, key)
		return
	}
	enter(n.own, space, key)
	for above := range prefixes(space) {
		enter(n.below, above, key)
	}
}

// Rival returns the key of another account whose prefix is space, lies below
// it, or has it below; "" without one.
func (n *Namespaces) Rival(key, space string) string {
	space = strings.ToLower(space)
	sets := []map[string]struct{}{n.own[space], n.below[space]}
	for above := range prefixes(space) {
		sets = append(sets, n.own[above])
	}
	for _, set := range sets {
		for other := range set {
			if other != key {
				return other
			}
		}
	}
	return ""
}

// prefixes yields the prefixes above space: for a.b.c, a and a.b.
func prefixes(space string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range space {
			if c == '.' && !yield(space[:i]) {
				return
			}
		}
	}
}

func enter(sets map[string]map[string]struct{}, at, key string) {
	if sets[at] == nil {
		sets[at] = map[string]struct{}{}
	}
	sets[at][key] = struct{}{}
}

func leave(sets map[string]map[string]struct{}, at, key string) {
	if delete(sets[at], key); len(sets[at]) == 0 {
		delete(sets, at)
	}
}

// NamespaceTaken is the refusal of a prefix that meets that of another account;
// exists says that the account that wants it is not new.
func NamespaceTaken(name, space, other string, exists bool) error {
	verb := "add"
	if exists {
		verb = "edit"
	}
	return fault.New(fault.Denied, "the namespace %q of account %q meets that of account %q", space, name, other).About("account", name).
		ByRule("namespace").WithHint("give it another one with: nsc %s account %s --namespace <prefix>", verb, fault.Words(name))
}
