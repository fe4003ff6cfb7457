package cli

import (
	"context"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
)

// fleetView is a fleet as JSON shows it.
type fleetView struct {
	Schema      int             `json:"schema,omitempty"`
	Name        string          `json:"name"`
	Account     string          `json:"account"`
	Cohorts     int             `json:"cohorts"`
	TTL         int64           `json:"ttl"` // seconds
	Confine     string          `json:"confine"`
	Permissions jwt.Permissions `json:"permissions"`
	Roll        *fleet.Rolling  `json:"roll,omitempty"`
	RollAt      int             `json:"roll_at,omitempty"` // percent of the claim
	Keys        []fleetKey      `json:"keys"`
}

// fleetKey is one of its signing keys.
type fleetKey struct {
	Key     string `json:"key"`
	Role    string `json:"role"`
	Cohort  *int   `json:"cohort,omitempty"`
	Epoch   int    `json:"epoch,omitempty"`
	Station string `json:"station,omitempty"`
	Retires int64  `json:"retires,omitempty"` // Unix seconds
	Seed    bool   `json:"seed"`              // is in the keystore
}

func (s *session) fleetView(ac *account, f fleet.Fleet) fleetView {
	v := fleetView{Name: f.Name, Account: ac.name, Cohorts: f.Cohorts, TTL: int64(f.TTL.Seconds()), Confine: string(f.Confine), Keys: []fleetKey{}}
	ks := s.store.Keystore()
	for _, k := range f.Keys(ac.claims) {
		one := fleetKey{Key: k.Public, Role: k.Role, Epoch: k.Epoch, Station: k.Station, Retires: k.Retires, Seed: ks.HasSeed(k.Public)}
		if k.Station == "" {
			one.Cohort = &k.Cohort
		}
		v.Keys = append(v.Keys, one)
	}
	if t, err := f.Newest(ac.claims); err == nil {
		v.Permissions = t.Permissions
	}
	v.RollAt = f.RollAt(ac.claims).Percent
	if roll, ok := f.Rolling(ac.claims); ok {
		v.Roll = &roll
	}
	return v
}

func newListFleets(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "fleets", Aliases: []string{"fleet"}, Short: "List the fleets of an account",
		Example: `  nsc list fleets
  nsc list fleets -a app
  nsc list fleets -a app --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listFleets(cmd.Context(), account) },
	}
	accountFlag(cmd, &account)
	return cmd
}

// fleetList is the output of list fleets.
type fleetList struct {
	Schema  int         `json:"schema"`
	Account string      `json:"account"`
	Fleets  []fleetView `json:"fleets"`
}

func (a *app) listFleets(ctx context.Context, accountName string) error {
	s, _, ac, err := a.open(ctx, accountName)
	if err != nil {
		return err
	}
	list := fleetList{Schema: api.Schema, Account: ac.name, Fleets: []fleetView{}}
	rows := [][]string{{"NAME", "COHORTS", "LIFETIME", "CONFINED BY", "KEYS"}}
	for _, f := range fleet.All(ac.claims) {
		v := s.fleetView(ac, f)
		list.Fleets = append(list.Fleets, v)
		rows = append(rows, []string{f.Name, fmt.Sprint(f.Cohorts), fleet.Span(f.TTL), string(f.Confine), fmt.Sprint(len(v.Keys))})
	}
	return a.listed(list, rows, "account "+ac.name+" has no fleet; add one with: nsc add fleet <name> -a "+shellWords([]string{ac.name}))
}

func newDescribeFleet(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "fleet [name]", Short: "Show a fleet: what its devices may do, its cohorts, stations and keys",
		Example: `  nsc describe fleet sensors -a app
  nsc describe fleet -a app
  nsc describe fleet sensors -a app --json`,
		Args: args(0, 1, "the fleet's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = optionalName(o.name, given, "the fleet's name"); err != nil {
				return err
			}
			return a.describeFleet(cmd.Context(), *o)
		},
	}
	nameFlag(cmd, &o.name, "name of the fleet (default the only one of the account)")
	accountFlag(cmd, &o.account)
	return cmd
}

func (a *app) describeFleet(ctx context.Context, o describeOptions) error {
	s, _, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	f, err := fleet.Find(ac.claims, o.name)
	if err != nil {
		return err
	}
	v := s.fleetView(ac, f)
	v.Schema = api.Schema
	p := &page{}
	p.title("fleet %s in %s", f.Name, ac.name)
	p.fact("cohorts", fmt.Sprint(f.Cohorts))
	p.fact("lifetime", "credentials live at most "+fleet.Span(f.TTL))
	p.fact("confined by", string(f.Confine))
	p.facts("devices may", permissionLines(v.Permissions, "everything", ""))
	if v.RollAt > 0 {
		p.fact("roll", fmt.Sprintf("of all cohorts when %d %% of the claim are in use", v.RollAt))
	}
	if v.Roll != nil {
		p.fact("rolling", rollText(*v.Roll))
	}
	p.facts("keys", fleetKeyLines(v, a.long(o)))
	return a.view(o, v, f.Name, p)
}

// rollText says how far a roll is.
func rollText(r fleet.Rolling) string {
	text := count(r.Old, "old key") + " admit what they signed, retired from " + clock(r.Next)
	if r.Last != r.Next {
		text += " to " + clock(r.Last)
	}
	return text
}

// fleetKeyLines shows the keys of a fleet: all, or those that need a word, since
// cohorts of the usual kind are many.
func fleetKeyLines(v fleetView, all bool) []string {
	var lines []string
	here, elsewhere := 0, 0
	for _, k := range v.Keys {
		if !all && k.Cohort != nil && k.Retires == 0 {
			if here++; !k.Seed {
				elsewhere++
			}
			continue
		}
		line := k.Key + "  " + k.Role
		if !k.Seed {
			line += ", its seed not here"
		}
		if k.Retires > 0 {
			line += ", retired from " + clock(k.Retires)
		}
		lines = append(lines, line)
	}
	if here -= elsewhere; here > 0 {
		lines = append(lines, count(here, "cohort key")+" that sign now, their seeds here; see them with -W")
	}
	if elsewhere > 0 {
		lines = append(lines, count(elsewhere, "cohort key")+" that sign now, their seeds not here; see them with -W")
	}
	return lines
}
