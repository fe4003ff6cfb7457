package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// unrevokeDeviceOptions are the flags of unrevoke device.
type unrevokeDeviceOptions struct {
	deviceChoice
	account, fleet string
	cohorts        []int
}

func newUnrevokeDevice(a *app) *cobra.Command {
	var o unrevokeDeviceOptions
	cmd := &cobra.Command{
		Use:   "device [id or key]...",
		Short: "Accept the credentials of listed devices again",
		Long: `Take devices off the list of an account's claim, found as revoke device finds them:
by id or public key, as --file lists them, or as --from holds them, a file that nsc
issue wrote. Of --from, --tag takes those with a tag, --cohort those of cohorts.
What the key of a retired cohort or station signed stays refused for ever, and so
does what the revocation of all users covers: those devices need new credentials,
and the receipt says how many they are. Who accountd was told to deny new credentials
may get them again: by renewing, where the keys of cohorts went for single devices.`,
		Example: `  nsc unrevoke device sensor-17 --from sensors.ndjson -a app
  nsc unrevoke device --file found.txt --from sensors.ndjson -a app
  nsc unrevoke device --cohort 7 --from sensors.ndjson -a app --dry-run
  nsc unrevoke device --tag site:7 --from sensors.ndjson -a app --json`,
		Args: args(0, 10000, "the devices"),
		RunE: func(cmd *cobra.Command, given []string) error {
			o.devices = given
			switch {
			case len(o.devices) == 0 && o.file == "" && o.tag == "" && len(o.cohorts) == 0:
				return usage("say which devices: ids or keys, --file, --tag or --cohort")
			case len(o.cohorts) > 0 && o.from == "":
				return usage("nobody keeps a list of the devices of a cohort").WithHint("name the file that nsc issue wrote: --from <file>")
			}
			if err := o.check(); err != nil {
				return err
			}
			return a.finish(a.unrevokeDevices(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	fleetFlag(cmd, &o.fleet)
	choiceFlags(cmd.Flags(), &o.deviceChoice)
	cmd.Flags().IntSliceVar(&o.cohorts, "cohort", nil, "the devices in --from that are of these cohorts")
	return cmd
}

// deviceReturn is what taking revocations of devices back comes to; see
// docs/json-output.md.
type deviceReturn struct {
	Fleet    string `json:"fleet"`
	Devices  int    `json:"devices"`            // that were named
	Returned int    `json:"returned"`           // of them taken off the list
	Unlisted int    `json:"unlisted,omitempty"` // of them not on it
	Covered  int    `json:"covered,omitempty"`  // refused all the same, by the revocation of all users
	Retired  int    `json:"retired,omitempty"`  // refused all the same, since the key that signed is retired
	Expired  int    `json:"expired,omitempty"`  // refused all the same, since their credentials have expired
	Unseen   int    `json:"unseen,omitempty"`   // of which no credential is known here
	Nameless int    `json:"nameless,omitempty"` // of which no key is known here
	Admitted int    `json:"admitted,omitempty"` // ids and keys that were denied new credentials and are not any more
	Half     int    `json:"half,omitempty"`     // named by id or key alone: denied still, if both were

	all int64 // time of the revocation of all users
}

func (a *app) unrevokeDevices(ctx context.Context, o unrevokeDeviceOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	if ac, err = s.current(ctx, r, ac); err != nil {
		return nil, err
	}
	f, err := fleet.Find(ac.claims, o.fleet)
	if err != nil {
		return nil, err
	}
	if len(o.cohorts) > 0 {
		if _, err := cohortsCut(ac, f, o.cohorts); err != nil {
			return nil, err
		}
		o.cohort = func(d fleet.Suspect) bool { return slices.Contains(o.cohorts, f.Cohort(d.ID)) }
	}
	l, err := s.suspects(o.deviceChoice, ac.key)
	if err != nil {
		return nil, err
	}
	back, keys := returning(ac.claims, l.list, s.now)
	back.Fleet = f.Name
	told := false
	if back.Admitted, told, err = s.deny(ctx, r, ac, f, denial{devices: l.list, lift: true}); err != nil {
		return nil, err
	}
	if told || s.flags.dryRun && s.renews(r, ac, f) {
		back.Half = len(slices.DeleteFunc(slices.Clone(l.list), func(d fleet.Suspect) bool { return d.ID != "" && d.Key != "" }))
	}
	if err := back.check(ac, l.list); err != nil && !(s.flags.dryRun && s.renews(r, ac, f)) {
		return nil, err
	}
	rec, err := s.editAccount(ctx, r, ac, change{unrevoke: keys, edit: func(c *jwt.AccountClaims) error {
		before := len(c.Revocations)
		for _, key := range keys {
			delete(c.Revocations, key)
		}
		if len(c.Revocations) == before {
			return errUnchanged
		}
		return nil
	}})
	if rec == nil {
		return nil, err
	}
	back.tell(rec, ac, o)
	return rec, err
}

// returning sorts devices by what keeps them out, and returns the keys of those
// that can be taken off the list.
func returning(ac *jwt.AccountClaims, devices []fleet.Suspect, now int64) (*deviceReturn, []string) {
	list := revocation.List(ac.Revocations)
	back := &deviceReturn{Devices: len(devices), all: list[revocation.All]}
	var keys []string
	for _, d := range devices {
		at, listed := list[d.Key]
		switch {
		case d.Key == "":
			back.Nameless++
			continue
		case !listed:
			back.Unlisted++
		case at <= back.all:
			back.Covered++
			continue // it refuses nothing that * does not refuse
		default:
			keys = append(keys, d.Key)
			back.Returned++
		}
		switch {
		case d.Issuer == "":
			back.Unseen++
		case d.Issuer != ac.Subject && !ac.SigningKeys.Contains(d.Issuer):
			back.Retired++
		case d.IssuedAt <= back.all:
			back.Covered++
		case d.Expires > 0 && d.Expires <= now:
			back.Expired++
		}
	}
	return back, keys
}

// check is an error if nothing changes for devices.
func (b *deviceReturn) check(ac *account, devices []fleet.Suspect) error {
	i := slices.IndexFunc(devices, func(d fleet.Suspect) bool { return d.Key == "" })
	switch {
	case b.Admitted > 0:
		return nil
	case i >= 0:
		return fault.New(fault.NotFound, "the key of %s is not known here, and lists hold keys", devices[i].ID).
			About("device", devices[i].ID).ByRule("unknown-key").WithHint("name the file that nsc issue wrote: --from <file>")
	case b.Returned == 0 && b.Covered+b.Retired+b.Expired == len(devices):
		return fault.New(fault.Denied, "%s stay refused all the same: %s", count(len(devices), "device"), strings.Join(b.reasons(), "; ")).
			ByRule("covered").WithHint("give them new credentials with: nsc issue -a %s --public-keys <file>", fault.Words(ac.name))
	}
	return nil
}

// reasons says how many devices stay refused, and why.
func (b *deviceReturn) reasons() []string {
	var out []string
	for _, r := range []struct {
		n   int
		why string
	}{
		{b.Retired, "the key that signed is retired for ever"},
		{b.Covered, "covered by the revocation of all users (*) of " + clock(b.all)},
		{b.Expired, "credentials that have expired"},
	} {
		if r.n > 0 {
			out = append(out, fmt.Sprintf("%s (%s)", count(r.n, "device"), r.why))
		}
	}
	return out
}

// tell makes a receipt say who can connect again, and who cannot.
func (b *deviceReturn) tell(rec *receipt, ac *account, o unrevokeDeviceOptions) {
	rec.Returned = b
	verb := "unrevoked"
	switch rec.Outcome {
	case outcomeDry:
		verb = "would un-revoke"
	case outcomeLocal:
		verb = "took back, in the local store, the revocation of"
	}
	what := count(b.Devices, "device")
	switch {
	case b.Returned < b.Devices:
		what = fmt.Sprintf("%d of %s", b.Returned, what)
	case b.Devices == 1 && len(o.devices) == 1:
		what = "device " + o.devices[0]
	}
	rec.Title = fmt.Sprintf("%s %s of fleet %s in %s", verb, what, b.Fleet, ac.name)
	if rec.Revision > 0 {
		rec.Title += ", " + revision(rec.Revision)
	}
	for _, line := range []struct {
		n    int
		text string
	}{
		{b.Unlisted, "not on the list"},
		{b.Nameless, "of which no key is known here: what is listed or denied by key stays; name the file that nsc issue wrote: --from <file>"},
		{b.Unseen, "of which no credential is known here: whether one is still good is not known either"},
		{b.Half, "named by id or key alone: what was denied by both is denied by the other still; name both, as a line \"id key\" in --file"},
	} {
		if line.n > 0 {
			rec.Lines = append(rec.Lines, count(line.n, "device")+" "+line.text)
		}
	}
	if b.Admitted > 0 {
		rec.Lines = append(rec.Lines, fmt.Sprint(b.Admitted)+" of the ids and keys that were denied may get new credentials again, by renewing or with a token")
	}
	if stays := b.reasons(); len(stays) > 0 {
		rec.Warnings = append(rec.Warnings, fmt.Sprintf("by the credentials known here, these cannot connect: %s; new ones come from: nsc issue %s --public-keys <file>",
			strings.Join(stays, "; "), fault.Words("--fleet", b.Fleet, "-a", ac.name)))
	}
	if n := len(o.devices); n > 0 && n <= maxAsked && o.file == "" {
		rec.Undo = "nsc revoke device " + fault.Words(append(slices.Clone(o.devices), "-a", ac.name)...)
		if o.from != "" {
			rec.Undo += " --from " + fault.Words(o.from)
		}
	}
}
