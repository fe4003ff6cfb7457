package cli

import (
	"encoding/csv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts"
)

// given is a flag whose value is nil until it is given, so that an edit changes
// what was named and nothing else.
type given[T any] struct {
	to   **T
	kind string // as the official tool calls the type
	read func(string) (T, error)
}

// Set implements pflag.Value.
func (g given[T]) Set(s string) error {
	v, err := g.read(s)
	if err == nil {
		*g.to = &v
	}
	return err
}

// String implements pflag.Value. Flags that were not given have no value.
func (given[T]) String() string { return "" }

// Type implements pflag.Value.
func (g given[T]) Type() string { return g.kind }

func numberFlag(f *pflag.FlagSet, to **int64, name, usage string) {
	f.Var(given[int64]{to, "number", accounts.ParseNumber}, name, usage)
}

func countFlag(f *pflag.FlagSet, to **int, name, usage string) {
	f.Var(given[int]{to, "int", parseCount}, name, usage)
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, usage("expected a whole number")
	}
	return int(n), nil
}

func textFlag(f *pflag.FlagSet, to **string, name, usage string) { textFlagP(f, to, name, "", usage) }

func textFlagP(f *pflag.FlagSet, to **string, name, short, usage string) {
	f.VarP(given[string]{to, "string", plain}, name, short, usage)
}

func switchFlag(f *pflag.FlagSet, to **bool, name, usage string) { switchFlagP(f, to, name, "", usage) }

func switchFlagP(f *pflag.FlagSet, to **bool, name, short, usage string) {
	f.VarPF(given[bool]{to, "bool", strconv.ParseBool}, name, short, usage).NoOptDefVal = "true"
}

// list is a flag that adds comma-separated values to one or more lists, each
// value read on its own.
type list struct {
	to   []*[]string
	read func(string) (string, error)
}

// Set implements pflag.Value.
func (l list) Set(s string) error {
	values, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return usage("expected values separated by commas")
	}
	for _, v := range values {
		if l.read != nil {
			if v, err = l.read(v); err != nil {
				return err
			}
		}
		for _, to := range l.to {
			*to = append(*to, v)
		}
	}
	return nil
}

// String implements pflag.Value.
func (list) String() string { return "" }

// Type implements pflag.Value.
func (list) Type() string { return "strings" }

func listFlag(f *pflag.FlagSet, to *[]string, name, usage string) {
	f.Var(list{to: []*[]string{to}}, name, usage)
}

// timeFlags adds --start and --expiry.
func (a *app) timeFlags(f *pflag.FlagSet, start, expiry **int64) {
	f.Var(given[int64]{start, "string", a.readTime}, "start", "valid from: a date, a time, or a time from now such as 3d; 0 is always")
	a.expiryFlag(f, expiry)
}

func (a *app) expiryFlag(f *pflag.FlagSet, expiry **int64) {
	f.Var(given[int64]{expiry, "string", a.readTime}, "expiry", "valid until: a date, a time, or a time from now such as 90d or 2M; 0 is for ever")
}

func (a *app) readTime(s string) (int64, error) { return accounts.ParseTime(s, a.started.UTC()) }

func tagFlags(f *pflag.FlagSet, add, remove *[]string) {
	listFlag(f, add, "tag", "add tags")
	listFlag(f, remove, "rm-tag", "remove tags")
}

