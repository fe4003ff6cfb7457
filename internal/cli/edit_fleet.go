package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
)

// editFleetOptions are the flags of edit fleet.
type editFleetOptions struct {
	name, account string
	ttl           *time.Duration
	roll, abort   bool
	over          *time.Duration // within which replaced keys are retired, nil for the longest lifetime
	rollAt        *int           // percent of the claim, 0 for never
	delegate      bool
	cohorts       []int
	limits        accounts.LimitsEdit
}

func newEditFleet(a *app) *cobra.Command {
	var o editFleetOptions
	cmd := &cobra.Command{
		Use:   "fleet [name]",
		Short: "Change a fleet, or give its cohorts new keys, without cutting a device",
		Long: `Change the longest lifetime of a fleet's credentials, or what its devices may do. A
role that changes would cut every device of it, so a fleet gets new keys instead,
which sign from now on; the keys that it had admit what they signed until the last
of it has expired, and are retired then (see "nsc compact"). --roll gives new keys
and changes nothing else, of the cohorts that --cohort names or of all. With --over
the old keys are retired sooner, cohort by cohort in the second half of that time:
who has no new credentials by then is cut, and renews then if it enrolled.
--abort-roll puts that off until nobody is cut. With --roll-at
a roll of all cohorts begins once so much of the account's claim is in use, to free
its list of revocations: by accountd, where it has a signing key and the keys of the
fleet, else by "nsc sign proposals".`,
		Example: `  nsc edit fleet sensors -a app --ttl 2d
  nsc edit fleet sensors -a app --allow-sub 'app.news.>'
  nsc edit fleet sensors -a app --roll --over 1h
  nsc edit fleet sensors -a app --abort-roll
  nsc edit fleet sensors -a app --delegate
  nsc edit fleet sensors -a app --roll-at 70 --over 1h --dry-run`,
		Args: args(0, 1, "the fleet's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = optionalName(o.name, given, "the fleet's name"); err != nil {
				return err
			}
			if err := nothingGiven(cmd, "account", "name", "cohort", "over"); err != nil {
				return err
			}
			if o.abort {
				if o.roll || o.delegate || o.ttl != nil || o.over != nil || o.rollAt != nil || len(o.cohorts) > 0 || !o.limits.Empty() {
					return usage("--abort-roll goes with no other change")
				}
				return a.finish(a.abortRoll(cmd.Context(), o))
			}
			if o.rollAt != nil {
				if o.roll || o.delegate || o.ttl != nil || len(o.cohorts) > 0 || !o.limits.Empty() {
					return usage("--roll-at goes with --over alone")
				}
				return a.finish(a.rollAt(cmd.Context(), o))
			}
			return a.finish(a.editFleet(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "name of the fleet (default the only one of the account)")
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.Var(given[time.Duration]{&o.ttl, "duration", readDuration}, "ttl", "longest lifetime of credentials, such as 7d or 12h")
	f.BoolVar(&o.roll, "roll", false, "give cohorts new keys")
	f.BoolVar(&o.delegate, "delegate", false, "give accountd the keys of the cohorts, and devices the way to it, so that they can enrol and renew")
	overFlag(f, &o.over)
	f.BoolVar(&o.abort, "abort-roll", false, "let the keys that a roll replaced admit what they signed until it has expired")
	f.Var(given[int]{&o.rollAt, "int", strconv.Atoi}, "roll-at", "roll all cohorts when so many percent of the claim are in use, 0 for never")
	f.IntSliceVar(&o.cohorts, "cohort", nil, "roll these cohorts only")
	limitFlags(f, &o.limits, "devices")
	return cmd
}

func readDuration(s string) (time.Duration, error) {
	var d durationValue
	err := d.Set(s)
	return time.Duration(d), err
}

// fleetEdit is what an edit of a fleet comes to.
type fleetEdit struct {
	old, next fleet.Fleet
	template  jwt.UserPermissionLimits
	cohorts   []int // that get new keys
	window    fleet.Window
}

// plan checks the edit against the account as it is.
func (o editFleetOptions) plan(ac *account, now int64) (e fleetEdit, err error) {
	if e.old, err = fleet.Find(ac.claims, o.name); err != nil {
		return e, err
	}
	if e.next = e.old; o.ttl != nil {
		e.next.TTL = *o.ttl
	}
	if e.template, err = e.old.Newest(ac.claims); err != nil {
		return e, err
	}
	if err := o.limits.Apply(&e.template); err != nil {
		return e, err
	}
	if err := e.next.CheckBearer(e.template); err != nil {
		return e, err
	}
	if e.cohorts, err = o.rolled(e.old); err != nil {
		return e, err
	}
	if o.over != nil && len(e.cohorts) == 0 {
		return e, usage("--over is for new keys").WithHint("give it with --roll, or with what devices may do")
	}
	longest := e.old
	longest.TTL = max(e.old.TTL, e.next.TTL)
	if e.window, err = rollWindow(longest, o.over, now); err != nil {
		return e, err
	}
	return e, fleet.Put(copyOf(ac), e.old, e.next)
}

func (a *app) editFleet(ctx context.Context, o editFleetOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	if ac, err = s.current(ctx, r, ac); err != nil {
		return nil, err
	}
	e, err := o.plan(ac, s.now)
	if err != nil {
		return nil, err
	}
	fresh, err := s.makeKeys(len(e.cohorts))
	if err != nil {
		return nil, err
	}
	public := map[int]string{}
	for i, cohort := range e.cohorts {
		public[cohort] = fresh[i].public
	}
	var warnings []string
	system, given := "", false
	if o.delegate {
		system, warnings = s.enrollDoor(r, e.old, ac)
	}
	rec, err := s.withSeeds(ctx, fresh, r.accountNames(ac.name), func() (*receipt, error) {
		if err := s.delegateFresh(ctx, r, ac, e.old, fresh); err != nil {
			return nil, err
		}
		if err := s.spareRolled(ctx, r, ac, &e); err != nil {
			return nil, err
		}
		if o.delegate {
			warning, err := s.delegate(ctx, r, ac, e.old)
			switch {
			case err != nil:
				return nil, err
			case warning != "":
				warnings = append(warnings, warning)
			case !s.flags.dryRun:
				given = true
			}
		}
		return s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
			reached := system != "" && fleet.Reach(c, system)
			if e.next == e.old && len(public) == 0 && !reached {
				return errUnchanged
			}
			if err := fleet.Put(c, e.old, e.next); err != nil {
				return err
			}
			e.next.Roll(c, e.template, public, e.window)
			return accounts.CheckAccount(c)
		}})
	})
	if rec == nil {
		return nil, err
	}
	rec.Warnings = append(rec.Warnings, warnings...)
	if given {
		rec.Lines = append(rec.Lines, "accountd has the keys of the cohorts")
	}
	s.editedFleet(rec, ac, e, o.over != nil)
	return rec, err
}

