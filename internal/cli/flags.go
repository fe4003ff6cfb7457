package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/keys"
)

// durationValue is a flag that takes a span of time, see [accounts.ParseSpan].
type durationValue time.Duration

// Set implements pflag.Value.
func (d *durationValue) Set(s string) error {
	v, err := accounts.ParseSpan(s)
	switch {
	case err != nil:
		return err
	case v == 0:
		return usage("expected more than no time")
	}
	*d = durationValue(v)
	return nil
}

// String implements pflag.Value.
func (d *durationValue) String() string { return time.Duration(*d).String() }

// Type implements pflag.Value.
func (d *durationValue) Type() string { return "duration" }

// timeValue is a flag that takes a point in time, see [accounts.ParseTime], or
// Unix seconds; 0 is now.
type timeValue struct {
	to  *int64 // Unix seconds
	now time.Time
}

// Set implements pflag.Value.
func (v timeValue) Set(s string) error {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		*v.to = n
		return nil
	}
	at, err := accounts.ParseTime(s, v.now)
	if err == nil {
		*v.to = at
	}
	return err
}

// String implements pflag.Value. Such a flag has no value before it is given.
func (timeValue) String() string { return "" }

// Type implements pflag.Value.
func (timeValue) Type() string { return "date-time" }

// pastFlag adds a flag for a time that is usually over.
func (a *app) pastFlag(f *pflag.FlagSet, to *int64, name, usage string) {
	f.Var(timeValue{to, a.started.UTC()}, name, usage+": a date, a time, Unix seconds, or a time from now such as -7d; 0 for now")
}

// readEnd reads when something ends that begins now: how long it lasts, or a time.
func (a *app) readEnd(s string) (int64, error) {
	if d, err := accounts.ParseSpan(s); err == nil {
		return a.started.Add(d).Unix(), nil
	}
	return a.readTime(s)
}

// nameFlag adds --name/-n, the flag form of the positional name.
func nameFlag(cmd *cobra.Command, to *string, usage string) {
	cmd.Flags().StringVarP(to, "name", "n", "", usage)
}

// accountFlag adds --account/-a.
func accountFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVarP(to, "account", "a", "", "account name or public key (default the current account)")
}

// nameOf returns the name that a command is about, given as flag or as only
// argument; both are a usage error unless they agree.
func nameOf(flag string, given []string, what string) (string, error) {
	switch {
	case len(given) == 0 && flag == "":
		return "", usage("%s is missing", what)
	case len(given) == 0:
		return flag, nil
	case flag != "" && flag != given[0]:
		return "", usage("%s is given twice: %q and --name %q", what, given[0], flag)
	}
	return given[0], nil
}

// looksSecret reports whether s is a seed.
func looksSecret(s string) bool { return keys.IsSeed(s) }
