package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// page is a description in the making: a title and facts, one a line.
type page struct {
	b    strings.Builder
	long bool // show whole keys
}

func (p *page) title(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// fact writes a line unless there is nothing to say.
func (p *page) fact(label, text string) {
	if text != "" {
		fmt.Fprintf(&p.b, "  %-12s  %s\n", label, text)
	}
}

// facts writes one line for each text, the label on the first.
func (p *page) facts(label string, texts []string) {
	for i, text := range texts {
		if i > 0 {
			label = ""
		}
		p.fact(label, text)
	}
}

// key shows a key by name if it has one; both with --long-ids.
func (p *page) key(name, key string) string {
	switch {
	case key == "":
		return ""
	case name == "" && p.long:
		return key
	case name == "":
		return keys.Short(key)
	case p.long:
		return name + " (" + key + ")"
	}
	return name
}

func (p *page) id(key string) string {
	if p.long {
		return key
	}
	return keys.Short(key)
}

// signed writes when and by whom the document was signed and how long it is
// valid.
func (p *page) signed(doc *claims.Document, by string) {
	p.fact("issued", clock(doc.IssuedAt)+" by "+by)
	if doc.Starts != 0 {
		p.fact("valid from", clock(doc.Starts))
	}
	p.fact("expires", ending(doc.Expires))
}

func (r *root) operatorText(long bool) (string, error) {
	p := &page{long: long}
	oc := r.claims
	names := r.book()
	p.title("operator %s  %s", r.doc.Name, r.doc.Subject)
	p.signed(r.doc, operatorKey(p, oc, r.doc.Issuer))
	p.fact("tags", strings.Join(oc.Tags, ", "))
	p.fact("accounts at", oc.AccountServerURL)
	p.fact("servers", strings.Join(oc.OperatorServiceURLs, ", "))
	p.fact("system", p.key(names.account(oc.SystemAccount), oc.SystemAccount))
	p.facts("signing keys", oc.SigningKeys)
	if oc.StrictSigningKeyUsage {
		p.fact("strict", "only signing keys sign accounts and users")
	}
	p.fact("needs server", oc.AssertServerVersion)
	all, err := r.Accounts()
	if err != nil {
		return "", err
	}
	p.fact("accounts", listText(all))
	return p.b.String(), nil
}

// listText shows a count and the first names.
func listText(names []string) string {
	const most = 10
	if len(names) == 0 {
		return "none"
	}
	shown := names
	if len(names) > most {
		shown = append(slices.Clone(names[:most]), "…")
	}
	return fmt.Sprintf("%d: %s", len(names), strings.Join(shown, ", "))
}

func operatorKey(p *page, oc *jwt.OperatorClaims, key string) string {
	switch {
	case key == oc.Subject:
		return "its root key"
	case slices.Contains(oc.SigningKeys, key):
		return "signing key " + p.id(key)
	}
	return "foreign key " + p.id(key)
}

func (s *session) accountText(r *root, ac *account, long bool) (string, error) {
	p := &page{long: long}
	c := ac.claims
	p.title("account %s  %s", ac.name, ac.key)
	by := operatorKey(p, r.claims, ac.doc.Issuer)
	p.signed(ac.doc, strings.Replace(by, "its root key", "the root key", 1)+" of operator "+r.doc.Name)
	if r.sysOf(ac) {
		p.fact("role", "system account of the operator")
	}
	if pub, known, err := r.Published(ac.key); err == nil && known {
		p.fact("published", publishedText(pub.Revision, pub.Unpublished || pub.ID != ac.doc.ID))
	}
	known := r.book()
	p.account(c, known, func(key string) string {
		if name, err := r.User(ac.name, key); err == nil {
			return name
		}
		return ""
	})
	if len(c.Imports) > 0 {
		p.facts("findings", accounts.Findings(c, known.lookup, s.now))
	}
	users, err := r.Users(ac.name)
	if err != nil {
		return "", err
	}
	p.fact("users", listText(users))
	return p.b.String(), nil
}

func publishedText(revision uint64, dirty bool) string {
	switch {
	case dirty && revision == 0:
		return "no, only in the local store"
	case dirty:
		return fmt.Sprintf("revision %d; what is here is newer", revision)
	}
	return fmt.Sprintf("revision %d", revision)
}

// account writes what the claims of an account say.
func (p *page) account(c *jwt.AccountClaims, names *book, userName func(string) string) {
	p.fact("description", c.Description)
	p.fact("info", c.InfoURL)
	p.fact("tags", strings.Join(c.Tags, ", "))
	p.fact("namespace", namespaceText(c))
	if accounts.Suspended(c) {
		p.fact("suspended", "nobody can connect until: nsc resume account "+fault.Words(c.Name))
	}
	p.fact("limits", limitsText(c.Limits))
	p.facts("JetStream", jetStreamText(c.Limits))
	p.facts("permissions", permissionLines(c.DefaultPermissions, "everything", "of users without their own"))
	p.facts("signing keys", p.signers(c))
	p.facts("exports", p.exports(c.Exports, names))
	p.facts("imports", p.imports(c.Imports, names))
	p.facts("mappings", mappingLines(c.Mappings))
	p.facts("revoked", p.revoked(c.Revocations, userName))
	if c.Trace != nil {
		p.fact("traces", fmt.Sprintf("%d %% to %s", first0(c.Trace.Sampling, 100), c.Trace.Destination))
	}
	p.fact("callout", p.authorization(c.Authorization, names, userName))
	p.fact("cluster", string(c.ClusterTraffic))
}

func first0(values ...int) int {
	for _, v := range values {
		if v != 0 {
			return v
		}
	}
	return 0
}

func indent(lines []string) []string {
	var out []string
	for _, l := range lines {
		out = append(out, "  "+l)
	}
	return out
}

func roleLines(scope *jwt.UserScope) []string {
	lines := []string{"role " + first(scope.Role, "without a name")}
	if scope.Description != "" {
		lines[0] += ": " + scope.Description
	}
	return append(lines, userLimitLines(scope.Template)...)
}

// userLimitLines says what a user, or the users of a role, may do.
func userLimitLines(l jwt.UserPermissionLimits) []string {
	lines := permissionLines(l.Permissions, "everything", "")
	var limits []string
	for _, x := range []struct {
		name  string
		n     int64
		bytes bool
	}{{"subscriptions", l.Subs, false}, {"data", l.Data, true}, {"payload", l.Payload, true}} {
		if x.n != jwt.NoLimit {
			limits = append(limits, x.name+" "+amount(x.n, x.bytes))
		}
	}
	if len(limits) > 0 {
		lines = append(lines, strings.Join(limits, ", "))
	}
	if len(l.AllowedConnectionTypes) > 0 {
		lines = append(lines, "connections "+strings.Join(l.AllowedConnectionTypes, ", "))
	}
	if len(l.Src) > 0 {
		lines = append(lines, "from "+strings.Join(l.Src, ", "))
	}
	for _, t := range l.Times {
		lines = append(lines, fmt.Sprintf("daily %s to %s %s", t.Start, t.End, first(l.Locale, "in the servers' time zone")))
	}
	if l.BearerToken {
		lines = append(lines, "bearer: the JWT alone authenticates")
	}
	if l.ProxyRequired {
		lines = append(lines, "through a trusted proxy only")
	}
	return lines
}

// permissionLines says what may be published and subscribed to; all stands for
// no restriction.
func permissionLines(p jwt.Permissions, all, whose string) []string {
	var lines []string
	for _, x := range []struct {
		verb string
		p    jwt.Permission
	}{{"publish", p.Pub}, {"subscribe", p.Sub}} {
		text := first(strings.Join(x.p.Allow, ", "), all)
		if len(x.p.Deny) > 0 {
			text += " but " + strings.Join(x.p.Deny, ", ")
		}
		lines = append(lines, fmt.Sprintf("%-9s  %s", x.verb, text))
	}
	if p.Pub.Empty() && p.Sub.Empty() {
		lines = []string{"publish and subscribe to " + all}
	}
	if p.Resp != nil {
		text := fmt.Sprintf("reply      %s", count(max(p.Resp.MaxMsgs, 1), "message"))
		if p.Resp.MaxMsgs < 0 {
			text = "reply      any number of messages"
		}
		if p.Resp.Expires > 0 {
			text += " within " + p.Resp.Expires.String()
		}
		lines = append(lines, text)
	}
	if whose != "" {
		lines[0] += "  (" + whose + ")"
	}
	return lines
}

// amount shows a limit.
func amount(n int64, bytes bool) string {
	switch {
	case n < 0:
		return "unlimited"
	case bytes:
		return humanize.IBytes(uint64(n))
	}
	return humanize.Comma(n)
}

// limitsText names the limits that are not unlimited.
func limitsText(l jwt.OperatorLimits) string {
	var out []string
	for _, x := range []struct {
		name  string
		n     int64
		bytes bool
	}{
		{"connections", l.Conn, false}, {"leaf nodes", l.LeafNodeConn, false}, {"subscriptions", l.Subs, false},
		{"data", l.Data, true}, {"payload", l.Payload, true}, {"exports", l.Exports, false}, {"imports", l.Imports, false},
	} {
		if x.n != jwt.NoLimit {
			out = append(out, x.name+" "+amount(x.n, x.bytes))
		}
	}
	if !l.WildcardExports {
		out = append(out, "no wildcards in exports")
	}
	if l.DisallowBearer {
		out = append(out, "no bearer users")
	}
	return first(strings.Join(out, ", "), "none")
}

func jetStreamText(l jwt.OperatorLimits) []string {
	if !l.IsJSEnabled() {
		return []string{"no"}
	}
	if len(l.JetStreamTieredLimits) == 0 {
		return []string{tierLine(l.JetStreamLimits)}
	}
	var out []string
	for _, name := range sortedNames(l.JetStreamTieredLimits) {
		out = append(out, name+"  "+tierLine(l.JetStreamTieredLimits[name]))
	}
	return out
}

func tierLine(js jwt.JetStreamLimits) string {
	out := []string{"memory " + amount(js.MemoryStorage, true), "disk " + amount(js.DiskStorage, true)}
	for _, x := range []struct {
		name  string
		n     int64
		bytes bool
	}{
		{"streams", js.Streams, false}, {"consumers", js.Consumer, false}, {"unacknowledged", js.MaxAckPending, false},
		{"memory stream", js.MemoryMaxStreamBytes, true}, {"disk stream", js.DiskMaxStreamBytes, true},
	} {
		if x.n > 0 {
			out = append(out, x.name+" "+amount(x.n, x.bytes))
		}
	}
	if js.MaxBytesRequired {
		out = append(out, "streams must set their size")
	}
	return strings.Join(out, ", ")
}

// claimsText describes a document on its own, without a store.
func (a *app) claimsText(doc *claims.Document, long bool) (string, error) {
	p := &page{long: long}
	p.title("%s %s  %s", doc.Type, doc.Name, doc.Subject)
	p.signed(doc, p.id(doc.Issuer))
	none := func(string) string { return "" }
	switch doc.Type {
	case claims.TypeOperator:
		oc, err := claims.As[jwt.OperatorClaims](doc)
		if err != nil {
			return "", err
		}
		p.fact("tags", strings.Join(oc.Tags, ", "))
		p.fact("accounts at", oc.AccountServerURL)
		p.fact("servers", strings.Join(oc.OperatorServiceURLs, ", "))
		p.fact("system", p.key("", oc.SystemAccount))
		p.facts("signing keys", oc.SigningKeys)
	case claims.TypeAccount:
		ac, err := claims.As[jwt.AccountClaims](doc)
		if err != nil {
			return "", err
		}
		p.account(ac, &book{}, none)
	case claims.TypeUser:
		uc, err := claims.As[jwt.UserClaims](doc)
		if err != nil {
			return "", err
		}
		p.fact("account", p.key("", first(uc.IssuerAccount, uc.Issuer)))
		p.fact("tags", strings.Join(uc.Tags, ", "))
		p.facts("may", userLimitLines(uc.UserPermissionLimits))
	case claims.TypeActivation:
		act, err := claims.As[jwt.ActivationClaims](doc)
		if err != nil {
			return "", err
		}
		p.fact("allows", fmt.Sprintf("import of %s %s", act.ImportType, act.ImportSubject))
		p.fact("exporter", p.key("", first(act.IssuerAccount, act.Issuer)))
	default:
		return "", fault.New(fault.Invalid, "the JWT is of the unknown type %q", doc.Type).WithHint("print its claims with --json")
	}
	return p.b.String(), nil
}

// warnsOf says why servers refuse the user now, "" if they accept it.
func (s *session) warnsOf(r *root, ac *account, doc *claims.Document) string {
	switch trouble := r.userTrouble(ac, doc); {
	case trouble != "":
		return trouble
	case doc.Expires != 0 && doc.Expires <= s.now:
		return "expired"
	case doc.Starts > s.now:
		return "not valid yet"
	}
	return ""
}
