package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
)

// issueOptions are the flags of issue.
type issueOptions struct {
	account, fleet, station string
	count, first            int
	ids, publicKeys         string // files
	recipient               string // age
	prefix, out             string
	ttl                     time.Duration
	tags                    []string
}

func newIssue(a *app) *cobra.Command {
	var o issueOptions
	cmd := &cobra.Command{
		Use:   "issue",
		Short: "Issue credentials to devices of a fleet, by the million",
		Long: `Issue credentials to devices: --count numbered ones, those whose ids --ids lists, or
those whose ids and public keys --public-keys lists, which made their own keys. They
go to a file or, with -, to stdout, one JSON object a line, or to a folder (a name
that ends in /), one credentials file each. Nothing of them is kept here.
A run that was interrupted, however it was, goes on with the same command: every
device is issued once. A manifest beside the output has the number of devices and
the Merkle root of their JWTs.`,
		Example: `  nsc issue --fleet sensors -a app --count 1000000 --prefix sensor- --out sensors.ndjson
  nsc issue --fleet sensors -a app --ids serials.txt --out creds/
  nsc issue --fleet sensors -a app --public-keys devices.txt --out devices.ndjson
  nsc issue -a app --count 2000 --recipient age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg --out sealed
  nsc issue --fleet sensors -a app --station line4 --count 500 --first 501 --out line4.ndjson
  nsc issue --fleet sensors -a app --count 3 --out -`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("count") && o.count < 1 {
				return usage("--count is a number of devices, at least 1")
			}
			return a.finishIssue(a.issue(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	fleetFlag(cmd, &o.fleet)
	f := cmd.Flags()
	f.StringVar(&o.station, "station", "", "sign with the key of this station")
	f.IntVar(&o.count, "count", 0, "issue this many numbered devices")
	f.IntVar(&o.first, "first", 1, "number of the first device")
	f.StringVar(&o.prefix, "prefix", "", "what stands before the numbers")
	f.StringVar(&o.ids, "ids", "", "file with an id a line")
	f.StringVar(&o.publicKeys, "public-keys", "", "file with an id and a public key a line, or a public key that is the id, too")
	f.StringVar(&o.out, "out", "", "file, folder, or - for stdout")
	f.StringVar(&o.recipient, "recipient", "", "encrypt to this age recipient (age1…), in a folder of files of 8192 devices")
	ttlFlag(f, &o.ttl)
	f.Lookup("ttl").Usage = "longest lifetime of these credentials (default that of the fleet)"
	f.Lookup("ttl").DefValue = ""
	listFlag(f, &o.tags, "tag", "tags of these devices")
	return cmd
}

// issued is the result of a run. Its JSON is documented in docs/json-output.md.
type issued struct {
	manifest
	Outcome  string     `json:"outcome"`
	Before   int64      `json:"before"` // of them issued by earlier runs
	Out      string     `json:"out,omitempty"`
	Manifest string     `json:"manifest,omitempty"`
	Warnings []string   `json:"warnings,omitempty"`
	Ms       float64    `json:"ms"`
	Error    *api.Error `json:"error,omitempty"`
}

// check refuses flags that contradict each other.
func (o issueOptions) check() error {
	given := 0
	for _, is := range []bool{o.count > 0, o.ids != "", o.publicKeys != ""} {
		given += boolToInt(is)
	}
	switch {
	case given != 1:
		return usage("say which devices, in one way: --count, --ids or --public-keys")
	case o.out == "":
		return usage("--out is missing").WithHint("name a file, a folder that ends in /, or - for stdout")
	case o.count == 0 && (o.prefix != "" || o.first != 1):
		return usage("--prefix and --first are for --count")
	case o.recipient != "" && o.out == "-":
		return usage("encrypted devices go to a folder").WithHint("name it with --out")
	case o.first < 0:
		return usage("--first is a number from 0 on")
	}
	for _, tag := range o.tags {
		if tag != strings.ToLower(strings.TrimSpace(tag)) || tag == "" {
			return usage("the tag %q: tags are in small letters", tag)
		}
	}
	if o.recipient != "" {
		if _, err := operator.SealWriter(io.Discard, o.recipient); err != nil {
			return err
		}
	}
	if o.count == 0 {
		return nil
	}
	last := fmt.Sprint(o.first + o.count - 1)
	return fleet.CheckID(o.prefix + last)
}

func (a *app) issue(ctx context.Context, o issueOptions) (*issued, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	f, err := fleet.Find(ac.claims, o.fleet)
	if err != nil {
		return nil, err
	}
	if ac, err = s.current(ctx, r, ac); err != nil {
		return nil, err
	}
	if f, err = fleet.Find(ac.claims, f.Name); err != nil {
		return nil, err
	}
	warnings, err := s.inForce(ctx, r, ac)
	if err != nil {
		return nil, err
	}
	signers, err := s.fleetSigners(ac, f, o.station)
	if err != nil {
		return nil, err
	}
	for _, signer := range signers {
		if err := accounts.CheckLiteralDevice(f.Name, o.tags, ac.claims, signer.PublicKey()); err != nil { // ids are checked one by one
			return nil, err
		}
	}
	is, err := bulk.New(bulk.Options{
		Account: ac.key, Fleet: f, Signers: signers, TTL: o.ttl, Tags: o.tags, Now: time.Unix(max(s.now, issueFloor(ac, "")), 0),
	})
	if err != nil {
		return nil, err
	}
	plan, open, err := a.issuePlan(o, ac, f)
	if err != nil {
		return nil, err
	}
	res := &issued{
		manifest: manifest{Schema: api.Schema, Kind: "issue", Account: ac.name, Key: ac.key, Fleet: f.Name, Station: o.station}, Warnings: warnings,
	}
	if a.flags.dryRun {
		res.Outcome, res.Count, res.Out = outcomeDry, int64(plan.Count), o.out
		return res, nil
	}
	job := &issueJob{app: a, plan: plan, res: res, issuer: is, open: open, progress: a.progress(plan.Count, "devices issued", "issued")}
	defer job.progress.stop()
	return res, job.run(ctx, o.out)
}

// fleetSigners returns the keys that sign devices, one a cohort, or that of a
// station.
func (s *session) fleetSigners(ac *account, f fleet.Fleet, station string) ([]claims.Signer, error) {
	list, err := f.Signers(ac.claims)
	if station != "" {
		var k fleet.Key
		k, err = f.Station(ac.claims, station)
		list = []fleet.Key{k}
	}
	if err != nil {
		return nil, err
	}
	var out []claims.Signer
	for _, k := range list {
		if station != "" && k.Retires > 0 && k.Retires <= s.now {
			return nil, fault.New(fault.Expired, "station %q was to be retired at %s", station, clock(k.Retires)).About("station", station).
				WithHint("retire it with: nsc compact %s", shellWords([]string{ac.name}))
		}
		seed, err := s.store.Keystore().Seed(k.Public)
		if fault.Is(err, fault.NotFound) {
			return nil, fault.New(fault.Denied, "the keystore has no seed of %s, which signs for %s", keys.Short(k.Public), k.Role).
				ByRule("signer").About("key", k.Public).WithHint("import it with: nsc import keys --dir <folder>; if accountd made it, in a roll of its own, make keys here with: nsc edit fleet %s -a %s --roll",
				f.Name, fault.Words(ac.name))
		}
		if err != nil {
			return nil, err
		}
		pair, err := keys.AccountFromSeed(seed)
		clear(seed)
		if err != nil {
			return nil, err
		}
		s.closers = append(s.closers, pair.Wipe)
		out = append(out, pair)
	}
	return out, nil
}

// inForce refuses to issue by an account of which accountd holds another
// version: its keys may be retired. Where nobody answers it warns.
func (s *session) inForce(ctx context.Context, r *root, ac *account) ([]string, error) {
	if ok, _ := s.online(r); !ok {
		return nil, nil
	}
	c, err := s.client(ctx, r)
	if err == nil {
		var got api.GetReply
		if got, err = s.get(ctx, c, ac.key); err == nil && got.Version.ID == ac.doc.ID {
			return nil, nil
		}
	}
	name := shellWords([]string{ac.name})
	switch {
	case err == nil:
		return nil, fault.New(fault.Conflict, "the account %s here is not the version in force, whose keys may be others", ac.name).
			About("account", ac.name).ByRule("conflict").WithHint("nsc pull -a %s, or publish yours with: nsc push -a %s", name, name)
	case fault.Is(err, fault.NotFound):
		return nil, fault.New(fault.Conflict, "account %s is not published", ac.name).About("account", ac.name).ByRule("conflict").
			WithHint("nsc push -a %s", name)
	}
	return []string{"accountd does not answer; whether the keys here are in force is not known"}, nil
}

// issuePlan says what a run is about and how its devices are read. A list is
// read to its end before anything is issued.
func (a *app) issuePlan(o issueOptions, ac *account, f fleet.Fleet) (issuePlan, func() (bulk.Source, io.Closer, error), error) {
	p := issuePlan{
		Schema: api.Schema, Account: ac.key, Fleet: f.Name, Station: o.station, Tags: o.tags, TTL: int64(o.ttl / time.Second),
		Prefix: o.prefix, First: o.first, Count: o.count, Recipient: o.recipient,
	}
	if o.count > 0 {
		return p, func() (bulk.Source, io.Closer, error) {
			return &bulk.Counted{Prefix: o.prefix, Next: o.first, After: o.first + o.count}, io.NopCloser(nil), nil
		}, nil
	}
	name, keyed := first(o.ids, o.publicKeys), o.publicKeys != ""
	file := func() (io.ReadCloser, error) {
		f, err := os.Open(a.path(name))
		if err != nil {
			return nil, fault.New(fault.NotFound, "open the list of devices: %w", err).About("file", name)
		}
		return f, nil
	}
	found, err := bulk.Check(file, keyed, func(d bulk.Device) error { return notRevoked(ac, d) })
	if err != nil {
		if f := fault.As(err); f != nil && f.Code == fault.Invalid {
			f.Msg = name + ": " + f.Msg
		}
		return p, nil, err
	}
	if found.Count == 0 {
		return p, nil, fault.New(fault.Invalid, "%s lists no device", name).About("file", name)
	}
	p.First, p.Count, p.List = 0, found.Count, found.Digest
	return p, func() (bulk.Source, io.Closer, error) {
		r, err := file()
		if err != nil {
			return nil, nil, err
		}
		return bulk.NewList(r, keyed), r, nil
	}, nil
}

// notRevoked refuses a device whose key was revoked: new credentials would
// bring it back.
func notRevoked(ac *account, d bulk.Device) error {
	if _, revoked := ac.claims.Revocations[d.Key]; !revoked || d.Key == "" {
		return nil
	}
	return fault.New(fault.Denied, "the key %s of device %q is revoked", keys.Short(d.Key), d.ID).ByRule("revoked").About("user", d.Key).
		WithHint("take it off the list, or: nsc unrevoke user %s -a %s", d.Key, shellWords([]string{ac.name}))
}

// finishIssue prints the result of a run: to stdout, or to stderr where the
// devices themselves went to stdout.
func (a *app) finishIssue(res *issued, err error) error {
	if res == nil {
		return err
	}
	res.Ms = float64(a.env.Now().Sub(a.started).Microseconds()) / 1000
	out := a.env.Stdout
	if res.Out == "-" {
		out = a.env.Stderr
	}
	for _, w := range res.Warnings {
		fmt.Fprintln(a.env.Stderr, "nsc: warning: "+w)
	}
	switch {
	case a.flags.json:
		res.Error = api.ToError(err)
		return firstErr(err, a.writeStructured(out, res))
	case err != nil:
		return err
	case res.Outcome == outcomeDry:
		fmt.Fprintf(out, "would issue %s of fleet %s in %s to %s\ndry run: nothing was changed\n", count(int(res.Count), "device"), res.Fleet, res.Account, res.Out)
		return nil
	}
	fmt.Fprintf(out, "issued %s of fleet %s in %s", count(int(res.Count), "device"), res.Fleet, res.Account)
	if res.Before > 0 {
		fmt.Fprintf(out, ", %d of them before", res.Before)
	}
	day := func(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04 UTC") }
	fmt.Fprintf(out, ", expiring from %s to %s\n", day(res.FirstExpiry), day(res.LastExpiry))
	fmt.Fprintf(out, "root %s\n", res.Root)
	if res.Manifest != "" {
		fmt.Fprintf(out, "devices in %s, manifest in %s\n", a.shown(res.Out), a.shown(res.Manifest))
	}
	fmt.Fprintf(out, "%.0f a second, %s\n", float64(res.Count-res.Before)/max(res.Ms/1000, 0.001), millis(res.Ms))
	return nil
}

// workers is how many goroutines make keys.
func workers() int { return runtime.GOMAXPROCS(0) }
