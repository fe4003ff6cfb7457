package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/keys"
)

// fleetOptions are the flags of add fleet.
type fleetOptions struct {
	account, role string
	fleet         fleet.Fleet
	usual         bool // no lifetime is named
	limits        accounts.LimitsEdit
}

func newAddFleet(a *app) *cobra.Command {
	o := fleetOptions{fleet: fleet.Fleet{Cohorts: 64, TTL: 7 * 24 * time.Hour}}
	confine := string(fleet.ByID)
	cmd := &cobra.Command{
		Use:   "fleet <name>",
		Short: "Add a fleet: devices by the million, with nothing stored for any of them",
		Long: `Add a fleet to an account: cohorts with a signing key each, one template of what a
device may do, and the longest lifetime of its credentials. A device may publish
and subscribe below <namespace>.<its id>., and receive replies below
_INBOX.<its public key>., unless --role or the flags of permissions say otherwise.
With --confine key its public key stands for its id, which confines it even where
the key of a cohort was stolen. Devices that cannot sign, with --bearer, connect by
MQTT or WebSocket alone, and their credentials live for a day at most.`,
		Example: `  nsc add fleet sensors -a app
  nsc add fleet sensors -a app --cohorts 16 --ttl 2d
  nsc add fleet meters -a app --confine key --allow-pub-response
  nsc add fleet phones -a app --bearer --conn-type MQTT --ttl 12h
  nsc add fleet pumps -a app --role pump --dry-run`,
		Args: args(0, 1, "the fleet's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.fleet.Name, err = nameOf(o.fleet.Name, given, "the fleet's name"); err != nil {
				return err
			}
			o.fleet.Confine, o.usual = fleet.Confinement(confine), !cmd.Flags().Changed("ttl")
			return a.finish(a.addFleet(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.fleet.Name, "name of the fleet")
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.StringVar(&o.role, "role", "", "take what devices may do from this role of the account")
	f.IntVar(&o.fleet.Cohorts, "cohorts", o.fleet.Cohorts, "into how many slices the fleet is cut, each with a signing key")
	ttlFlag(f, &o.fleet.TTL)
	f.StringVar(&confine, "confine", confine, "what stands for a device in its subjects: its id, or its key")
	limitFlags(f, &o.limits, "devices")
	hide(f, "rm-response-perms", "rm-conn-type", "rm-source-network", "rm-time")
	return cmd
}

func ttlFlag(f *pflag.FlagSet, to *time.Duration) {
	f.Var((*durationValue)(to), "ttl", "longest lifetime of credentials, such as 7d or 12h")
}

func (a *app) addFleet(ctx context.Context, o fleetOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	template, err := o.template(ac)
	if err != nil {
		return nil, err
	}
	if template.BearerToken && o.usual {
		o.fleet.TTL = fleet.MaxBearerTTL
	}
	// A copy shows whether the account takes the fleet before any key is made.
	if err := fleet.Add(copyOf(ac), o.fleet, template, make([]string, o.fleet.Cohorts)); err != nil {
		return nil, err
	}
	fresh, err := s.makeKeys(o.fleet.Cohorts)
	if err != nil {
		return nil, err
	}
	rec, err := s.withSeeds(ctx, fresh, r.accountNames(ac.name), func() (*receipt, error) {
		return s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
			return errors.Join(fleet.Add(c, o.fleet, template, publicKeys(fresh)), accounts.CheckAccount(c))
		}})
	})
	if rec == nil {
		return nil, err
	}
	rec.Title = fmt.Sprintf("fleet %s in %s  %s, credentials live at most %s", o.fleet.Name, ac.name, count(o.fleet.Cohorts, "cohort"), fleet.Span(o.fleet.TTL))
	s.fleetReceipt(rec, template)
	rec.Lines = append(rec.Lines, "issue devices with: nsc issue "+shellWords([]string{"--fleet", o.fleet.Name, "-a", ac.name})+" --count 1000 --out devices.ndjson")
	return rec, err
}

// fleetReceipt completes the receipt of a change of a fleet.
func (s *session) fleetReceipt(rec *receipt, template jwt.UserPermissionLimits) {
	if rec.Revision > 0 {
		rec.Title += "  " + revision(rec.Revision)
	}
	for _, line := range permissionLines(template.Permissions, "everything", "") {
		rec.Lines = append(rec.Lines, "devices "+line)
	}
}

