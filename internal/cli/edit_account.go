package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/suggest"
	"github.com/accountd/accountd/keys"
)

// editAccountOptions are the flags of edit account.
type editAccountOptions struct {
	name, plan  string
	edit        accounts.Edit
	addSK, rmSK []string
}

func newEditAccount(a *app) *cobra.Command {
	var o editAccountOptions
	cmd := &cobra.Command{
		Use:   "account [name]",
		Short: "Change an account's limits, keys and permissions",
		Long: `Change an account, the current one if none is named, and bring the change into
force. Flags that are not given leave what they name as it is. Numbers may have
units: 64k is 64000, 1GiB is 2^30, and -1 is unlimited. --rm-sk retires a
signing key for ever: what it signed is refused, and it never comes back.`,
		Example: `  nsc edit account app --conns 500 --payload 64k
  nsc edit account app --js-enable 0
  nsc edit account app --js-tier 3 --js-disk-storage 10GiB --js-streams 20
  nsc edit account app --sk generate
  nsc edit account app --plan gold
  nsc edit account app --deny-pub 'admin.>' --dry-run`,
		Args: args(0, 1, "the account's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = optionalName(o.name, given, "the account's name"); err != nil {
				return err
			}
			if err := nothingGiven(cmd, "account", "name"); err != nil {
				return err
			}
			return a.finish(a.editAccountClaims(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "account to edit (default the current one)")
	a.editAccountFlags(cmd.Flags(), &o)
	jetStreamFlags(cmd.Flags(), &o.edit.JetStream)
	return cmd
}

func (a *app) editAccountFlags(f *pflag.FlagSet, o *editAccountOptions) {
	e := &o.edit
	a.timeFlags(f, &e.Starts, &e.Expires)
	tagFlags(f, &e.AddTags, &e.RemoveTags)
	namespaceFlag(f, e)
	confineFlag(f, e)
	planFlag(f, &o.plan)
	limitsOfAccount(f, e)
	listFlag(f, &o.addSK, "sk", "add a signing key: generate, a public key, or a file with its seed")
	listFlag(f, &o.rmSK, "rm-sk", "remove and retire a signing key: its public key or role")
	textFlag(f, &e.Description, "description", "what the account is for")
	textFlag(f, &e.InfoURL, "info-url", "where to read more about the account")
	permissionFlags(f, &e.Permissions, "users without permissions of their own")
	textFlag(f, &e.TraceSubject, "trace-context-subject", `where traces of messages with a trace context go, "" for nowhere`)
	numberFlag(f, &e.TraceSampling, "trace-context-sampling", "percentage of such messages that are traced, 1 to 100")
	switchFlag(f, &e.HostClusterTraffic, "host-cluster-traffic", "JetStream's cluster traffic goes over this account")
	hide(f, "host-cluster-traffic")
}

func planFlag(f *pflag.FlagSet, to *string) {
	f.StringVar(to, "plan", "", "the plan that says all limits; none takes the account off its plan, and leaves its limits")
}

// limitsOfAccount adds the limits of an account but for JetStream's.
func limitsOfAccount(f *pflag.FlagSet, e *accounts.Edit) {
	numberFlag(f, &e.Conns, "conns", "most client connections, -1 is unlimited")
	numberFlag(f, &e.LeafConns, "leaf-conns", "most leaf node connections, -1 is unlimited")
	numberFlag(f, &e.Data, "data", "most data in bytes, -1 is unlimited")
	numberFlag(f, &e.Payload, "payload", "largest message in bytes, -1 is unlimited")
	numberFlag(f, &e.Subs, "subscriptions", "most subscriptions, -1 is unlimited")
	numberFlag(f, &e.Exports, "exports", "most exports, -1 is unlimited")
	numberFlag(f, &e.Imports, "imports", "most imports, -1 is unlimited")
	switchFlag(f, &e.WildcardExports, "wildcard-exports", "exports may have wildcards")
	switchFlag(f, &e.DisallowBearer, "disallow-bearer", "no user may be a bearer user")
}

func jetStreamFlags(f *pflag.FlagSet, js *accounts.JetStreamEdit) {
	countFlag(f, &js.Tier, "js-tier", "the tier that the other --js flags are about: a number of replicas, 0 for global limits")
	countFlag(f, &js.RemoveTier, "rm-js-tier", "remove the limits of a tier, 0 for the global ones")
	countFlag(f, &js.Enable, "js-enable", "unlimited JetStream in a tier, 0 for all")
	f.BoolVar(&js.Disable, "js-disable", false, "remove all JetStream limits, and so JetStream")
	for _, n := range []struct {
		to                 **int64
		name, old, meaning string
	}{
		{&js.MemStorage, "js-mem-storage", "mem-storage", "most memory of streams in bytes, 0 for none, -1 is unlimited"},
		{&js.DiskStorage, "js-disk-storage", "disk-storage", "most disk space of streams in bytes, 0 for none, -1 is unlimited"},
		{&js.Streams, "js-streams", "streams", "most streams, -1 is unlimited"},
		{&js.Consumers, "js-consumer", "consumer", "most consumers, -1 is unlimited"},
		{&js.MaxMemStream, "js-max-mem-stream", "", "largest memory stream in bytes, -1 is unlimited"},
		{&js.MaxDiskStream, "js-max-disk-stream", "", "largest disk stream in bytes, -1 is unlimited"},
		{&js.MaxAckPending, "js-max-ack-pending", "", "most unacknowledged messages of a consumer, -1 is unlimited"},
	} {
		numberFlag(f, n.to, n.name, "JetStream: "+n.meaning)
		if n.old != "" {
			numberFlag(f, n.to, n.old, "old name of --"+n.name)
			hide(f, n.old)
		}
	}
	switchFlag(f, &js.MaxBytesRequired, "js-max-bytes-required", "JetStream: streams must set their size")
}

func (a *app) editAccountClaims(ctx context.Context, o editAccountOptions) (*receipt, error) {
	if err := o.edit.JetStream.Check(); err != nil {
		return nil, err
	}
	s, r, ac, err := a.open(ctx, o.name)
	if err != nil {
		return nil, err
	}
	o.edit.System = r.sysOf(ac)
	if err := s.findPlan(r, o.plan, &o.edit); err != nil {
		return nil, err
	}
	if err := o.check(r, ac); err != nil {
		return nil, err
	}
	if err := o.checkNamespace(ctx, s, r, ac); err != nil {
		return nil, err
	}
	for _, name := range o.rmSK {
		key, err := keyToRemove(ac, name)
		if err != nil {
			return nil, err
		}
		o.edit.RemoveKeys = append(o.edit.RemoveKeys, key)
	}
	fresh, err := s.accountSigningKeys(o.addSK)
	if err != nil {
		return nil, err
	}
	o.edit.AddKeys = publicKeys(fresh)
	return s.runEditAccount(ctx, r, ac, o, fresh)
}

func (s *session) runEditAccount(ctx context.Context, r *root, ac *account, o editAccountOptions, fresh []newKey) (*receipt, error) {
	var done edited
	rec, err := s.withSeeds(ctx, fresh, r.accountNames(ac.name), func() (*receipt, error) {
		return s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
			return apply(&done, c, o.edit.Apply)
		}})
	})
	if rec == nil {
		return nil, err
	}
	s.describe(&done, rec, "account "+ac.name+"  "+keys.Short(ac.key))
	if rec.Outcome == outcomeSame {
		return rec, err
	}
	rec.Lines = append(rec.Lines, madeLines("signing key", fresh)...)
	if werr := o.retired(r, ac, rec); werr != nil && err == nil {
		err = werr
	}
	if e := o.edit.Expires; e != nil && *e != 0 && *e <= s.now {
		rec.Warnings = append(rec.Warnings, "the account has expired already: "+clock(*e))
	}
	after := copyOf(ac)
	applied := o.edit.Apply(after) == nil
	rec.Warnings = append(rec.Warnings, neverValid("account", after.NotBefore, after.Expires)...)
	if applied && !s.flags.dryRun && rec.Outcome != outcomeRefused {
		err = firstErr(err, s.moveImports(ctx, r, ac.key, spaceOf(ac.claims), spaceOf(after), rec))
	}
	if p := o.edit.Plan; p != nil {
		changes, _ := p.Changes(ac.claims) // what could not be read was refused
		rec.Warnings = append(rec.Warnings, s.overLimit(ctx, r, ac, changes)...)
	}
	rec.Warnings = append(rec.Warnings, shutOut(o.edit)...)
	if c := o.edit.Confine; c != nil && *c {
		names, uerr := r.unrestricted(ac)
		if len(names) > 0 {
			rec.Warnings = append(rec.Warnings, confinedUsers(names))
		}
		err = firstErr(err, uerr)
	}
	return rec, err
}

