package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// diagramOptions are the flags of generate diagram.
type diagramOptions struct {
	detail, keys, users bool
	output              string
}

func newGenerateDiagram(a *app) *cobra.Command {
	cmd := group("diagram", "Draw the operator as a Mermaid chart")
	cmd.AddCommand(newDiagramComponent(a), newDiagramObject(a))
	return cmd
}

func newDiagramComponent(a *app) *cobra.Command {
	var o diagramOptions
	cmd := &cobra.Command{
		Use: "component", Short: "Draw what accounts share: exports, imports, and imports that servers drop",
		Example: `  nsc generate diagram component
  nsc generate diagram component --detail
  nsc generate diagram component -o accounts.mmd`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.diagram(cmd.Context(), o, (*session).componentDiagram)
		},
	}
	cmd.Flags().BoolVar(&o.detail, "detail", false, "with descriptions")
	outputFlag(cmd, &o.output)
	return cmd
}

func newDiagramObject(a *app) *cobra.Command {
	var o diagramOptions
	cmd := &cobra.Command{
		Use: "object", Short: "Draw who signs whom, and their limits",
		Example: `  nsc generate diagram object
  nsc generate diagram object --users --show-keys
  nsc generate diagram object --users --detail -o objects.mmd`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.diagram(cmd.Context(), o, (*session).objectDiagram)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.users, "users", false, "with users")
	f.BoolVar(&o.keys, "show-keys", false, "with public keys and signing keys")
	f.BoolVar(&o.detail, "detail", false, "with values that limit nothing")
	outputFlag(cmd, &o.output)
	return cmd
}

func (a *app) diagram(ctx context.Context, o diagramOptions, draw func(*session, *root, []*account, diagramOptions) (*mermaid, error)) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	names, err := r.Accounts()
	if err != nil {
		return err
	}
	var all []*account
	for _, name := range names {
		ac, err := r.load(name)
		if err != nil {
			return err
		}
		all = append(all, ac)
	}
	m, err := draw(s, r, all, o)
	if err != nil {
		return err
	}
	return a.writeResult(o.output, []byte(m.b.String()))
}

// componentDiagram draws accounts that share something as boxes and their
// exports as rounded ones. Arrows point the way that messages go: from a
// stream's exporter to its importer, and from a service's importer, which asks,
// to its exporter.
func (s *session) componentDiagram(r *root, all []*account, o diagramOptions) (*mermaid, error) {
	m := newMermaid("accounts of operator "+r.Name(), "LR")
	byKey := map[string]*jwt.AccountClaims{}
	for _, ac := range all {
		byKey[ac.key] = ac.claims
	}
	lookup := func(key string) *jwt.AccountClaims { return byKey[key] }
	for _, ac := range all {
		if len(ac.claims.Exports)+len(ac.claims.Imports) == 0 {
			continue
		}
		m.box(ac.key, false, false, withDetail([]string{ac.name}, ac.claims.Info, o.detail)...)
		for _, ex := range ac.claims.Exports {
			access := "public"
			if ex.TokenReq {
				access = "private"
			}
			lines := []string{first(ex.Name, string(ex.Subject)), access + " " + ex.Type.String()}
			m.box(exportID(ac.key, ex.Type, string(ex.Subject)), true, false, withDetail(lines, ex.Info, o.detail)...)
			m.flow(ac.key, exportID(ac.key, ex.Type, string(ex.Subject)), ex.IsService(), string(ex.Subject))
		}
	}
	for _, ac := range all {
		for _, im := range ac.claims.Imports {
			f := accounts.FlowOf(ac.claims, im, lookup, s.now)
			from := exportID(im.Account, im.Type, f.Remote)
			switch {
			case f.Export != nil:
				from = exportID(im.Account, im.Type, string(f.Export.Subject))
			case byKey[im.Account] == nil:
				m.box(from, true, true, f.Remote, "of "+keys.Short(im.Account), f.Why)
			default:
				m.box(from, true, true, f.Remote, "of "+byKey[im.Account].Name, f.Why)
			}
			label := f.Remote
			if f.Local != f.Remote {
				label += " as " + f.Local
			}
			if f.Export != nil && f.Why != "" {
				label += " (dropped: " + f.Why + ")"
			}
			m.flow(from, ac.key, im.IsService(), label)
		}
	}
	return m, nil
}

// flow draws the way of messages from a side that offers to one that takes; a
// service is asked the other way round.
func (m *mermaid) flow(offers, takes string, service bool, label string) {
	if service {
		m.arrow(takes, "-.->", label, offers)
		return
	}
	m.arrow(offers, "-->", label, takes)
}

func exportID(account string, kind jwt.ExportType, subject string) string {
	return account + " " + kind.String() + " " + subject
}

