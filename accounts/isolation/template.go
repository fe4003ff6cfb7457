package isolation

import (
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

var mustache = regexp.MustCompile(`{{2}([^}]+)}{2}`)

// maxExpansions is how many subjects a server makes of one list.
const maxExpansions = 4096

// values are what the functions of a template return for one user.
type values struct {
	user    *jwt.UserClaims
	account *jwt.AccountClaims
}

// expand fills the template of a role. It returns why servers refuse the user,
// "" if they do not.
func (v values) expand(p jwt.Permissions) (jwt.Permissions, string) {
	for _, side := range []*jwt.Permission{&p.Sub, &p.Pub} {
		had := len(side.Allow) > 0
		var why string
		if side.Allow, why = v.list(side.Allow, false); why != "" {
			return p, why
		}
		if side.Deny, why = v.list(side.Deny, true); why != "" {
			return p, why
		}
		if had && len(side.Allow) == 0 {
			side.Deny = append(slices.Clone(side.Deny), anyTail)
		}
	}
	return p, ""
}

// list fills one list. In a list with a template anywhere every entry must be a
// subject afterwards: others are dropped, or refuse the user where strict.
func (v values) list(list jwt.StringList, strict bool) (jwt.StringList, string) {
	if !slices.ContainsFunc(list, mustache.MatchString) {
		return list, ""
	}
	out := jwt.StringList{}
	for _, entry := range list {
		filled, why := v.entry(entry, strict)
		if why != "" {
			return nil, why
		}
		for _, s := range filled {
			switch {
			case valid(s):
				out = append(out, s)
			case strict:
				return nil, "the denied subject " + entry + " of the role is not valid for the user"
			}
		}
		if len(out) > maxExpansions {
			return nil, "the role expands to more than 4096 subjects"
		}
	}
	return out, ""
}

// entry returns an entry with every combination of the values of its templates.
func (v values) entry(entry string, strict bool) ([]string, string) {
	out := []string{entry}
	for _, tok := range mustache.FindAllString(entry, -1) {
		of, why := v.of(strings.TrimSpace(tok[2:len(tok)-2]), strict)
		if why != "" {
			return nil, why
		}
		if len(out)*len(of) > maxExpansions {
			return nil, "the role expands to more than 4096 subjects"
		}
		var next []string
		for _, s := range out {
			for _, value := range of {
				next = append(next, strings.ReplaceAll(s, tok, value))
			}
		}
		out = next
	}
	return out, ""
}

// of returns the values of one function.
func (v values) of(name string, strict bool) ([]string, string) {
	switch strings.ToLower(name) {
	case "name()":
		return []string{v.user.Name}, ""
	case "subject()":
		return []string{v.user.Subject}, ""
	case "account-name()":
		return []string{v.account.Name}, ""
	case "account-subject()":
		return []string{v.user.IssuerAccount}, ""
	}
	tag, tags, ok := v.tag(name)
	if !ok {
		return nil, "the role has the unknown template {{" + name + "}}"
	}
	var out []string
	for _, t := range tags {
		if value, ok := strings.CutPrefix(t, strings.ToLower(tag)+":"); ok {
			out = append(out, value)
		}
	}
	if out == nil && strict {
		return nil, "the tag " + tag + " that the role denies by is missing"
	}
	if out == nil {
		return []string{" "}, ""
	}
	return out, ""
}

// tag reads tag(x) and account-tag(x). The function may be in capitals, but
// servers then take its name for part of the tag.
func (v values) tag(name string) (string, jwt.TagList, bool) {
	for _, f := range []struct {
		prefix string
		tags   jwt.TagList
	}{{"tag(", v.user.Tags}, {"account-tag(", v.account.Tags}} {
		if len(name) >= len(f.prefix) && strings.EqualFold(name[:len(f.prefix)], f.prefix) && strings.HasSuffix(name, ")") {
			return strings.TrimSuffix(strings.TrimPrefix(name, f.prefix), ")"), f.tags, true
		}
	}
	return "", nil, false
}