// shutOut says whom limits of 0 keep out, which are no limits in other tools.
func shutOut(e accounts.Edit) []string {
	var out []string
	for _, l := range []struct {
		limit      *int64
		flag, what string
	}{
		{e.Conns, "conns", "no client can connect"},
		{e.LeafConns, "leaf-conns", "no leaf node can connect"},
		{e.Subs, "subscriptions", "nobody can subscribe"},
	} {
		if l.limit != nil && *l.limit == 0 {
			out = append(out, "with --"+l.flag+" 0 "+l.what+"; -1 is unlimited")
		}
	}
	return out
}

// check refuses what the local store shows to be wrong.
func (o editAccountOptions) check(r *root, ac *account) error {
	if o.edit.DisallowBearer == nil || !*o.edit.DisallowBearer || ac.claims.Limits.DisallowBearer {
		return nil
	}
	names, err := r.bearers(ac)
	if err != nil || len(names) == 0 {
		return err
	}
	return fault.New(fault.Conflict, "account %q has bearer users: %s", ac.name, strings.Join(names, ", ")).
		About("account", ac.name).ByRule("bearer").
		WithHint("change them first: nsc edit user %s -a %s --bearer=false", shellWords(names[:1]), shellWords([]string{ac.name}))
}

// retired says what removing signing keys means.
func (o editAccountOptions) retired(r *root, ac *account, rec *receipt) error {
	for _, key := range o.edit.RemoveKeys {
		rec.Cuts = true
		rec.Lines = append(rec.Lines, fmt.Sprintf("signing key %s%s %s: what it signed is refused, and it cannot be added again",
			keys.Short(key), roleText(ac.claims, key), retirement(rec)))
		users, err := r.signedBy(ac.name, func(issuer string) bool { return issuer == key })
		if err != nil {
			return err
		}
		if len(users) > 0 {
			rec.Warnings = append(rec.Warnings, fmt.Sprintf("it signed %s, who can connect no more; issue anew with: nsc add user %s -a %s --reissue -K <key>",
				strings.Join(users, ", "), shellWords(users[:1]), shellWords([]string{ac.name})))
		}
	}
	return nil
}

