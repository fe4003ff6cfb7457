package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/revocation"
)

// revokeDeviceOptions are the flags of revoke device.
type revokeDeviceOptions struct {
	deviceChoice
	account, fleet string
	station        string
	cohorts        []int
	before         int64
	now, graceful  bool
	over           *time.Duration // see rollWindow
	rest           string
}

func newRevokeDevice(a *app) *cobra.Command {
	var o revokeDeviceOptions
	cmd := &cobra.Command{
		Use:   "device [id or key]...",
		Short: "Refuse devices of a fleet: some, a cohort, a station's, or a hundred thousand",
		Long: `Refuse devices and cut their connections. By id or public key, or as --file lists
them, an id, a key, or both a line, or lines that nsc issue wrote. Where only an id
is known, the key comes from live connections, or from --from, a file that nsc issue
wrote. What a cohort (--cohort) or a station (--station) signed is refused as a
whole, however much it is: its key is retired.
The list in an account's claim has room for some 11,000 devices. Of more, the
command shows what each way means, and you choose. --now retires the keys of their
cohorts: all are refused at once, and so are healthy devices of these cohorts, until
they renew by proof of their keys, as those do that enrolled, or are issued anew. --graceful lists as many as there is room for and gives the
cohorts of the others new keys: those can connect until their credentials expire, or with --over
until the old keys are retired, within that time; healthy devices of these cohorts
that have no new credentials by then are cut, and renew then if they enrolled.`,
		Example: `  nsc revoke device sensor-17 -a app
  nsc revoke device --file stolen.txt --from sensors.ndjson -a app --dry-run
  nsc revoke device --station line4 --fleet sensors -a app
  nsc revoke device --cohort 7 -a app --yes
  nsc revoke device --file stolen.txt -a app --now --yes
  nsc revoke device --issued-before 2026-01-31T10:00:00Z -a app`,
		Args: args(0, 10000, "the devices"),
		RunE: func(cmd *cobra.Command, given []string) error {
			o.devices = given
			if err := o.check(); err != nil {
				return err
			}
			return a.finish(a.revokeDevices(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	fleetFlag(cmd, &o.fleet)
	f := cmd.Flags()
	choiceFlags(f, &o.deviceChoice)
	f.StringVar(&o.station, "station", "", "all devices of this station")
	f.IntSliceVar(&o.cohorts, "cohort", nil, "all devices of these cohorts")
	a.pastFlag(f, &o.before, "issued-before", "all users of an account with --fleet-only that were issued until then, five minutes more for those that enrolled")
	f.BoolVar(&o.now, "now", false, "retire the keys of cohorts with more devices than can be listed")
	f.BoolVar(&o.graceful, "graceful", false, "let devices that cannot be listed connect until their credentials expire")
	overFlag(f, &o.over)
	f.StringVar(&o.rest, "rest", "", "write the devices that can still connect to this file")
	return cmd
}

func (o revokeDeviceOptions) check() error {
	ways := 0
	for _, is := range []bool{len(o.devices) > 0 || o.file != "" || o.tag != "", o.station != "", len(o.cohorts) > 0, o.before != 0} {
		ways += boolToInt(is)
	}
	switch {
	case ways != 1:
		return usage("say which devices, in one way: ids or keys, --file, --tag, --station, --cohort or --issued-before")
	case o.now && o.graceful:
		return usage("--now and --graceful exclude each other")
	case o.rest != "" && !o.graceful:
		return usage("--rest is for --graceful")
	case o.over != nil && !o.graceful:
		return usage("--over is for --graceful")
	}
	return o.deviceChoice.check()
}

func (a *app) revokeDevices(ctx context.Context, o revokeDeviceOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	if o.before != 0 {
		return s.revokeBefore(ctx, r, ac, o.before)
	}
	if ac, err = s.current(ctx, r, ac); err != nil {
		return nil, err
	}
	f, err := fleet.Find(ac.claims, o.fleet)
	if err != nil {
		return nil, err
	}
	plan, cut, err := s.planCut(ctx, r, ac, f, o)
	if err != nil {
		return nil, err
	}
	if len(plan.Retire) > 0 || o.file != "" || len(plan.Exposed) > 0 {
		if err := a.confirm(strings.Join(cut.loss(f, plan), "; "), f.Name); err != nil {
			return nil, err
		}
		s.now = max(s.now, a.env.Now().Unix()) // devices may have renewed while the question stood
		for key, at := range plan.Entries {
			plan.Entries[key] = max(at, s.now)
		}
	}
	if err := s.writeRest(o.rest, plan.Exposed); err != nil {
		return nil, err
	}
	if err := s.denyCut(ctx, r, ac, f, &plan, cut); err != nil {
		return nil, err
	}
	fresh, err := s.makeKeys(len(plan.Renew))
	if err != nil {
		return nil, err
	}
	public := map[int]string{}
	for i, cohort := range plan.Renew {
		public[cohort] = fresh[i].public
	}
	rec, err := s.withSeeds(ctx, fresh, r.accountNames(ac.name), func() (*receipt, error) {
		if err := s.delegateFresh(ctx, r, ac, f, fresh); err != nil {
			return nil, err
		}
		return s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
			if len(plan.Retire)+len(plan.Renew) == 0 {
				return addRevocations(c, plan.Entries)
			}
			return f.Apply(c, plan, public)
		}})
	})
	if rec == nil {
		return nil, err
	}
	cut.tell(rec, ac, f, plan, o)
	return rec, err
}

// planCut decides what refuses the devices, and what that comes to.
func (s *session) planCut(ctx context.Context, r *root, ac *account, f fleet.Fleet, o revokeDeviceOptions) (fleet.Plan, *deviceCut, error) {
	b := fleet.Budget{Size: len(ac.doc.Token), Max: api.MaxClaim}
	cut := &deviceCut{Fleet: f.Name}
	var plan fleet.Plan
	var err error
	switch {
	case o.station != "":
		var k fleet.Key
		k, err = f.Station(ac.claims, o.station)
		plan.Retire = []fleet.Key{k}
	case len(o.cohorts) > 0:
		plan, err = cohortsCut(ac, f, o.cohorts)
	default:
		plan, err = s.devicesCut(ctx, r, ac, f, o, b, cut)
	}
	if err != nil {
		return plan, cut, err
	}
	if !s.renews(r, ac, f) {
		plan.Returns = 0
	}
	cut.Listed, cut.Renewed, cut.Returns = len(plan.Entries), plan.Renew, plan.Returns
	if cut.Exposed = len(plan.Exposed); cut.Exposed > 0 {
		cut.Until, cut.healthy = plan.Last, o.over != nil
		if cut.healthy {
			cut.Until += fleet.RetireTime
		}
	}
	var issuers []string
	for _, k := range plan.Retire {
		cut.Retired = append(cut.Retired, k.Role)
		issuers = append(issuers, k.Public)
	}
	cut.Budget = b.Share(cut.Listed)
	if ok, _ := s.online(r); ok && len(issuers) > 0 {
		seen, err := s.askSeen(ctx, r, api.SeenRequest{Account: ac.key, Issuers: issuers})
		if err != nil {
			return plan, cut, err
		}
		cut.affected = seen.Servers
	}
	return plan, cut, nil
}

// cohortsCut retires all keys of cohorts and gives them new ones.
func cohortsCut(ac *account, f fleet.Fleet, cohorts []int) (fleet.Plan, error) {
	var p fleet.Plan
	for _, c := range cohorts {
		if c < 0 || c >= f.Cohorts {
			return p, usage("--cohort %d: fleet %q has the cohorts 0 to %d", c, f.Name, f.Cohorts-1)
		}
	}
	for _, k := range f.Keys(ac.claims) {
		if k.Station == "" && slices.Contains(cohorts, k.Cohort) {
			p.Retire = append(p.Retire, k)
		}
	}
	p.Renew = slices.Clone(cohorts)
	slices.Sort(p.Renew)
	p.Renew = slices.Compact(p.Renew)
	return p, nil
}

// devicesCut plans for devices that were named one by one.
func (s *session) devicesCut(ctx context.Context, r *root, ac *account, f fleet.Fleet, o revokeDeviceOptions, b fleet.Budget, cut *deviceCut) (fleet.Plan, error) {
	l, err := s.suspects(o.deviceChoice, ac.key)
	if err == nil {
		err = s.askLive(ctx, r, ac, l)
	}
	if err != nil {
		return fleet.Plan{}, err
	}
	cut.Devices, cut.suspects = len(l.list), l.list
	way := fleet.Undecided
	switch {
	case o.now:
		way = fleet.Now
	case o.graceful:
		way = fleet.Graceful
	}
	w, err := rollWindow(f, o.over, s.now)
	if err != nil {
		return fleet.Plan{}, err
	}
	plan, err := f.Plan(ac.claims, l.list, b, way, w, s.now)
	if err == nil || way != fleet.Undecided {
		return plan, helpUnknown(err)
	}
	return plan, s.choices(r, ac, f, l.list, b, err)
}

// helpUnknown says where what is not known of a device may be found.
func helpUnknown(err error) error {
	if f := fault.As(err); f != nil && f.Rule == "unknown-signer" {
		return f.WithHint("name the file that nsc issue wrote: --from <file>")
	}
	return err
}

// choices is the error of devices that cannot be listed, with what each way
// would mean.
func (s *session) choices(r *root, ac *account, f fleet.Fleet, list []fleet.Suspect, b fleet.Budget, cause error) error {
	e := fault.As(cause)
	if e == nil {
		return cause
	}
	var possible []string
	for _, way := range []fleet.Way{fleet.Now, fleet.Graceful} {
		p, err := f.Plan(ac.claims, list, b, way, f.Whole(s.now), s.now)
		if err != nil {
			fmt.Fprintf(s.env.Stderr, "--%s  not possible: %v\n", way, err)
			continue
		}
		possible = append(possible, fmt.Sprintf("--%s", way))
		c := deviceCut{Devices: len(list), Listed: len(p.Entries), Exposed: len(p.Exposed), Until: p.Last, Renewed: p.Renew}
		if s.renews(r, ac, f) {
			c.Returns = p.Returns
		}
		fmt.Fprintf(s.env.Stderr, "--%s  %s\n", way, strings.Join(c.loss(f, p), "; "))
	}
	choose := strings.Join(possible, " or ")
	switch {
	case e.Rule == "unknown-key" && choose == "":
		return e.WithHint("name the file that nsc issue wrote with --from <file>")
	case e.Rule == "unknown-key":
		return e.WithHint("name the file that nsc issue wrote with --from <file>, or choose %s", choose)
	case choose == "":
		return e
	}
	return e.WithHint("choose %s; nothing was changed", choose)
}

// writeRest writes the devices that can still connect.
func (s *session) writeRest(name string, exposed []fleet.Suspect) error {
	if name == "" || s.flags.dryRun {
		return nil
	}
	var b strings.Builder
	for _, d := range exposed {
		b.WriteString(strings.TrimSpace(d.ID+" "+d.Key) + "\n")
	}
	if err := durable.WriteFile(s.path(name), []byte(b.String()), 0o600); err != nil {
		return fault.New(fault.Denied, "--rest %s: %w", name, err).About("file", name)
	}
	return nil
}

// revokeBefore refuses what was issued until a time, in an account whose users
// are all short-lived.
func (s *session) revokeBefore(ctx context.Context, r *root, ac *account, at int64) (*receipt, error) {
	if _, only := fleet.Only(ac.claims); !only {
		return nil, fault.New(fault.Denied, "account %q has users that are not devices, and they would be refused, too", ac.name).
			About("account", ac.name).ByRule("fleet-only").WithHint("nsc revoke user '*' --at <time> -a %s, if that is meant", shellWords([]string{ac.name}))
	}
	if at > s.now {
		return nil, usage("--issued-before %s is in the future", clock(at))
	}
	if err := s.confirm("every user of "+ac.name+" that was issued until "+clock(at)+" will be cut and refused", ac.name); err != nil {
		return nil, err
	}
	all := target{name: revocation.All, key: revocation.All}
	return s.revoke(ctx, r, ac, []target{all}, at)
}
