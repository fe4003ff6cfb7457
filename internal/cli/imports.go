package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/keys"
)

// importView is an import as JSON shows it.
type importView struct {
	Schema   int         `json:"schema,omitempty"`
	Account  string      `json:"account"`
	Type     string      `json:"type"`
	Subject  string      `json:"subject"`        // the exporter's
	Local    string      `json:"local_subject"`  // the account's own
	From     string      `json:"from,omitempty"` // the exporter, if the local store knows it
	FromKey  string      `json:"from_key"`
	Contract string      `json:"contract,omitempty"` // id, of one by an activation
	Expires  int64       `json:"expires,omitempty"`  // of the activation, Unix seconds
	Finding  string      `json:"finding,omitempty"`  // why servers do not honour it
	Claims   *jwt.Import `json:"claims"`
}

// importList is the output of list imports.
type importList struct {
	Schema  int          `json:"schema"`
	Account string       `json:"account"`
	Imports []importView `json:"imports"`
}

func (b *book) importView(ac *account, im *jwt.Import, now int64) importView {
	v := importView{
		Account: ac.name, Type: im.Type.String(), From: b.account(im.Account), FromKey: im.Account,
		Finding: accounts.ImportFinding(ac.claims, im, b.lookup, now), Claims: im,
	}
	v.Subject, v.Local = accounts.Sides(im)
	if c, err := accounts.ContractOf(im.Token); im.Token != "" && err == nil { // else it is a finding
		c.Exporter, c.Importer, c.Type, c.Subject = im.Account, ac.key, im.Type, v.Subject
		v.Contract, v.Expires = c.ID(), c.Expires
	}
	return v
}

func newListImports(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "imports", Aliases: []string{"import"}, Short: "List what an account imports, from whom, and what servers do not honour",
		Example: `  nsc list imports
  nsc list imports -a shop
  nsc list imports -a shop --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listImports(cmd.Context(), account) },
	}
	accountFlag(cmd, &account)
	return cmd
}

func (a *app) listImports(ctx context.Context, accountName string) error {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return err
	}
	b := r.book()
	list := importList{Schema: api.Schema, Account: ac.name, Imports: []importView{}}
	rows := [][]string{{"SUBJECT", "TYPE", "FROM", "AS", "CONTRACT", "EXPIRES", "FINDING"}}
	for _, im := range ac.claims.Imports {
		if im == nil {
			continue
		}
		v := b.importView(ac, im, s.now)
		list.Imports = append(list.Imports, v)
		ends := "-"
		if v.Contract != "" {
			ends = ending(v.Expires)
		}
		rows = append(rows, []string{v.Subject, v.Type, first(v.From, keys.Short(v.FromKey)), v.Local, first(v.Contract, "-"), ends, v.Finding})
	}
	return a.listed(list, rows, "account "+ac.name+" imports nothing; add an import with: nsc add import --src-account <account> --remote-subject <subject> -a "+shellWords([]string{ac.name}))
}

func newDescribeImport(a *app, o *describeOptions) *cobra.Command {
	var from string
	var service *bool
	cmd := &cobra.Command{
		Use: "import [subject]", Short: "Show an import: from whom, as what, by which contract, and whether servers honour it",
		Example: `  nsc describe import 'orders.*' -a shop
  nsc describe import -a billing
  nsc describe import price.get -a shop --src-account app
  nsc describe import price.get -a shop --json`,
		Args: args(0, 1, "the subject"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = subjectOf(o.name, given); err != nil {
				return err
			}
			return a.describeImport(cmd.Context(), *o, from, accounts.ImportRef{Subject: o.name, Type: kindOf(service)})
		},
	}
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.StringVarP(&o.name, "subject", "s", "", "the exporter's subject (default the only import)")
	f.StringVar(&from, "src-account", "", "name or public key of the account that exports it")
	switchFlag(f, &service, "service", "the service of that subject, or with =false the stream, where there are both")
	return cmd
}

func (a *app) describeImport(ctx context.Context, o describeOptions, from string, at accounts.ImportRef) error {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	if from != "" {
		if at.Account, err = r.accountKey(from); err != nil {
			return err
		}
	}
	im, err := at.Find(ac.claims)
	if err != nil {
		return nearImport(err, ac.claims, at.Subject)
	}
	v := r.book().importView(ac, im, s.now)
	v.Schema = api.Schema
	p := &page{long: a.long(o)}
	p.title("%s import %s in %s", v.Type, v.Subject, ac.name)
	p.fact("from", p.key(v.From, v.FromKey))
	p.fact("as", v.Local)
	if v.Contract != "" {
		p.fact("contract", v.Contract+", "+until(v.Expires))
	}
	if im.Name != v.Subject {
		p.fact("name", im.Name)
	}
	if im.Share {
		p.fact("shares", "who asks, for the exporter's measurements of latency")
	}
	if im.AllowTrace {
		p.fact("traced", "in this account as well")
	}
	p.fact("finding", v.Finding)
	return a.view(o, v, v.Subject, p)
}

// nearImport adds to the error of an import that is not there the one that was
// meant.
func nearImport(err error, ac *jwt.AccountClaims, subject string) error {
	var subjects []string
	for _, im := range ac.Imports {
		if im != nil {
			subjects = append(subjects, string(im.Subject))
		}
	}
	return withNearest(err, subject, subjects)
}