// editedFleet completes the receipt of an edit.
func (s *session) editedFleet(rec *receipt, ac *account, e fleetEdit, hurry bool) {
	rec.Title = fmt.Sprintf("fleet %s in %s  %s, credentials live at most %s", e.next.Name, ac.name, count(e.next.Cohorts, "cohort"), fleet.Span(e.next.TTL))
	s.fleetReceipt(rec, e.template)
	if len(e.cohorts) == 0 {
		return
	}
	rec.Lines = append(rec.Lines, fmt.Sprintf("%s got new keys; the old ones admit what they signed until %s; retire them then with: nsc compact %s",
		count(len(e.cohorts), "cohort"), clock(e.window.To), shellWords([]string{ac.name})))
	if hurry {
		rec.Warnings = append(rec.Warnings, "devices that have no new credentials by then are cut, cohort by cohort from "+clock(e.window.From)+" to "+clock(e.window.To+fleet.RetireTime)+afterCut(e.window.Returns))
		rec.Undo = "nsc edit fleet " + fault.Words(e.next.Name, "-a", ac.name, "--abort-roll")
	}
	if stations := stationNames(e.old, ac.claims); len(stations) > 0 {
		rec.Warnings = append(rec.Warnings, "stations keep the key and the template that they have: "+strings.Join(stations, ", "))
	}
}

// overFlag adds --over.
func overFlag(f *pflag.FlagSet, to **time.Duration) {
	f.Var(given[time.Duration]{to, "duration", readDuration}, "over", "retire replaced keys within this time, such as 2d (default when all that they signed has expired)")
}

// rollWindow is when the keys that a roll replaces are retired.
func rollWindow(f fleet.Fleet, over *time.Duration, now int64) (fleet.Window, error) {
	whole := f.Whole(now)
	if over == nil {
		return whole, nil
	}
	to := now + int64(*over/time.Second)
	if *over < fleet.MinTTL || to > whole.To {
		return whole, usage("--over %s: between %s and %s, when all has expired anyway", *over, fleet.Span(fleet.MinTTL), fleet.Span(f.TTL+fleet.Skew))
	}
	return f.Within(now, to-fleet.RetireTime), nil
}