// template returns what devices may do.
func (o fleetOptions) template(ac *account) (jwt.UserPermissionLimits, error) {
	if err := o.fleet.Check(); err != nil {
		return jwt.UserPermissionLimits{}, err
	}
	template, err := o.fleet.Template(ac.claims)
	if o.role != "" {
		var key string
		var among []string
		if key, among, err = accounts.KeyNamed(ac.claims, o.role); err == nil {
			template = fleet.Scope(ac.claims, fleet.Key{Public: key})
		}
		err = withNearest(err, o.role, among)
	}
	if err != nil {
		return template, err
	}
	return template, o.limits.Apply(&template)
}

// copyOf returns claims that may be changed.
func copyOf(ac *account) *jwt.AccountClaims {
	c := *ac.claims
	c.Tags, c.SigningKeys = slices.Clone(c.Tags), maps.Clone(c.SigningKeys)
	return &c
}

// makeKeys makes n account keys. A dry run makes none, and names them instead.
func (s *session) makeKeys(n int) ([]newKey, error) {
	out := make([]newKey, n)
	for i := range out {
		if s.flags.dryRun {
			out[i].public = fmt.Sprintf("%s %d", dryKey, i+1)
			continue
		}
		p, err := keys.NewAccount()
		if err != nil {
			return nil, err
		}
		out[i] = newKey{p.PublicKey(), p.Seed()}
		p.Wipe()
	}
	return out, nil
}

// stationOptions are the flags of add station.
type stationOptions struct {
	name, account, fleet string
	until                *int64
}

func newAddStation(a *app) *cobra.Command {
	var o stationOptions
	cmd := &cobra.Command{
		Use:   "station <name>",
		Short: "Add a station: a place that issues devices with a key of its own",
		Long: `Give a station of a fleet, such as a production line, a signing key of its own.
What it issued can be refused as one batch, at once and however much it is. The
key is retired at the first "nsc compact" after --until, when what it signed is
refused.`,
		Example: `  nsc add station line4 --fleet sensors -a app
  nsc add station line4 --fleet sensors -a app --until 90d
  nsc add station line4 -a app --dry-run`,
		Args: args(0, 1, "the station's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the station's name"); err != nil {
				return err
			}
			return a.finish(a.addStation(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "name of the station")
	accountFlag(cmd, &o.account)
	fleetFlag(cmd, &o.fleet)
	cmd.Flags().Var(given[int64]{&o.until, "string", a.readTime}, "until", "retire the key then: a date, a time, or a time from now such as 90d")
	return cmd
}

// fleetFlag adds --fleet.
func fleetFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "fleet", "", "name of the fleet (default the only one of the account)")
}

func (a *app) addStation(ctx context.Context, o stationOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	f, err := fleet.Find(ac.claims, o.fleet)
	if err != nil {
		return nil, err
	}
	template, err := f.Newest(ac.claims)
	if err != nil {
		return nil, err
	}
	var until int64
	if o.until != nil {
		if until = *o.until; until != 0 && until <= s.now {
			return nil, usage("--until %s is in the past", clock(until))
		}
	}
	if err := f.AddStation(copyOf(ac), o.name, dryKey, template, until); err != nil {
		return nil, err
	}
	fresh, err := s.makeKeys(1)
	if err != nil {
		return nil, err
	}
	rec, err := s.withSeeds(ctx, fresh, r.accountNames(ac.name), func() (*receipt, error) {
		return s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
			return f.AddStation(c, o.name, fresh[0].public, template, until)
		}})
	})
	if rec == nil {
		return nil, err
	}
	rec.Title = "station " + o.name + " of fleet " + f.Name + " in " + ac.name + "  " + keys.Short(fresh[0].public)
	if rec.Revision > 0 {
		rec.Title += "  " + revision(rec.Revision)
	}
	rec.Lines = append(rec.Lines, madeLines("signing key", fresh)...)
	if until > 0 {
		rec.Lines = append(rec.Lines, fmt.Sprintf("retire it after %s with: nsc compact %s", clock(until), shellWords([]string{ac.name})))
	}
	return rec, err
}

// fleetNames are the fleets of the account that the command line names.
func fleetNames(s *session, r *root, cmd *cobra.Command) []string {
	ac := accountOf(s, r, cmd)
	if ac == nil {
		return nil
	}
	var out []string
	for _, f := range fleet.All(ac.claims) {
		out = append(out, f.Name)
	}
	return out
}
