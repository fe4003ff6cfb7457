package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/keys"
)

const groupWord = "enrollment-group"

func newAddGroup(a *app) *cobra.Command {
	var name, account, fleetName string
	cmd := &cobra.Command{
		Use:   groupWord + " <name>",
		Short: "Add an enrolment group, whose tokens devices exchange for credentials",
		Long: `Add an enrolment group to a fleet: a key whose tokens let devices enrol themselves,
and nothing else. accountd gets the keys of the fleet's cohorts, sealed, so that it
can sign what devices ask for; those of stations stay here. Where the system account
exports ` + fleet.EnrollSubject + `.*, the account imports its part, so that devices can
ask over NATS; over HTTP they can in any case.`,
		Example: `  nsc add enrollment-group phones -a app
  nsc add enrollment-group phones -a app --fleet sensors
  nsc add enrollment-group phones -a app --dry-run`,
		Args: args(0, 1, "the group's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if name, err = nameOf(name, given, "the group's name"); err != nil {
				return err
			}
			return a.finish(a.addGroup(cmd.Context(), account, fleetName, name))
		},
	}
	nameFlag(cmd, &name, "name of the group")
	accountFlag(cmd, &account)
	fleetFlag(cmd, &fleetName)
	return cmd
}

func (a *app) addGroup(ctx context.Context, accountName, fleetName, name string) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	f, err := fleet.Find(ac.claims, fleetName)
	if err != nil {
		return nil, err
	}
	if err := f.AddGroup(copyOf(ac), name, dryKey); err != nil {
		return nil, err
	}
	system, warnings := s.enrollDoor(r, f, ac)
	fresh, err := s.makeKeys(1)
	if err != nil {
		return nil, err
	}
	rec, err := s.withSeeds(ctx, fresh, r.accountNames(ac.name), func() (*receipt, error) {
		warning, err := s.delegate(ctx, r, ac, f, fresh[0].public)
		if err != nil {
			return nil, err
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
		return s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
			if system != "" {
				fleet.Reach(c, system)
			}
			return errors.Join(f.AddGroup(c, name, fresh[0].public), accounts.CheckAccount(c))
		}})
	})
	if rec == nil {
		return nil, err
	}
	rec.Title = fmt.Sprintf("enrolment group %s of fleet %s in %s  %s", name, f.Name, ac.name, keys.Short(fresh[0].public))
	if rec.Revision > 0 {
		rec.Title += "  " + revision(rec.Revision)
	}
	rec.Warnings = append(rec.Warnings, warnings...)
	rec.Lines = append(rec.Lines, "make a token with: nsc token create --group "+name+" -a "+shellWords([]string{ac.name}))
	return rec, err
}

// enrollDoor returns the system account, if it lets devices ask over NATS; else
// what would make it. It warns of devices that may not publish there.
func (s *session) enrollDoor(r *root, f fleet.Fleet, ac *account) (system string, warnings []string) {
	if t, err := f.Newest(ac.claims); err == nil && !mayPublish(t, fleet.EnrollSubject) {
		warnings = append(warnings, fmt.Sprintf("devices of fleet %s may not publish to %s, so that they renew over HTTP only; let them with: nsc edit fleet %s -a %s --allow-pub %s",
			f.Name, fleet.EnrollSubject, f.Name, shellWords([]string{ac.name}), fleet.EnrollSubject))
	}
	sys, err := s.systemAccount(r)
	if err == nil && fleet.Reachable(sys.claims) {
		return sys.key, warnings
	}
	name := "SYS"
	if err == nil {
		name = sys.name
	}
	return "", append(warnings, fmt.Sprintf("devices reach accountd over HTTP only: the system account does not export %s.*; it does with: nsc add export -a %s --service --subject '%s.*' --account-token-position 4",
		fleet.EnrollSubject, shellWords([]string{name}), fleet.EnrollSubject))
}

// mayPublish reports whether a template lets its users publish to a subject.
func mayPublish(t jwt.UserPermissionLimits, subject string) bool {
	for _, deny := range t.Pub.Deny {
		if accounts.Within(subject, deny) {
			return false
		}
	}
	for _, allow := range t.Pub.Allow {
		if accounts.Within(subject, allow) {
			return true
		}
	}
	return len(t.Pub.Allow) == 0
}

// groupView is an enrolment group as JSON shows it.
type groupView struct {
	Schema  int    `json:"schema,omitempty"`
	Name    string `json:"name"`
	Account string `json:"account"`
	Fleet   string `json:"fleet"`
	Key     string `json:"key"`
	Seed    bool   `json:"seed"` // is in the keystore
}