// abortRoll puts off the end of the keys that a roll replaced.
func (a *app) abortRoll(ctx context.Context, o editFleetOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	if ac, err = s.current(ctx, r, ac); err != nil { // accountd may have begun it
		return nil, err
	}
	f, err := fleet.Find(ac.claims, o.name)
	if err != nil {
		return nil, err
	}
	// Who is denied stays so as long as keys that signed for them admit renewals.
	old := slices.DeleteFunc(f.Keys(ac.claims), func(k fleet.Key) bool { return k.Station != "" || k.Retires == 0 })
	if len(old) > 0 && s.renews(r, ac, f) {
		if _, _, err := s.deny(ctx, r, ac, f, denial{until: f.Whole(s.now).To, spare: old}); err != nil {
			return nil, err
		}
	}
	var put []fleet.Key
	rec, err := s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
		if put = f.Abort(c, s.now); len(put) == 0 {
			return errUnchanged
		}
		return nil
	}})
	if rec == nil {
		return nil, err
	}
	rec.Title = fmt.Sprintf("fleet %s in %s", f.Name, ac.name)
	if rec.Outcome == outcomeSame {
		rec.Title += "  no roll cuts anybody"
		return rec, err
	}
	s.fleetReceipt(rec, jwt.UserPermissionLimits{})
	rec.Lines = []string{fmt.Sprintf("%s admit what they signed until it has expired, %s at the latest; new keys stay", count(len(put), "old key"), clock(f.Whole(s.now).To))}
	rec.Warnings = append(rec.Warnings, "devices that nsc revoke device --graceful could not list can connect until their credentials expire, later than its receipt says")
	return rec, err
}

// rolled returns the cohorts that get new keys: those named, or all if what
// devices may do changes.
func (o editFleetOptions) rolled(f fleet.Fleet) ([]int, error) {
	if len(o.cohorts) > 0 && !o.roll {
		return nil, usage("--cohort goes with --roll: what devices may do is the same in all cohorts")
	}
	if len(o.cohorts) > 0 && !o.limits.Empty() {
		return nil, usage("what devices may do is the same in all cohorts").WithHint("leave --cohort out")
	}
	seen := map[int]bool{}
	for _, c := range o.cohorts {
		if c < 0 || c >= f.Cohorts || seen[c] {
			return nil, usage("--cohort %d: fleet %q has the cohorts 0 to %d, each named once", c, f.Name, f.Cohorts-1)
		}
		seen[c] = true
	}
	if len(o.cohorts) > 0 || !o.roll && o.limits.Empty() {
		return o.cohorts, nil
	}
	all := make([]int, f.Cohorts)
	for i := range all {
		all[i] = i
	}
	return all, nil
}

func stationNames(f fleet.Fleet, ac *jwt.AccountClaims) []string {
	var out []string
	for _, k := range f.Keys(ac) {
		if k.Station != "" {
			out = append(out, k.Station)
		}
	}
	return out
}

func newDeleteFleet(a *app) *cobra.Command {
	var name, account string
	cmd := &cobra.Command{
		Use:   "fleet <name>",
		Short: "Delete a fleet: all its devices are refused at once",
		Example: `  nsc delete fleet sensors -a app
  nsc delete fleet sensors -a app --yes
  nsc delete fleet sensors -a app --dry-run`,
		Args: args(0, 1, "the fleet's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if name, err = nameOf(name, given, "the fleet's name"); err != nil {
				return err
			}
			return a.finish(a.deleteFleet(cmd.Context(), account, name))
		},
	}
	nameFlag(cmd, &name, "name of the fleet")
	accountFlag(cmd, &account)
	return cmd
}

func (a *app) deleteFleet(ctx context.Context, accountName, name string) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	f, err := fleet.Find(ac.claims, name)
	if err != nil {
		return nil, err
	}
	n := len(f.Keys(ac.claims))
	if err := a.confirm(fmt.Sprintf("every device of fleet %s in %s will be cut and refused for ever, with %s", f.Name, ac.name, count(n, "key")), f.Name); err != nil {
		return nil, err
	}
	rec, err := s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
		if now, err := fleet.Find(c, name); err != nil || now != f {
			return errUnchanged
		}
		fleet.Delete(c, f)
		return nil
	}})
	if rec == nil {
		return nil, err
	}
	rec.Cuts, rec.Proved = true, "refused everywhere"
	rec.Title = fmt.Sprintf("deleted fleet %s of %s, %s", f.Name, ac.name, count(n, "signing key"))
	if rec.Revision > 0 {
		rec.Title += "  " + revision(rec.Revision)
	}
	rec.Lines = append(rec.Lines, "each of its keys "+retirement(rec))
	return rec, err
}