// retirement says how far the retirement of a key has come.
func retirement(rec *receipt) string {
	switch {
	case rec.Outcome == outcomeDry:
		return "would be retired for ever"
	case rec.Revision > 0:
		return "is retired for ever"
	}
	return "is removed here, and retired for ever once this is published"
}

// madeLines names the keys that were made, so that they can be copied.
func madeLines(what string, fresh []newKey) []string {
	var lines []string
	for _, k := range fresh {
		if k.seed != nil {
			lines = append(lines, what+" "+k.public+", its seed in the keystore")
		}
	}
	return lines
}

func roleText(ac *jwt.AccountClaims, key string) string {
	if scope, ok := ac.SigningKeys[key].(*jwt.UserScope); ok && scope != nil && scope.Role != "" {
		return fmt.Sprintf(" of role %q", scope.Role)
	}
	return ""
}

// keyToRemove resolves --rm-sk, with the nearest name if there is no such key.
func keyToRemove(ac *account, name string) (string, error) {
	if looksSecret(name) {
		return "", usage("a seed does not belong on the command line, where others can read it").
			WithHint("name the key by its public key")
	}
	key, names, err := accounts.KeyNamed(ac.claims, name)
	return key, withNearest(err, name, names)
}

// withNearest adds to an error of a wrong name the name that was meant.
func withNearest(err error, name string, names []string) error {
	if f := fault.As(err); f != nil && f.Code == fault.NotFound {
		if near := suggest.Nearest(name, names); near != "" {
			f.Msg += " (did you mean " + quote(near) + "?)"
		}
	}
	return err
}

func (s *session) accountSigningKeys(values []string) ([]newKey, error) {
	return s.newKeys(values, accountKeys("--sk"))
}

func accountKeys(flag string) keyFlag {
	return keyFlag{
		name: flag, kind: kindAccount,
		generate: func() (pair, error) { return keys.NewAccount() },
		valid: func(key string) error {
			_, err := keys.ParseAccount(key)
			return err
		},
		parse: func(seed []byte) (pair, error) { return keys.AccountFromSeed(seed) },
	}
}

func revision(n uint64) string { return fmt.Sprintf("revision %d", n) }