func withDetail(lines []string, info jwt.Info, detail bool) []string {
	for _, text := range []string{info.Description, info.InfoURL} {
		if detail && text != "" {
			lines = append(lines, text)
		}
	}
	return lines
}

// objectDiagram draws the operator, its accounts and their users, each below
// the one who signed it.
func (s *session) objectDiagram(r *root, all []*account, o diagramOptions) (*mermaid, error) {
	m := newMermaid("operator "+r.Name(), "TB")
	lines := append([]string{"operator " + r.Name()}, s.objectLines(r.doc, r.claims.Tags, o)...)
	if o.detail || r.claims.StrictSigningKeyUsage {
		lines = append(lines, "requires signing keys: "+yesNo(r.claims.StrictSigningKeyUsage))
	}
	if o.detail || r.claims.AccountServerURL != "" {
		lines = append(lines, "account server "+first(r.claims.AccountServerURL, "none"))
	}
	m.box(r.doc.Subject, false, false, lines...)
	m.signingKeys(r.doc.Subject, r.claims.SigningKeys, o, func(key string) string { return "signing key " + s.seedText(key) })
	for _, ac := range all {
		kind := "account "
		if r.sysOf(ac) {
			kind = "system account "
		}
		lines := append([]string{kind + ac.name}, s.objectLines(ac.doc, ac.claims.Tags, o)...)
		if text := limitsText(ac.claims.Limits); o.detail || text != "none" {
			lines = append(lines, "limits "+text)
		}
		if o.detail || ac.claims.Limits.IsJSEnabled() {
			lines = append(lines, "JetStream "+strings.Join(jetStreamText(ac.claims.Limits), "; "))
		}
		if d := ac.claims.DefaultPermissions; o.detail || !d.Pub.Empty() || !d.Sub.Empty() || d.Resp != nil {
			lines = append(lines, permissionLines(d, "everything", "of users without their own")...)
		}
		wrong := accounts.Blocking(ac.claims)
		m.box(ac.key, false, len(wrong) > 0, append(lines, wrong...)...)
		m.signs(r.doc.Subject, ac.doc, o)
		m.signingKeys(ac.key, ac.claims.SigningKeys.Keys(), o, func(key string) string {
			if scope, ok := ac.claims.SigningKeys[key].(*jwt.UserScope); ok && scope != nil {
				return "role " + first(scope.Role, "without a name") + " " + s.seedText(key)
			}
			return "signing key " + s.seedText(key)
		})
		if o.users {
			if err := s.objectUsers(m, r, ac, o); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

func (s *session) objectUsers(m *mermaid, r *root, ac *account, o diagramOptions) error {
	return r.eachUser(ac.name, func(name string, doc *claims.Document) error {
		uc, v, err := s.judge(r, ac, doc)
		if err != nil {
			return err
		}
		lines := append([]string{"user " + name}, s.objectLines(doc, uc.Tags, o)...)
		lines = append(lines, userLimitLines(v.May)...)
		for _, x := range v.Refusals {
			lines = append(lines, "refused: "+x.Why)
		}
		m.box(doc.Subject, true, len(v.Refusals) > 0, lines...)
		m.signs(ac.key, doc, o)
		return nil
	})
}

// objectLines is what all claims have in common.
func (s *session) objectLines(doc *claims.Document, tags jwt.TagList, o diagramOptions) []string {
	var lines []string
	if o.keys {
		lines = append(lines, doc.Subject, "seed "+s.seedText(doc.Subject))
	}
	if len(tags) > 0 {
		lines = append(lines, "tags "+strings.Join(tags, ", "))
	}
	lines = append(lines, "issued "+clock(doc.IssuedAt))
	if o.detail || doc.Starts != 0 {
		lines = append(lines, "valid from "+first(since(doc.Starts), "the beginning"))
	}
	if o.detail || doc.Expires != 0 {
		lines = append(lines, until(doc.Expires))
	}
	return lines
}

func since(unix int64) string {
	if unix == 0 {
		return ""
	}
	return clock(unix)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// signingKeys draws the signing keys of a holder, if keys are wanted.
func (m *mermaid) signingKeys(holder string, list []string, o diagramOptions, text func(key string) string) {
	if !o.keys {
		return
	}
	for _, key := range slices.Sorted(slices.Values(list)) {
		m.box(key, false, false, text(key), key)
		m.arrow(holder, "---", "", key)
	}
}

// signs draws who signed a claim: the signing key itself if keys are wanted.
func (m *mermaid) signs(holder string, doc *claims.Document, o diagramOptions) {
	from := holder
	if _, drawn := m.ids[doc.Issuer]; o.keys && drawn {
		from = doc.Issuer
	}
	m.arrow(from, "-->", "signed", doc.Subject)
}
