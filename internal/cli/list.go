package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// listOptions are the flags of list operators, accounts and users.
type listOptions struct {
	json              bool
	operator, account string
	deleted           bool // what accountd keeps of deleted accounts
}

// entry is one line of a list. Its JSON has the official form.
type entry struct {
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`

	current bool
	cells   []string // more columns
	err     error    // why nothing more is known
}

func newList(a *app) *cobra.Command {
	cmd := group("list", "List operators, accounts, users, what accounts share, roles, fleets, plans and keys")
	cmd.AddCommand(newListOperators(a), newListAccounts(a), newListUsers(a), newListKeys(a), newListFleets(a), newListRoles(a), newListPlans(a), newListGroups(a),
		newListExports(a), newListImports(a), newListMappings(a), newListSigningKeys(a))
	for _, c := range cmd.Commands() {
		if c.Flags().Lookup("json") == nil {
			officialJSON(c, &a.flags.json)
		}
	}
	return cmd
}

// officialJSON adds --json/-J, which prints what the official tool prints, to
// stdout.
func officialJSON(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVarP(to, "json", "J", false, "print as JSON")
}

func newListOperators(a *app) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use: "operators", Aliases: []string{"operator"}, Short: "List the operators of the store",
		Example: `  nsc list operators
  nsc list operators --json
  nsc list operators --data-dir ./stores`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listOperators(cmd.Context(), o) },
	}
	officialJSON(cmd, &o.json)
	return cmd
}

func newListAccounts(a *app) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use: "accounts", Aliases: []string{"account"}, Short: "List the accounts of an operator",
		Example: `  nsc list accounts
  nsc list accounts -o acme
  nsc list accounts --deleted
  nsc list accounts --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listAccounts(cmd.Context(), o) },
	}
	cmd.Flags().BoolVar(&o.deleted, "deleted", false, "list the deleted accounts that accountd can bring back")
	officialJSON(cmd, &o.json)
	a.longOutput(cmd)
	cmd.Flags().StringVarP(&o.operator, "operator", "o", "", "operator to look at (default the current one, which stays)")
	return cmd
}

