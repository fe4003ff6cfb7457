package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/keys"
)

// roleView is a role as JSON shows it.
type roleView struct {
	Schema      int                       `json:"schema,omitempty"`
	Name        string                    `json:"name"`
	Account     string                    `json:"account"`
	Key         string                    `json:"key"`
	Description string                    `json:"description,omitempty"`
	Template    *jwt.UserPermissionLimits `json:"template,omitempty"` // nil for a signing key without a role
	Reach       *accounts.Reach           `json:"reach,omitempty"`
	Users       []string                  `json:"users"` // of this store
	Seed        bool                      `json:"seed"`  // is in the keystore
}

// roleList is the output of list roles.
type roleList struct {
	Schema  int        `json:"schema"`
	Account string     `json:"account"`
	Roles   []roleView `json:"roles"`
}

// roleView describes the role of a signing key, or a key without one; signed are
// the users of this store by the keys that signed them.
func (s *session) roleView(ac *account, key string, signed map[string][]string) roleView {
	v := roleView{Name: key, Account: ac.name, Key: key, Users: append([]string{}, signed[key]...), Seed: s.store.Keystore().HasSeed(key)}
	if role := accounts.RoleOf(ac.claims, key); role != nil {
		reach := accounts.ReachOf(ac.claims, role.Template)
		v.Name, v.Description, v.Template, v.Reach = first(role.Role, key), role.Description, &role.Template, &reach
	}
	return v
}

// signers returns the users of an account by the keys that signed them.
func (r *root) signers(account string) (map[string][]string, error) {
	out := map[string][]string{}
	names, err := r.Users(account)
	for _, name := range names {
		if doc, err := r.user(account, name); err == nil { // one that cannot be read has no role
			out[doc.Issuer] = append(out[doc.Issuer], name)
		}
	}
	return out, err
}

func newListRoles(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "roles", Aliases: []string{"role"}, Short: "List the roles of an account, but for those of its fleets and enrolment groups",
		Example: `  nsc list roles
  nsc list roles -a app
  nsc list roles -a app --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listRoles(cmd.Context(), account) },
	}
	accountFlag(cmd, &account)
	return cmd
}

func (a *app) listRoles(ctx context.Context, accountName string) error {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return err
	}
	signed, err := r.signers(ac.name)
	if err != nil {
		return err
	}
	list := roleList{Schema: api.Schema, Account: ac.name, Roles: []roleView{}}
	rows := [][]string{{"NAME", "KEY", "USERS", "SEED", "PUBLISH", "SUBSCRIBE"}}
	groups := map[string]bool{}
	for _, g := range fleet.Groups(ac.claims) {
		groups[g.Public] = true
	}
	_, roles := signingKeys(ac.claims)
	for _, c := range roles {
		if _, is := fleetOf(ac, c.key); is || groups[c.key] {
			continue
		}
		v := s.roleView(ac, c.key, signed)
		list.Roles = append(list.Roles, v)
		rows = append(rows, []string{v.Name, keys.Short(v.Key), fmt.Sprint(len(v.Users)), seedHere(v.Seed), allowedText(v.Template.Pub), allowedText(v.Template.Sub)})
	}
	return a.listed(list, rows, "account "+ac.name+" has no role; add one with: nsc add role <name> --template device -a "+shellWords([]string{ac.name}))
}

// allowedText is one column of permissions.
func allowedText(p jwt.Permission) string {
	switch {
	case len(p.Allow) > 0:
		return strings.Join(p.Allow, " ")
	case p.Deny.Contains(">"):
		return "nothing"
	}
	return "as the account says"
}

func newDescribeRole(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "role <name>", Short: "Show a role: what its users may do, who they are, and what a thief of its key could do",
		Example: `  nsc describe role sensor -a app
  nsc describe role -n sensor
  nsc describe role sensor -a app --json`,
		Args: args(0, 1, "the role's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the role's name"); err != nil {
				return err
			}
			return a.describeRole(cmd.Context(), *o, roleNamed)
		},
	}
	nameFlag(cmd, &o.name, "name of the role, or its public key")
	accountFlag(cmd, &o.account)
	return cmd
}

// describeRole shows the signing key that find finds by its role or itself.
func (a *app) describeRole(ctx context.Context, o describeOptions, find func(ac *account, name string) (string, error)) error {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	key, err := find(ac, o.name)
	if err != nil {
		return err
	}
	signed, err := r.signers(ac.name)
	if err != nil {
		return err
	}
	v := s.roleView(ac, key, signed)
	v.Schema = api.Schema
	p := &page{}
	if v.Template == nil {
		p.title("signing key %s of %s", v.Key, v.Account)
		p.fact("may", "what its users say themselves: it has no role")
	} else {
		p.title("role %s in %s  %s", v.Name, v.Account, v.Key)
		p.fact("description", v.Description)
		p.facts("may", userLimitLines(*v.Template))
		p.facts("reach", reachLines(*v.Reach))
	}
	p.fact("users", listText(v.Users))
	p.fact("seed", seedText(v.Seed))
	return a.view(o, v, v.Name, p)
}
