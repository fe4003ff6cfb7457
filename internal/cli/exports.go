package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/revocation"
)

// exportView is an export as JSON shows it.
type exportView struct {
	Schema    int         `json:"schema,omitempty"`
	Account   string      `json:"account"`
	Type      string      `json:"type"`
	Subject   string      `json:"subject"`
	Private   bool        `json:"private"`
	Importers []string    `json:"importers"`         // accounts of this store
	Revoked   []string    `json:"revoked,omitempty"` // accounts, by name if it is known; * for all
	Claims    *jwt.Export `json:"claims"`
}

// exportList is the output of list exports.
type exportList struct {
	Schema  int          `json:"schema"`
	Account string       `json:"account"`
	Exports []exportView `json:"exports"`
}

// exportView describes an export of ac; names has read those that import from it.
func (b *book) exportView(ac *account, ex *jwt.Export) exportView {
	v := exportView{
		Account: ac.name, Type: ex.Type.String(), Subject: string(ex.Subject), Private: ex.TokenReq,
		Importers: []string{}, Claims: ex,
	}
	for _, other := range b.known {
		if other != nil && slices.ContainsFunc(other.Imports, func(im *jwt.Import) bool { return importsFrom(im, ac, ex) }) {
			v.Importers = append(v.Importers, other.Name)
		}
	}
	slices.Sort(v.Importers)
	for _, key := range sortedNames(ex.Revocations) {
		who := key
		if key != revocation.All {
			who = first(b.account(key), key)
		}
		v.Revoked = append(v.Revoked, who)
	}
	return v
}

// importsFrom reports whether im is of the export ex of ac.
func importsFrom(im *jwt.Import, ac *account, ex *jwt.Export) bool {
	if im == nil || im.Account != ac.key || im.Type != ex.Type {
		return false
	}
	remote, _ := accounts.Sides(im)
	found, err := accounts.ExportRef{Subject: remote, Type: im.Type}.Cover(ac.claims)
	return err == nil && found == ex
}

func newListExports(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "exports", Aliases: []string{"export"}, Short: "List what an account exports, and who imports it",
		Example: `  nsc list exports
  nsc list exports -a app
  nsc list exports -a app --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listExports(cmd.Context(), account) },
	}
	accountFlag(cmd, &account)
	return cmd
}

func (a *app) listExports(ctx context.Context, accountName string) error {
	_, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return err
	}
	b := r.book()
	if len(ac.claims.Exports) > 0 {
		if err := b.readNaming(ac.key); err != nil {
			return err
		}
	}
	list := exportList{Schema: api.Schema, Account: ac.name, Exports: []exportView{}}
	rows := [][]string{{"SUBJECT", "TYPE", "ACCESS", "IMPORTED BY", "MORE"}}
	for _, ex := range ac.claims.Exports {
		if ex == nil {
			continue
		}
		v := b.exportView(ac, ex)
		list.Exports = append(list.Exports, v)
		rows = append(rows, []string{v.Subject, v.Type, exportAccess(ex), namesText(v.Importers), strings.Join(exportMore(v), ", ")})
	}
	return a.listed(list, rows, "account "+ac.name+" exports nothing; add an export with: nsc add export --subject <subject> -a "+shellWords([]string{ac.name}))
}

// exportAccess says who may import an export.
func exportAccess(ex *jwt.Export) string {
	switch {
	case ex.TokenReq:
		return "private"
	case ex.AccountTokenPosition > 0:
		return fmt.Sprintf("token %d is the importer's key", ex.AccountTokenPosition)
	}
	return "public"
}

// exportMore says what is not usual about an export.
func exportMore(v exportView) []string {
	var out []string
	ex := v.Claims
	if ex.Name != "" && ex.Name != v.Subject {
		out = append(out, quote(ex.Name))
	}
	if ex.ResponseType != "" && ex.ResponseType != jwt.ResponseTypeSingleton {
		out = append(out, "responses "+strings.ToLower(string(ex.ResponseType)))
	}
	if ex.ResponseThreshold > 0 {
		out = append(out, "responses within "+ex.ResponseThreshold.String())
	}
	if ex.Latency != nil {
		rate := "requests with a tracing header"
		if ex.Latency.Sampling != jwt.Headers {
			rate = fmt.Sprintf("%d %% of requests", ex.Latency.Sampling)
		}
		out = append(out, fmt.Sprintf("latency of %s to %s", rate, ex.Latency.Results))
	}
	if ex.AllowTrace {
		out = append(out, "traced")
	}
	if ex.Advertise {
		out = append(out, "advertised")
	}
	if len(v.Revoked) > 0 {
		out = append(out, "revoked for "+revokedText(v.Revoked))
	}
	return out
}

func revokedText(names []string) string {
	if slices.Contains(names, revocation.All) {
		return "everybody"
	}
	return namesText(names)
}

// namesText shows the first of some names in a column.
func namesText(names []string) string {
	const most = 3
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return first(strings.Join(names, ", "), "-")
}

func newDescribeExport(a *app, o *describeOptions) *cobra.Command {
	var service *bool
	cmd := &cobra.Command{
		Use: "export [subject]", Short: "Show an export: who may import it, and who does",
		Example: `  nsc describe export 'orders.>' -a app
  nsc describe export -a shop
  nsc describe export price.get -a app --service
  nsc describe export 'orders.>' -a app --json`,
		Args: args(0, 1, "the subject"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = subjectOf(o.name, given); err != nil {
				return err
			}
			return a.describeExport(cmd.Context(), *o, accounts.ExportRef{Subject: o.name, Type: kindOf(service)})
		},
	}
	accountFlag(cmd, &o.account)
	cmd.Flags().StringVarP(&o.name, "subject", "s", "", "subject of the export (default the only one)")
	switchFlag(cmd.Flags(), &service, "service", "the service of that subject, or with =false the stream, where there are both")
	return cmd
}

// subjectOf returns the subject that a command is about, "" for the only one.
func subjectOf(flag string, given []string) (string, error) {
	if len(given) > 0 && flag != "" && flag != given[0] {
		return "", usage("the subject is given twice: %q and --subject %q", given[0], flag)
	}
	if len(given) > 0 {
		return given[0], nil
	}
	return flag, nil
}

func (a *app) describeExport(ctx context.Context, o describeOptions, at accounts.ExportRef) error {
	_, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	ex, err := at.Find(ac.claims)
	if err != nil {
		return nearExport(err, ac.claims, at.Subject)
	}
	b := r.book()
	if err := b.readNaming(ac.key); err != nil {
		return err
	}
	v := b.exportView(ac, ex)
	v.Schema = api.Schema
	p := &page{long: a.long(o)}
	p.title("%s export %s in %s", v.Type, v.Subject, ac.name)
	access := exportAccess(ex)
	if v.Private {
		access += ": importers need an activation of " + ac.name
	}
	p.fact("access", access)
	p.fact("description", ex.Description)
	p.fact("info", ex.InfoURL)
	p.fact("imported by", first(strings.Join(v.Importers, ", "), "none of the accounts here"))
	p.facts("more", exportMore(v))
	return a.view(o, v, v.Subject, p)
}