func newListUsers(a *app) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use: "users", Aliases: []string{"user"}, Short: "List the users of an account",
		Example: `  nsc list users
  nsc list users -a app
  nsc list users -o acme -a app --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listUsers(cmd.Context(), o) },
	}
	officialJSON(cmd, &o.json)
	a.longOutput(cmd)
	cmd.Flags().StringVarP(&o.operator, "operator", "o", "", "operator to look at (default the current one, which stays)")
	accountFlag(cmd, &o.account)
	return cmd
}

func (a *app) listOperators(ctx context.Context, o listOptions) error {
	s, err := a.session()
	if err != nil {
		return err
	}
	names, err := s.store.Operators()
	if err != nil {
		return err
	}
	current := s.context.Operator
	var list []entry
	for _, name := range names {
		e := entry{Name: name, current: name == current}
		s.context.Operator = name
		r, err := s.root(ctx)
		if err != nil {
			e.err = err
		} else {
			accounts, _ := r.Accounts()
			e.PublicKey = r.doc.Subject
			e.cells = []string{fmt.Sprint(len(accounts)), first(r.claims.AccountServerURL, "none")}
		}
		list = append(list, e)
	}
	return a.printList(list, o.json, "no operator in "+s.context.StoreRoot+"; create one with: nsc add operator <name>", "ACCOUNTS", "ACCOUNT SERVER")
}

// at opens the operator that --operator names, for reading: the remembered one
// stays.
func (s *session) at(ctx context.Context, operatorName string) (*root, error) {
	if operatorName != "" && operatorName != s.context.Operator {
		s.context.Operator, s.context.Account = operatorName, ""
	}
	return s.root(ctx)
}

func (a *app) listAccounts(ctx context.Context, o listOptions) error {
	s, r, err := a.operatorAt(ctx, o.operator)
	if err != nil {
		return err
	}
	if o.deleted {
		return s.listDeleted(ctx, r, o)
	}
	names, err := r.Accounts()
	if err != nil {
		return err
	}
	var list []entry
	for _, name := range names {
		e := entry{Name: name, current: name == s.context.Account}
		ac, err := r.load(name)
		if err != nil {
			e.err = err
		} else {
			e.PublicKey, e.cells = ac.key, s.accountCells(r, ac)
		}
		list = append(list, e)
	}
	return a.printList(list, o.json, "operator "+r.Name()+" has no account; create one with: nsc add account <name>",
		"NAMESPACE", "USERS", "JETSTREAM", "EXPIRES", "")
}

// listDeleted lists what accountd keeps of deleted accounts.
func (s *session) listDeleted(ctx context.Context, r *root, o listOptions) error {
	c, err := s.client(ctx, r)
	if err != nil {
		return err
	}
	versions, err := s.versions(ctx, c)
	if err != nil {
		return err
	}
	var list []entry
	for _, v := range versions {
		if v.Deleted {
			list = append(list, entry{Name: v.Name, PublicKey: v.Key, cells: []string{clock(v.At.Unix()), fmt.Sprint(v.Revision)}})
		}
	}
	slices.SortStableFunc(list, func(x, y entry) int { return strings.Compare(x.Name, y.Name) })
	return s.printList(list, o.json, "no account of operator "+r.Name()+" was deleted", "DELETED", "REVISION")
}

func (s *session) accountCells(r *root, ac *account) []string {
	users, _ := r.Users(ac.name)
	js, note := "no", ""
	if ac.claims.Limits.IsJSEnabled() {
		js = "yes"
	}
	if r.sysOf(ac) {
		note = "system account"
	}
	if accounts.Suspended(ac.claims) {
		note = "suspended"
	}
	if r.unpublished(ac) != nil {
		note = strings.TrimPrefix(note+", not published", ", ")
	}
	return []string{namespaceText(ac.claims), fmt.Sprint(len(users)), js, s.ends(ac.doc), note}
}

// ends says when a claim ends, for a column.
func (s *session) ends(doc *claims.Document) string {
	if doc.Expires != 0 && doc.Expires <= s.now {
		return "expired " + clock(doc.Expires)
	}
	return ending(doc.Expires)
}

func (a *app) listUsers(ctx context.Context, o listOptions) error {
	s, r, err := a.operatorAt(ctx, o.operator)
	if err != nil {
		return err
	}
	ac, err := s.account(r, o.account)
	if err != nil {
		return err
	}
	names, err := r.Users(ac.name)
	if err != nil {
		return err
	}
	var list []entry
	for _, name := range names {
		e := entry{Name: name}
		doc, err := r.user(ac.name, name)
		if err != nil {
			e.err = err
		} else {
			e.PublicKey = doc.Subject
			e.cells = []string{first(roleName(ac.claims, doc.Issuer), "none"), s.ends(doc), r.userTrouble(ac, doc)}
		}
		list = append(list, e)
	}
	return a.printList(list, o.json, "account "+ac.name+" has no user; add one with: nsc add user <name> -a "+shellWords([]string{ac.name}),
		"ROLE", "EXPIRES", "")
}

// roleName returns the role of a signing key, the key itself for a role
// without a name, "" for none.
func roleName(ac *jwt.AccountClaims, key string) string {
	if scope, ok := ac.SigningKeys[key].(*jwt.UserScope); ok && scope != nil {
		return first(scope.Role, key)
	}
	return ""
}

// userTrouble says why servers refuse a user, whatever its times, "" if they do
// not.
func (r *root) userTrouble(ac *account, doc *claims.Document) string {
	switch {
	case doc.IssuedAt < issueFloor(ac, doc.Subject):
		if w := r.unpublished(ac); w != nil && !w.refused(doc.Subject, doc.IssuedAt) {
			return "revoked, " + notPublished
		}
		return "revoked"
	case doc.Issuer != ac.key && !ac.claims.SigningKeys.Contains(doc.Issuer):
		return "refused: its signing key is gone"
	}
	return ""
}

// printList prints entries as a table with names first, or in the official
// JSON. A claim that cannot be read is shown, and is the error in the end.
func (a *app) printList(list []entry, asJSON bool, none string, columns ...string) error {
	var failed error
	for _, e := range list {
		if e.err != nil && failed == nil {
			failed = e.err
		}
	}
	if list == nil {
		list = []entry{}
	}
	if done, err := a.structured(list, asJSON); done {
		return firstErr(err, failed)
	}
	if a.flags.output == "name" {
		for _, e := range list {
			fmt.Fprintln(a.env.Stdout, e.Name)
		}
		return failed
	}
	if len(list) == 0 {
		fmt.Fprintln(a.env.Stderr, none)
		return nil
	}
	rows := [][]string{append([]string{"  NAME", "PUBLIC KEY"}, columns...)}
	for _, e := range list {
		mark := "  "
		if e.current {
			mark = "* "
		}
		row := append([]string{mark + e.Name, e.PublicKey}, e.cells...)
		if e.err != nil {
			row = []string{mark + e.Name, "cannot be read: " + e.err.Error()}
		}
		rows = append(rows, row)
	}
	return firstErr(printTable(a.env.Stdout, rows), failed)
}

// listed prints what a list of ours found: v as JSON or YAML, what is in the first
// column, or rows as a table below its header; none is said where there is
// nothing.
func (a *app) listed(v any, rows [][]string, none string) error {
	switch {
	case a.flags.json:
		return a.printStructured(v)
	case a.flags.output == "name":
		var last string
		for _, row := range rows[1:] {
			if row[0] != last {
				fmt.Fprintln(a.env.Stdout, row[0])
			}
			last = row[0]
		}
		return nil
	case len(rows) == 1:
		fmt.Fprintln(a.env.Stderr, none)
		return nil
	}
	return printTable(a.env.Stdout, rows)
}

// structured prints v if JSON or YAML is wanted.
func (a *app) structured(v any, asJSON bool) (bool, error) {
	switch {
	case a.flags.output == "yaml":
		return true, printYAML(a.env.Stdout, v)
	case asJSON || a.flags.json:
		return true, officialIndent(a.env.Stdout, v)
	}
	return false, nil
}

// longOutput adds --output to a command whose -o means something else.
func (a *app) longOutput(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.flags.output, "output", "", "table, wide, json, yaml or name")
}

func firstErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// printTable aligns rows in columns.
func printTable(w io.Writer, rows [][]string) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return fault.New(fault.Internal, "write the list: %w", err)
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return fault.New(fault.Internal, "write the list: %w", err)
		}
	}
	return nil
}
