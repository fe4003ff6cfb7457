package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

func newEditRole(a *app) *cobra.Command {
	var o roleOptions
	cmd := &cobra.Command{
		Use:   "role <name>",
		Short: "Change what the users of a role may do",
		Long: `Change a role, for all of its users at once: servers close their connections, which
come back under the new permissions. Flags that are not given leave what they name
as it is; --template puts other permissions in the place of all.`,
		Example: `  nsc edit role sensor -a app --allow-sub 'news.>'
  nsc edit role sensor -a app --template device --by key
  nsc edit role sensor -a app --role meter --description 'meters in the field'
  nsc edit role sensor -a app --rm 'data.>' --confine --dry-run`,
		Args: args(0, 1, "the role's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the role's name"); err != nil {
				return err
			}
			if err := nothingGiven(cmd, "account", "name"); err != nil {
				return err
			}
			return a.finish(a.editNamedRole(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "name of the role, or its public key")
	roleFlags(cmd, &o)
	textFlag(cmd.Flags(), &o.edit.Role, "role", "another name for the role")
	return cmd
}

func (a *app) editNamedRole(ctx context.Context, o roleOptions) (*receipt, error) {
	if err := o.resolve(); err != nil {
		return nil, err
	}
	if o.edit.Role != nil {
		if err := accounts.CheckRoleName(*o.edit.Role); err != nil {
			return nil, err
		}
	}
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	if o.edit.Key, err = roleNamed(ac, o.name); err != nil {
		return nil, err
	}
	if err := notOfFleet(ac, o.edit.Key); err != nil {
		return nil, err
	}
	rec, err := s.changeRole(ctx, r, ac, o, newKey{public: o.edit.Key})
	if rec != nil && rec.Sent {
		rec.Lines = append(rec.Lines, "servers closed the connections of its users, which come back under the new permissions")
	}
	return rec, err
}

// roleNamed returns the signing key of a role.
func roleNamed(ac *account, name string) (string, error) {
	key, err := keyToRemove(ac, name)
	if err == nil && accounts.RoleOf(ac.claims, key) == nil {
		err = fault.New(fault.NotFound, "signing key %s of account %q has no role", name, ac.name).About("role", name).
			WithHint("make a role of it with: nsc edit signing-key %s --role <name>", shellWords([]string{name, "-a", ac.name}))
	}
	return key, err
}

// roleArgOptions name a role.
type roleArgOptions struct{ name, account string }

func newDeleteRole(a *app) *cobra.Command {
	var o roleArgOptions
	cmd := &cobra.Command{
		Use:   "role <name>",
		Short: "Delete a role, and refuse what its key signed",
		Long: `Delete a role with its signing key: users that it signed are cut and refused, and
the key never comes back. A person is asked; without a terminal, --yes is needed.`,
		Example: `  nsc delete role sensor -a app --yes
  nsc delete role sensor -a app --dry-run
  nsc delete role sensor -a app`,
		Args: args(0, 1, "the role's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the role's name"); err != nil {
				return err
			}
			return a.finish(a.deleteRole(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "name of the role, or its public key")
	accountFlag(cmd, &o.account)
	return cmd
}

func (a *app) deleteRole(ctx context.Context, o roleArgOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	key, err := roleNamed(ac, o.name)
	if err != nil {
		return nil, err
	}
	for _, g := range fleet.Groups(ac.claims) {
		if g.Public == key {
			return nil, fault.New(fault.Denied, "the role %q is that of the enrolment group %q", o.name, g.Name).About("role", o.name).ByRule("fleet-key").
				WithHint("close the group with: nsc delete enrollment-group %s -a %s", g.Name, shellWords([]string{ac.name}))
		}
	}
	if f, ok := fleetOf(ac, key); ok {
		return nil, fault.New(fault.Denied, "the role %q is that of a key of fleet %q", o.name, f.Name).About("role", o.name).ByRule("cohort-key").
			WithHint("give the cohort another key with: nsc edit fleet %s -a %s --roll, or retire it with: nsc edit account --rm-sk", f.Name, shellWords([]string{ac.name}))
	}
	users, err := r.signedBy(ac.name, func(issuer string) bool { return issuer == key })
	if err != nil {
		return nil, err
	}
	loss := fmt.Sprintf("what the key of role %s signed is refused for ever, with %s of this store", o.name, count(len(users), "user"))
	if err := a.confirm(loss, o.name); err != nil {
		return nil, err
	}
	return s.runEditAccount(ctx, r, ac, editAccountOptions{edit: accounts.Edit{RemoveKeys: []string{key}}}, nil)
}

// notOfFleet refuses to change a single key of a fleet: what its devices may do
// is one thing for all of them, and its tokens may do nothing but enrol.
func notOfFleet(ac *account, key string) error {
	for _, g := range fleet.Groups(ac.claims) {
		if g.Public == key {
			return fault.New(fault.Denied, "the signing key %s makes tokens of the enrolment group %q, which may do nothing but enrol", keys.Short(key), g.Name).
				About("enrollment-group", g.Name).ByRule("fleet-key").WithHint("make a role for others with: nsc add role <name> -a %s", shellWords([]string{ac.name}))
		}
	}
	f, ok := fleetOf(ac, key)
	if !ok {
		return nil
	}
	return fault.New(fault.Denied, "the signing key %s is one of fleet %q, whose devices may all do the same", keys.Short(key), f.Name).
		About("fleet", f.Name).ByRule("fleet-key").WithHint("change all of them with: nsc edit fleet %s -a %s", f.Name, shellWords([]string{ac.name}))
}

// fleetOf returns the fleet that a signing key is of, if it is.
func fleetOf(ac *account, key string) (fleet.Fleet, bool) {
	for _, f := range fleet.All(ac.claims) {
		for _, k := range f.Keys(ac.claims) {
			if k.Public == key {
				return f, true
			}
		}
	}
	return fleet.Fleet{}, false
}
