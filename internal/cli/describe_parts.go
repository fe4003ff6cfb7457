package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

func sortedNames[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// signers lists the signing keys of an account, roles by name. The keys of a
// fleet are many and alike: they are one line, unless all is asked for.
func (p *page) signers(c *jwt.AccountClaims) []string {
	folded := map[string]bool{}
	var fleets []string
	for _, f := range fleet.All(c) {
		list := f.Keys(c)
		if p.long || len(list) == 0 {
			continue
		}
		for _, k := range list {
			folded[k.Public] = true
		}
		fleets = append(fleets, fmt.Sprintf("fleet %s  %s; see them with -W", f.Name, count(len(list), "key")))
	}
	var out []string
	plain, roles := signingKeys(c)
	for _, k := range append(plain, roles...) {
		scope, ok := c.SigningKeys[k.key].(*jwt.UserScope)
		switch {
		case folded[k.key]:
		case ok && scope != nil:
			lines := roleLines(scope)
			out = append(append(out, lines[0]+"  "+k.key), indent(lines[1:])...)
		default:
			out = append(out, k.key)
		}
	}
	return append(out, fleets...)
}

func (p *page) exports(list jwt.Exports, names *book) []string {
	var out []string
	for _, e := range list {
		if e == nil {
			continue
		}
		line := fmt.Sprintf("%-7s  %s", e.Type, e.Subject)
		if e.Name != "" && e.Name != string(e.Subject) {
			line += fmt.Sprintf("  %q", e.Name)
		}
		switch {
		case e.TokenReq:
			line += "  private"
		case e.AccountTokenPosition > 0:
			line += fmt.Sprintf("  token %d is the importing account", e.AccountTokenPosition)
		default:
			line += "  public"
		}
		if e.ResponseType != "" && e.ResponseType != jwt.ResponseTypeSingleton {
			line += "  responses " + strings.ToLower(string(e.ResponseType))
		}
		if e.Latency != nil {
			line += fmt.Sprintf("  latency to %s", e.Latency.Results)
		}
		line += p.revokedImporters(e.Revocations, names)
		out = append(out, line)
	}
	return out
}

func (p *page) imports(list jwt.Imports, names *book) []string {
	var out []string
	for _, im := range list {
		if im == nil {
			continue
		}
		line := fmt.Sprintf("%-7s  %s from %s", im.Type, im.Subject, p.key(names.account(im.Account), im.Account))
		if im.LocalSubject != "" && string(im.LocalSubject) != string(im.Subject) {
			line += " as " + string(im.LocalSubject)
		}
		if im.Token != "" {
			line += "  by activation"
		}
		if im.Share {
			line += "  shares latency"
		}
		out = append(out, line)
	}
	return out
}

func mappingLines(m jwt.Mapping) []string {
	var out []string
	for _, from := range sortedNames(m) {
		for _, to := range m[from] {
			line := fmt.Sprintf("%s to %s  %d %%", from, to.Subject, to.GetWeight())
			if to.Cluster != "" {
				line += " in cluster " + to.Cluster
			}
			out = append(out, line)
		}
	}
	return out
}

// revoked lists revocations, the latest first, up to twenty.
func (p *page) revoked(list jwt.RevocationList, userName func(string) string) []string {
	const most = 20
	all := slices.SortedFunc(maps.Keys(list), func(a, b string) int {
		return cmp.Or(cmp.Compare(list[b], list[a]), cmp.Compare(a, b))
	})
	var out []string
	for i, key := range all {
		if i == most {
			return append(out, fmt.Sprintf("and %d more", len(all)-most))
		}
		who := "every user"
		if key != revocation.All {
			who = p.key(userName(key), key)
		}
		out = append(out, who+"  what was issued until "+clock(list[key]))
	}
	return out
}

// revokedImporters names the first accounts whose activations are revoked.
func (p *page) revokedImporters(list jwt.RevocationList, names *book) string {
	const most = 5
	if len(list) == 0 {
		return ""
	}
	var who []string
	for i, key := range sortedNames(list) {
		if i == most {
			who = append(who, fmt.Sprintf("%d more", len(list)-most))
			break
		}
		if key == revocation.All {
			who = append(who, "everybody")
			continue
		}
		who = append(who, p.key(names.account(key), key))
	}
	return "  revoked for " + strings.Join(who, ", ")
}

func (p *page) authorization(a jwt.ExternalAuthorization, names *book, userName func(string) string) string {
	if !a.IsEnabled() {
		return ""
	}
	var users, accounts []string
	for _, key := range a.AuthUsers {
		users = append(users, p.key(userName(key), key))
	}
	for _, key := range a.AllowedAccounts {
		if key == jwt.AnyAccount {
			accounts = append(accounts, "every account")
			continue
		}
		accounts = append(accounts, p.key(names.account(key), key))
	}
	text := "asks " + strings.Join(users, ", ") + " who connects"
	if len(accounts) > 0 {
		text += ", to " + strings.Join(accounts, ", ")
	}
	if a.XKey != "" {
		text += ", encrypted for " + p.id(a.XKey)
	}
	return text
}

// userText describes a user of an account: what servers would say of it, and
// what it may do, by its role if it has one.
func (s *session) userText(r *root, ac *account, doc *claims.Document, long bool) (string, error) {
	uc, err := claims.As[jwt.UserClaims](doc)
	if err != nil {
		return "", err
	}
	p := &page{long: long}
	p.title("user %s in %s  %s", doc.Name, ac.name, doc.Subject)
	p.fact("refused", s.warnsOf(r, ac, doc))
	by := "foreign key " + p.id(doc.Issuer)
	scope, scoped := ac.claims.SigningKeys[doc.Issuer].(*jwt.UserScope)
	scoped = scoped && scope != nil
	switch {
	case doc.Issuer == ac.key:
		by = "the account's key"
	case scoped:
		by = "role " + first(scope.Role, "without a name") + " (" + p.id(doc.Issuer) + ")"
	case ac.claims.SigningKeys.Contains(doc.Issuer):
		by = "signing key " + p.id(doc.Issuer)
	}
	p.signed(doc, by)
	p.fact("tags", strings.Join(uc.Tags, ", "))
	switch {
	case scoped:
		p.facts("may", append(userLimitLines(scope.Template), "as its role says"))
	default:
		p.facts("may", userMay(ac.claims, uc))
	}
	p.fact("seed", s.seedText(doc.Subject))
	if path, err := s.store.Keystore().CredsPath(r.Name(), ac.name, doc.Name); err == nil {
		if _, err := s.store.Keystore().Creds(r.Name(), ac.name, doc.Name); !fault.Is(err, fault.NotFound) {
			p.fact("credentials", s.shown(path))
		}
	}
	return p.b.String(), nil
}

// userMay says what a user without a role may do: what it says itself, else
// what the account's default permissions say.
func userMay(ac *jwt.AccountClaims, uc *jwt.UserClaims) []string {
	l := uc.UserPermissionLimits
	own := !l.Pub.Empty() || !l.Sub.Empty() || l.Resp != nil
	d := ac.DefaultPermissions
	if own || d.Pub.Empty() && d.Sub.Empty() && d.Resp == nil {
		return userLimitLines(l)
	}
	l.Permissions = d
	return append(userLimitLines(l), "as the account's default permissions say")
}

func (s *session) seedText(key string) string { return seedText(s.store.Keystore().HasSeed(key)) }

func seedText(here bool) string {
	if here {
		return "in the keystore"
	}
	return "not here"
}