func (s *session) groupView(ac *account, g fleet.Group) groupView {
	return groupView{Name: g.Name, Account: ac.name, Fleet: g.Fleet.Name, Key: g.Public, Seed: s.store.Keystore().HasSeed(g.Public)}
}

func newListGroups(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: groupWord + "s", Aliases: []string{groupWord}, Short: "List the enrolment groups of an account",
		Example: `  nsc list enrollment-groups
  nsc list enrollment-groups -a app
  nsc list enrollment-groups -a app --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listGroups(cmd.Context(), account) },
	}
	accountFlag(cmd, &account)
	return cmd
}

func (a *app) listGroups(ctx context.Context, accountName string) error {
	s, _, ac, err := a.open(ctx, accountName)
	if err != nil {
		return err
	}
	out := struct {
		Schema  int         `json:"schema"`
		Account string      `json:"account"`
		Groups  []groupView `json:"groups"`
	}{api.Schema, ac.name, []groupView{}}
	rows := [][]string{{"NAME", "FLEET", "KEY", "SEED"}}
	for _, g := range fleet.Groups(ac.claims) {
		v := s.groupView(ac, g)
		out.Groups = append(out.Groups, v)
		rows = append(rows, []string{v.Name, v.Fleet, keys.Short(v.Key), seedHere(v.Seed)})
	}
	return a.listed(out, rows, "account "+ac.name+" has no enrolment group; add one with: nsc add "+groupWord+" <name> -a "+shellWords([]string{ac.name}))
}

func seedHere(here bool) string {
	if here {
		return "here"
	}
	return "no"
}

func newDescribeGroup(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: groupWord + " [name]", Short: "Show an enrolment group: its fleet, its key, and where its devices ask",
		Example: `  nsc describe enrollment-group phones -a app
  nsc describe enrollment-group -a app
  nsc describe enrollment-group phones -a app --json`,
		Args: args(0, 1, "the group's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = optionalName(o.name, given, "the group's name"); err != nil {
				return err
			}
			return a.describeGroup(cmd.Context(), *o)
		},
	}
	nameFlag(cmd, &o.name, "name of the group (default the only one of the account)")
	accountFlag(cmd, &o.account)
	return cmd
}

func (a *app) describeGroup(ctx context.Context, o describeOptions) error {
	s, _, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	g, err := fleet.FindGroup(ac.claims, o.name)
	if err != nil {
		return err
	}
	v := s.groupView(ac, g)
	v.Schema = api.Schema
	p := &page{}
	p.title("enrolment group %s in %s  %s", g.Name, ac.name, v.Key)
	p.fact("fleet", g.Fleet.Name)
	t := fleet.Scope(ac.claims, fleet.Key{Public: g.Public})
	p.facts("tokens may", permissionLines(t.Permissions, "everything", ""))
	p.fact("seed", seedText(v.Seed))
	return a.view(o, v, g.Name, p)
}

func newDeleteGroup(a *app) *cobra.Command {
	var name, account string
	cmd := &cobra.Command{
		Use:   groupWord + " <name>",
		Short: "Delete an enrolment group: none of its tokens enrols a device any more",
		Example: `  nsc delete enrollment-group phones -a app
  nsc delete enrollment-group phones -a app --yes
  nsc delete enrollment-group phones -a app --dry-run`,
		Args: args(0, 1, "the group's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if name, err = nameOf(name, given, "the group's name"); err != nil {
				return err
			}
			return a.finish(a.deleteGroup(cmd.Context(), account, name))
		},
	}
	nameFlag(cmd, &name, "name of the group")
	accountFlag(cmd, &account)
	return cmd
}

func (a *app) deleteGroup(ctx context.Context, accountName, name string) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	g, err := fleet.FindGroup(ac.claims, name)
	if err != nil {
		return nil, err
	}
	if err := a.confirm(fmt.Sprintf("no token of enrolment group %s in %s will enrol a device any more; devices that have enrolled stay", g.Name, ac.name), g.Name); err != nil {
		return nil, err
	}
	rec, err := s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
		if !c.SigningKeys.Contains(g.Public) {
			return errUnchanged
		}
		fleet.DeleteGroup(c, g)
		return nil
	}})
	if rec == nil {
		return nil, err
	}
	rec.Cuts, rec.Proved = true, "its tokens are refused everywhere"
	rec.Title = fmt.Sprintf("deleted enrolment group %s of %s", g.Name, ac.name)
	if rec.Revision > 0 {
		rec.Title += "  " + revision(rec.Revision)
	}
	rec.Lines = append(rec.Lines, "its key "+retirement(rec))
	return rec, err
}
