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
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func newContracts(a *app) *cobra.Command {
	cmd := group("contracts", "Show, renew and close what accounts share by agreement")
	cmd.AddCommand(newContractsList(a), newContractsShow(a), newContractsRenew(a), newContractsClose(a))
	return cmd
}

func newContractsList(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the contracts between accounts, and what was offered",
		Long: `List what one account lets one other import, as the claims of the local store have
it: private exports that are imported by an activation, and offers. -a names an
account whose contracts are wanted, of either side.`,
		Example: `  nsc contracts list
  nsc contracts list -a coke
  nsc contracts list --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listContracts(cmd.Context(), account) },
	}
	cmd.Flags().StringVarP(&account, "account", "a", "", "only contracts of this account, by name or public key")
	return cmd
}

func newContractsShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show <id>",
		Short: "Show one contract",
		Example: `  nsc contracts show dwr2nkmu
  nsc contracts show dwr2
  nsc contracts show dwr2nkmu --json`,
		Args: args(1, 1, "the contract's id"),
		RunE: func(cmd *cobra.Command, given []string) error { return a.showContract(cmd.Context(), given[0]) },
	}
}

// contract is a contract in JSON.
type contract struct {
	ID      string                 `json:"id"`
	State   accounts.ContractState `json:"state"`
	Reason  string                 `json:"reason,omitempty"`
	Type    string                 `json:"type"` // stream or service
	From    string                 `json:"from,omitempty"`
	FromKey string                 `json:"from_key"`
	Subject string                 `json:"subject"`
	To      string                 `json:"to,omitempty"`
	ToKey   string                 `json:"to_key"`
	Local   string                 `json:"local_subject,omitempty"`
	Issued  int64                  `json:"issued,omitempty"`  // Unix seconds
	Expires int64                  `json:"expires,omitempty"` // Unix seconds
	Onward  []string               `json:"onward,omitempty"`
}

// contracts are those that the local store knows of.
type contracts struct {
	all   []accounts.Contract
	known accountsByKey
}

func (r *root) contracts(now int64) (contracts, error) {
	known, err := r.readAccounts()
	if err != nil {
		return contracts{}, err
	}
	offers, err := r.Offers()
	if err != nil {
		return contracts{}, err
	}
	var list []*jwt.AccountClaims
	for _, key := range sortedNames(known) {
		list = append(list, known[key])
	}
	return contracts{accounts.Contracts(list, offers, known.lookup, now), known}, nil
}

// find returns the contract that an id, or the beginning of one, names.
func (cs contracts) find(id string) (accounts.Contract, error) {
	var found []accounts.Contract
	for _, c := range cs.all {
		if strings.HasPrefix(c.ID(), strings.ToLower(id)) && id != "" {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return accounts.Contract{}, fault.New(fault.NotFound, "no contract %q in the local store", id).About("contract", id).
			WithHint("list them with: nsc contracts list")
	}
	return accounts.Contract{}, usage("%d contracts begin with %q", len(found), id).WithHint("list them with: nsc contracts list")
}

func (cs contracts) name(key string) string {
	if ac := cs.known[key]; ac != nil {
		return ac.Name
	}
	return ""
}

// word is the name of an account, or its key in short.
func (cs contracts) word(key string) string { return first(cs.name(key), keys.Short(key)) }

// text is a contract in one line.
func (cs contracts) text(c accounts.Contract) string {
	line := fmt.Sprintf("contract %s: %s %s of %s for %s", c.ID(), c.Type, c.Subject, cs.word(c.Exporter), cs.word(c.Importer))
	if c.Local != "" {
		line += " as " + c.Local
	}
	return line
}

func (cs contracts) json(c accounts.Contract) *contract {
	return &contract{
		ID: c.ID(), State: c.State, Reason: c.Reason, Type: c.Type.String(), From: cs.name(c.Exporter), FromKey: c.Exporter, Subject: c.Subject,
		To: cs.name(c.Importer), ToKey: c.Importer, Local: c.Local, Issued: c.Issued, Expires: c.Expires, Onward: c.Onward,
	}
}

// openContracts opens the store and reads the contracts of its operator.
func (a *app) openContracts(ctx context.Context) (s *session, r *root, cs contracts, err error) {
	if s, r, err = a.operator(ctx); err == nil {
		cs, err = r.contracts(s.now)
	}
	return s, r, cs, err
}

func (a *app) listContracts(ctx context.Context, of string) error {
	_, r, cs, err := a.openContracts(ctx)
	if err != nil {
		return err
	}
	if of != "" {
		key, err := r.accountKey(of)
		if err != nil {
			return err
		}
		cs.all = slices.DeleteFunc(cs.all, func(c accounts.Contract) bool { return c.Exporter != key && c.Importer != key })
	}
	return a.printContracts(cs)
}

func (a *app) printContracts(cs contracts) error {
	if a.flags.json {
		out := struct {
			Schema    int         `json:"schema"`
			Contracts []*contract `json:"contracts"`
		}{api.Schema, []*contract{}}
		for _, c := range cs.all {
			out.Contracts = append(out.Contracts, cs.json(c))
		}
		return a.printStructured(out)
	}
	rows := [][]string{{"ID", "STATE", "FROM", "TYPE", "SUBJECT", "TO", "AS", "EXPIRES"}}
	for _, c := range cs.all {
		if a.flags.output == "name" {
			fmt.Fprintln(a.env.Stdout, c.ID())
			continue
		}
		rows = append(rows, []string{c.ID(), string(c.State), cs.word(c.Exporter), c.Type.String(), c.Subject, cs.word(c.Importer), first(c.Local, "-"), ending(c.Expires)})
	}
	if len(cs.all) == 0 {
		fmt.Fprintln(a.env.Stderr, "no contracts; offer one with: nsc offer --from <account> --to <account> --subject <subject>")
	}
	if len(rows) == 1 {
		return nil
	}
	return printTable(a.env.Stdout, rows)
}

func (a *app) showContract(ctx context.Context, id string) error {
	_, _, cs, err := a.openContracts(ctx)
	if err != nil {
		return err
	}
	c, err := cs.find(id)
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.printStructured(struct {
			Schema int `json:"schema"`
			*contract
		}{api.Schema, cs.json(c)})
	}
	p := &page{long: a.flags.output == "wide"}
	p.title("contract %s", c.ID())
	p.fact("state", strings.TrimSuffix(string(c.State)+", "+c.Reason, ", "))
	p.fact("from", p.key(cs.name(c.Exporter), c.Exporter)+"  "+c.Type.String()+" "+c.Subject)
	p.fact("to", strings.TrimSuffix(p.key(cs.name(c.Importer), c.Importer)+"  as "+c.Local, "  as "))
	p.fact("issued", clock(c.Issued))
	p.fact("expires", ending(c.Expires))
	for _, ex := range c.Onward {
		p.fact("passed on", cs.word(c.Importer)+" exports it as "+ex)
	}
	return a.view(describeOptions{}, nil, c.ID(), p)
}

// activate signs the activation of a contract with a key of its exporter ac,
// whose claims are ac.claims.
func (s *session) activate(r *root, ac *account, c accounts.Contract) (accounts.Contract, error) {
	space, err := accounts.RequireNamespace(ac.claims)
	if err != nil {
		space = "" // the importer will have to choose
	}
	doc, err := s.activation(r, ac, generateActivationOptions{
		subject: c.Subject, target: c.Importer, expires: &c.Expires, kind: c.Type, space: space,
	})
	if err != nil {
		return c, err
	}
	next, err := accounts.ContractOf(doc.Token)
	next.Local = c.Local
	return next, err
}

// keepOffer stores the activation of a contract beside the accounts.
func (s *session) keepOffer(ctx context.Context, r *root, c accounts.Contract) error {
	return s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error { return tx.PutOffer(c.Exporter, c.ID(), c.Token) })
}

// about completes the receipt of a change that a contract is about.
func (r *receipt) about(cs contracts, c accounts.Contract, what string) {
	r.Contract = cs.json(c)
	r.Title = strings.TrimSpace(what + " " + cs.text(c))
	if r.Revision > 0 {
		r.Title += "  " + revision(r.Revision)
	}
}

// handOverContract says how the importer gets the activation: here, or by a
// file or link for somebody else.
func (a *app) handOverContract(cs contracts, c accounts.Contract, file string, rec *receipt) error {
	if file != "" && !a.flags.dryRun {
		data, err := jwt.DecorateJWT(c.Token)
		if err != nil {
			return fault.New(fault.Internal, "format the JWT: %w", err)
		}
		if err := a.write(file, data); err != nil {
			return err
		}
	}
	if rec.JWT = c.Token; a.flags.dryRun {
		rec.JWT = ""
		return nil
	}
	switch {
	case file != "":
		rec.Lines = append(rec.Lines, "written to "+file+"; the other side accepts it with: nsc accept "+shellWords([]string{file}))
	case cs.known[c.Importer] != nil:
		rec.Lines = append(rec.Lines, "accept it with: nsc accept "+c.ID())
	default:
		rec.Lines = append(rec.Lines, "the other side accepts it with: nsc accept "+c.Token)
	}
	return nil
}
