package accounts

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// maxExpansions is how many subjects servers make of one list of a template.
const maxExpansions = 4096

// templateForm is how a function of a template stands in a subject.
var templateForm = regexp.MustCompile(`{{2}([^}]+)}{2}`)

// Expand returns what a user of a role may do: the role's template with its
// functions replaced, as servers do it when the user connects. What is missing
// takes an allowed subject away, and makes servers refuse the user where it
// would have been denied, which is a fault with the rule template.
func Expand(template jwt.UserPermissionLimits, user *jwt.UserClaims, account *jwt.AccountClaims) (jwt.UserPermissionLimits, error) {
	out := template
	for _, list := range []struct {
		to   *jwt.StringList
		deny bool
	}{{&out.Sub.Allow, false}, {&out.Sub.Deny, true}, {&out.Pub.Allow, false}, {&out.Pub.Deny, true}} {
		expanded, err := expandList(*list.to, list.deny, user, account)
		if err != nil {
			return jwt.UserPermissionLimits{}, err
		}
		*list.to = expanded
	}
	denyRest(&out.Sub, template.Sub)
	denyRest(&out.Pub, template.Pub)
	return out, nil
}

// denyRest denies everything where the template allowed something and nothing
// is left of it: an empty list would allow all.
func denyRest(p *jwt.Permission, template jwt.Permission) {
	if len(template.Allow) > 0 && len(p.Allow) == 0 && !p.Deny.Contains(anyTail) {
		p.Deny = append(slices.Clone(p.Deny), anyTail)
	}
}

// expandList leaves a list without functions as it is. Of one with functions
// every subject is checked, those without functions too.
func expandList(list jwt.StringList, deny bool, user *jwt.UserClaims, account *jwt.AccountClaims) (jwt.StringList, error) {
	if !slices.ContainsFunc(list, templateForm.MatchString) {
		return list, nil
	}
	var out jwt.StringList
	for _, subject := range list {
		made, err := expandSubject(subject, deny, user, account)
		if err != nil {
			return nil, err
		}
		if len(out)+len(made) > maxExpansions {
			return nil, templateFault("%q and the subjects beside it stand for more than %d", subject, maxExpansions)
		}
		for _, s := range made {
			switch {
			case validSubject(s):
				out = append(out, s)
			case deny:
				return nil, templateFault("the denied subject %q becomes %q, which is no subject", subject, s)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// expandSubject returns the subjects that one stands for: one for every
// combination of the values of its functions.
func expandSubject(subject string, deny bool, user *jwt.UserClaims, account *jwt.AccountClaims) ([]string, error) {
	made := []string{subject}
	for _, fn := range templateForm.FindAllString(subject, -1) {
		values, err := templateValues(strings.TrimSpace(fn[2:len(fn)-2]), user, account)
		if err != nil {
			return nil, templateFault("%q: %s", subject, err)
		}
		switch {
		case len(values) == 0 && deny:
			return nil, templateFault("the denied subject %q needs a tag that is missing", subject)
		case len(values) == 0:
			values = []string{" "} // no subject, but servers count it
		}
		if len(made)*len(values) > maxExpansions {
			return nil, templateFault("%q stands for more than %d subjects", subject, maxExpansions)
		}
		var next []string
		for _, s := range made {
			for _, v := range values {
				next = append(next, strings.ReplaceAll(s, fn, v))
			}
		}
		made = next
	}
	return made, nil
}

// templateValues returns the values of a function: one, or one a tag.
func templateValues(fn string, user *jwt.UserClaims, account *jwt.AccountClaims) ([]string, error) {
	switch strings.ToLower(fn) {
	case "name()":
		return []string{user.Name}, nil
	case "subject()":
		return []string{user.Subject}, nil
	case "account-name()":
		return []string{account.Name}, nil
	case "account-subject()":
		return []string{user.IssuerAccount}, nil
	}
	for prefix, tags := range map[string]jwt.TagList{"tag(": user.Tags, "account-tag(": account.Tags} {
		if len(fn) < len(prefix) || !strings.EqualFold(fn[:len(prefix)], prefix) || !strings.HasSuffix(fn, ")") {
			continue
		}
		// In capital letters the function finds no tag: servers take it for a part of the tag's name.
		tag := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(fn, prefix), ")")) + ":"
		var values []string
		for _, t := range tags {
			if v, ok := strings.CutPrefix(t, tag); ok {
				values = append(values, v)
			}
		}
		return values, nil
	}
	return nil, fmt.Errorf("there is no function %s", fn)
}

func templateFault(format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...).ByRule("template")
}

// validSubject reports whether servers take s for a subject, with wildcards.
func validSubject(s string) bool {
	toks := strings.Split(s, ".")
	for i, tok := range toks {
		if tok == "" || strings.ContainsAny(tok, "\t\n\f\r ") || tok == anyTail && i < len(toks)-1 {
			return false
		}
	}
	return true
}

// checkSubject refuses what servers do not take for a subject.
func checkSubject(s string) error {
	if !validSubject(s) {
		return invalid("subject", "%q is no subject: its tokens must not be empty or hold spaces, and > can only be the last", s)
	}
	return nil
}
