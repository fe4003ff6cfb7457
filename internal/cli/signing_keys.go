package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
)

// signingKeyList is the output of list signing-keys.
type signingKeyList struct {
	Schema  int        `json:"schema"`
	Account string     `json:"account"`
	Keys    []roleView `json:"keys"`
}

func newListSigningKeys(a *app) *cobra.Command {
	var account string
	var all bool
	cmd := &cobra.Command{
		Use: "signing-keys", Aliases: []string{"signing-key"}, Short: "List the signing keys of an account, with and without a role",
		Long: `List the signing keys of an account. The keys of a fleet are one line, unless all
are asked for.`,
		Example: `  nsc list signing-keys
  nsc list signing-keys -a app
  nsc list signing-keys -a app --all
  nsc list signing-keys -a app --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listSigningKeys(cmd.Context(), account, all) },
	}
	accountFlag(cmd, &account)
	cmd.Flags().BoolVarP(&all, "all", "A", false, "each key of a fleet")
	return cmd
}

func (a *app) listSigningKeys(ctx context.Context, accountName string, all bool) error {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return err
	}
	signed, err := r.signers(ac.name)
	if err != nil {
		return err
	}
	list := signingKeyList{Schema: api.Schema, Account: ac.name, Keys: []roleView{}}
	rows := [][]string{{"KEY", "ROLE", "USERS", "SEED"}}
	of := fleetsByKey(ac)
	if all || a.flags.json || a.flags.output == "name" {
		of = nil
	}
	folded := map[string]*seedCount{}
	plain, roles := signingKeys(ac.claims)
	for _, c := range append(plain, roles...) {
		v := s.roleView(ac, c.key, signed)
		list.Keys = append(list.Keys, v)
		name, isFleet := of[c.key]
		if !isFleet {
			rows = append(rows, []string{c.key, first(c.role, "-"), fmt.Sprint(len(v.Users)), seedHere(v.Seed)})
			continue
		}
		if folded[name] == nil {
			folded[name] = &seedCount{}
		}
		folded[name].add(v.Seed)
	}
	for _, name := range sortedNames(folded) {
		rows = append(rows, []string{count(folded[name].keys, "key") + "; see them with --all", "fleet " + name, "-", folded[name].text("here")})
	}
	return a.listed(list, rows, "account "+ac.name+" has no signing key; add one with: nsc edit account --sk generate -n "+shellWords([]string{ac.name}))
}

// fleetsByKey returns the fleets of an account by their keys.
func fleetsByKey(ac *account) map[string]string {
	out := map[string]string{}
	for _, f := range fleet.All(ac.claims) {
		for _, k := range f.Keys(ac.claims) {
			out[k.Public] = f.Name
		}
	}
	return out
}

// seedCount counts keys, and those of them whose seeds are in the keystore.
type seedCount struct{ keys, seeds int }

func (c *seedCount) add(here bool) {
	c.keys++
	if here {
		c.seeds++
	}
}

// text says where the seeds are; here is the word for all of them.
func (c *seedCount) text(here string) string {
	switch c.seeds {
	case c.keys:
		return here
	case 0:
		return "not here"
	}
	return fmt.Sprintf("%d of %d %s", c.seeds, c.keys, here)
}

func newDescribeSigningKey(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "signing-key <role or key>", Short: "Show a signing key of an account: its role, its users, and where its seed is",
		Example: `  nsc describe signing-key sensor -a app
  nsc describe signing-key -n sensor -a app
  nsc describe signing-key sensor -a app --json`,
		Args: args(0, 1, "the key"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the key, or the role of one,"); err != nil {
				return err
			}
			return a.describeRole(cmd.Context(), *o, keyToRemove)
		},
	}
	nameFlag(cmd, &o.name, "role or public key of the signing key")
	accountFlag(cmd, &o.account)
	return cmd
}