// permissionFlags adds the flags that set permissions, and those that remove
// some; what names whose they are.
func permissionFlags(f *pflag.FlagSet, e *accounts.PermissionsEdit, what string) {
	listFlag(f, &e.AllowPub, "allow-pub", "let "+what+" publish to these subjects")
	listFlag(f, &e.AllowSub, "allow-sub", "let "+what+" subscribe to these subjects, with a queue after a space")
	f.Var(list{to: []*[]string{&e.AllowPub, &e.AllowSub}}, "allow-pubsub", "let "+what+" publish and subscribe to these subjects")
	listFlag(f, &e.DenyPub, "deny-pub", "forbid "+what+" to publish to these subjects")
	listFlag(f, &e.DenySub, "deny-sub", "forbid "+what+" to subscribe to these subjects, with a queue after a space")
	f.Var(list{to: []*[]string{&e.DenyPub, &e.DenySub}}, "deny-pubsub", "forbid "+what+" to publish and subscribe to these subjects")
	countFlag(f, &e.MaxResponses, "allow-pub-response", "let "+what+" publish this many messages (1 without a number) to a reply subject")
	f.Lookup("allow-pub-response").NoOptDefVal = "1"
	countFlag(f, &e.MaxResponses, "max-responses", "old name of --allow-pub-response")
	hide(f, "max-responses")
	f.Var(given[time.Duration]{&e.ResponseTTL, "string", accounts.ParseSpan}, "response-ttl", "how long replies may be published, such as 5s; 0 is without limit")
	listFlag(f, &e.Remove, "rm", "remove these subjects from all permissions")
	f.BoolVar(&e.RemoveResponse, "rm-response-perms", false, "remove the permission to publish to reply subjects")
}

// limitFlags adds what a user and the template of a role can be limited to.
func limitFlags(f *pflag.FlagSet, e *accounts.LimitsEdit, what string) {
	permissionFlags(f, &e.Permissions, what)
	numberFlag(f, &e.Payload, "payload", "largest message in bytes, -1 is unlimited")
	numberFlag(f, &e.Data, "data", "most data in bytes, -1 is unlimited")
	f.Var(given[int64]{&e.Subs, "int", accounts.ParseNumber}, "subs", "most subscriptions, -1 is unlimited")
	switchFlag(f, &e.Bearer, "bearer", "the JWT alone authenticates, without proof of the key")
	types := strings.Join(accounts.ConnectionTypes(), ", ")
	f.Var(list{[]*[]string{&e.AddConnTypes}, accounts.ParseConnectionType}, "conn-type", "allow these kinds of connections only: "+types)
	f.Var(list{[]*[]string{&e.RemoveConnTypes}, accounts.ParseConnectionType}, "rm-conn-type", "remove kinds of connections")
	f.Var(list{[]*[]string{&e.AddNetworks}, accounts.ParseNetwork}, "source-network", "allow connections from these networks only, such as 10.0.0.0/8")
	f.Var(list{to: []*[]string{&e.RemoveNetworks}, read: lower}, "rm-source-network", "remove networks")
	f.Var(ranges{&e.AddTimes}, "time", "allow connections in this daily span only, hh:mm:ss-hh:mm:ss")
	listFlag(f, &e.RemoveTimes, "rm-time", "remove the daily span that starts then, hh:mm:ss")
	f.Var(given[string]{&e.Locale, "time-locale", accounts.ParseLocale}, "locale", "time zone of the daily spans, such as Europe/Berlin")
}

func lower(s string) (string, error) { return strings.ToLower(strings.TrimSpace(s)), nil }

// ranges is a flag that adds daily spans.
type ranges struct{ to *[]jwt.TimeRange }

// Set implements pflag.Value.
func (r ranges) Set(s string) error {
	t, err := accounts.ParseTimeRange(s)
	if err == nil {
		*r.to = append(*r.to, t)
	}
	return err
}

// String implements pflag.Value.
func (ranges) String() string { return "" }

// Type implements pflag.Value.
func (ranges) Type() string { return "time-ranges" }

// hide leaves flags out of the help: old names that go on to work.
func hide(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		f.Lookup(name).Hidden = true
	}
}

// optionalName returns the name that a command is about, as flag or only
// argument, or "" for the current or only one.
func optionalName(flag string, args []string, what string) (string, error) {
	if flag == "" && len(args) == 0 {
		return "", nil
	}
	return nameOf(flag, args, what)
}

// nothingGiven is the error of an edit without a flag that changes anything:
// those in naming say what is to be changed.
func nothingGiven(cmd *cobra.Command, naming ...string) error {
	changes := false
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		changes = changes || f.Changed && !slices.Contains(naming, f.Name)
	})
	if changes {
		return nil
	}
	return usage("nothing to change: no flag says what").WithHint("%s --help", cmd.CommandPath())
}
