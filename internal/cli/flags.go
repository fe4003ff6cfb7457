package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/keys"
)

// durationValue is a flag that takes a Go duration or a bare number of seconds.
type durationValue time.Duration

// Set implements pflag.Value.
func (d *durationValue) Set(s string) error {
	v, err := time.ParseDuration(s)
	if seconds, perr := strconv.ParseFloat(s, 64); perr == nil {
		v, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || v <= 0 {
		return usage("expected a time such as 10s, 500ms or 10 (seconds)")
	}
	*d = durationValue(v)
	return nil
}

// String implements pflag.Value.
func (d *durationValue) String() string { return time.Duration(*d).String() }

// Type implements pflag.Value.
func (d *durationValue) Type() string { return "duration" }

// timeValue is a flag that takes RFC 3339 or Unix seconds, 0 for now. It holds
// Unix seconds.
type timeValue int64

// Set implements pflag.Value.
func (v *timeValue) Set(s string) error {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		*v = timeValue(n)
		return nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Unix() < 0 {
		return usage("expected a time such as 2026-01-31T10:00:00Z, or Unix seconds")
	}
	*v = timeValue(t.Unix())
	return nil
}

// String implements pflag.Value.
func (v *timeValue) String() string {
	if *v == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*v), 10)
}

// Type implements pflag.Value.
func (v *timeValue) Type() string { return "date-time" }

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
