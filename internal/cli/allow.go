package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

func newAllow(a *app) *cobra.Command {
	cmd := group("allow", "Let others make accounts whose keys you do not hold")
	cmd.AddCommand(newAllowAccount(a))
	return cmd
}

// allowOptions are the flags of allow account.
type allowOptions struct {
	list, remove bool
}

func newAllowAccount(a *app) *cobra.Command {
	var o allowOptions
	cmd := &cobra.Command{
		Use:   "account <public key>",
		Short: "Let who holds an account's key make that account",
		Long: `Let who holds the key of an account make that account: the tool of the tenant, ours
or the official one, posts it signed by its own key over HTTP. The tenant decides
what is its own; limits, name, tags and expiry are the operator's. With a key
delegated to accountd it is in force at once, without one it waits: nsc proposals.

--rm takes it back until the account is made; an account that exists stays.`,
		Example: `  nsc allow account ABL6…
  nsc allow account --list
  nsc allow account ABL6… --rm
  nsc allow account --list --json`,
		Args: args(0, 1, "the account's public key"),
		RunE: func(cmd *cobra.Command, given []string) error {
			switch {
			case o.list && (o.remove || len(given) > 0):
				return usage("--list stands alone")
			case o.list:
				return a.listOpen(cmd.Context(), api.KindPermit)
			case len(given) == 0:
				return usage("name the account's public key").WithHint("see what is allowed with: nsc allow account --list")
			}
			return a.allowAccount(cmd.Context(), given[0], o.remove)
		},
	}
	cmd.Flags().BoolVar(&o.list, "list", false, "list the accounts that are allowed and not made yet")
	cmd.Flags().BoolVar(&o.remove, "rm", false, "allow it no more")
	return cmd
}

func (a *app) allowAccount(ctx context.Context, key string, remove bool) error {
	if looksSecret(key) {
		return usage("a seed does not belong on the command line; name the public key")
	}
	if _, err := keys.ParseAccount(key); err != nil {
		return err
	}
	message := fmt.Sprintf("account %s may be made by who holds its key", key)
	if remove {
		message = fmt.Sprintf("account %s may not be made", key)
	}
	return a.ask(ctx, message, func(ctx context.Context, c *api.Client, by claims.Signer, request string) (*api.Error, error) {
		reply, err := c.Allow(ctx, by, api.AllowRequest{Account: key, Remove: remove, Host: a.env.Host, Request: request})
		return reply.Error, err
	})
}

// ask sends one signed request that has no more to tell than that it was done.
func (a *app) ask(ctx context.Context, message string, send func(ctx context.Context, c *api.Client, by claims.Signer, request string) (*api.Error, error)) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	if s.flags.dryRun {
		return a.say(confirmation{Outcome: outcomeDry, Message: message})
	}
	c, err := s.client(ctx, r)
	if err != nil {
		return err
	}
	by, err := s.accountSigner(r, "")
	if err != nil {
		return err
	}
	ctx, end := s.patience(ctx)
	defer end()
	refused, err := send(ctx, c, by, keys.Nonce())
	if err == nil {
		err = refused.Fault()
	}
	if err != nil {
		return err
	}
	return a.say(confirmation{Outcome: api.OutcomePut, Message: message})
}

// confirmation is the result of what has no more to tell than that it was done.
type confirmation struct {
	Schema  int    `json:"schema"`
	Outcome string `json:"outcome"` // committed or dry-run
	Message string `json:"message"`
}

func (a *app) say(what confirmation) error {
	if what.Schema = api.Schema; a.flags.json {
		return a.printStructured(what)
	}
	fmt.Fprintln(a.env.Stdout, what.Message)
	if what.Outcome == outcomeDry {
		fmt.Fprintln(a.env.Stdout, "dry run: nothing was changed")
	}
	return nil
}

// openItem is one line of what waits or is allowed.
type openItem struct {
	Key  string `json:"key"`
	Name string `json:"name,omitempty"`
	ID   string `json:"jti,omitempty"`
	At   int64  `json:"at"` // Unix seconds
	Size int    `json:"size,omitempty"`
}

// listOpen prints all that is open of a kind.
func (a *app) listOpen(ctx context.Context, kind string) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	c, err := s.client(ctx, r)
	if err != nil {
		return err
	}
	out := struct {
		Schema int        `json:"schema"`
		Items  []openItem `json:"items"`
	}{api.Schema, []openItem{}}
	for more, after := true, ""; more; {
		page, err := s.page(ctx, c, api.ListRequest{Kind: kind, After: after})
		if err != nil {
			return err
		}
		for _, v := range page.Accounts {
			after = v.Key
			out.Items = append(out.Items, openItem{Key: v.Key, Name: v.Name, ID: v.ID, At: v.At.Unix(), Size: v.Size})
		}
		more = page.More
	}
	if a.flags.json {
		return a.printStructured(out)
	}
	rows := [][]string{{"NAME", "KEY", "SINCE"}}
	for _, it := range out.Items {
		rows = append(rows, []string{first(it.Name, "-"), it.Key, clock(it.At)})
	}
	return printTable(a.env.Stdout, rows)
}
