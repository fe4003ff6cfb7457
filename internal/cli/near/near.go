// Package near says what a person probably meant by a command or flag that does
// not exist.
package near

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/suggest"
)

// UnknownCommand is the usage error of a word that names no command below cmd.
func UnknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	below := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name())
	err := fault.New(fault.Usage, "unknown command %q", strings.TrimSpace(below+" "+word))
	if name := suggest.Nearest(word, names); name != "" {
		return err.WithHint("did you mean: %s %s", cmd.CommandPath(), name)
	}
	return err.WithHint("list the commands with: %s --help", cmd.CommandPath())
}

// badValue is the error of a value that is none of its flag's kind.
func badValue(err *pflag.InvalidValueError) error {
	flag := err.GetFlag()
	wants, known := map[string]string{
		"int": "a whole number", "int64": "a whole number", "uint8": "a small whole number", "uint64": "a whole number",
		"float64": "a number", "bool": "true or false",
	}[flag.Value.Type()]
	cause := errors.Unwrap(err)
	switch {
	case known:
		return fault.New(fault.Usage, "--%s %s: expected %s", flag.Name, err.GetValue(), wants)
	case cause == nil:
		return fault.New(fault.Usage, "%w", err)
	case strings.Contains(cause.Error(), strconv.Quote(err.GetValue())): // the flag says itself what it wants
		return fault.New(fault.Usage, "--%s: %w", flag.Name, cause)
	}
	return fault.New(fault.Usage, "--%s %s: %w", flag.Name, err.GetValue(), cause)
}

// FlagError turns an error of flag parsing into a usage error that names the
// nearest flag. Below a wrong word no flag is known, and the word is the error.
func FlagError(cmd *cobra.Command, err error) error {
	if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
		return UnknownCommand(cmd, words[0])
	}
	name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	var value *pflag.InvalidValueError
	switch {
	case errors.As(err, &value):
		return badValue(value)
	case !unknown:
		return fault.New(fault.Usage, "%w", err)
	}
	f := fault.New(fault.Usage, "unknown flag --%s", name)
	if flag := suggest.Nearest(name, flagNames(cmd)); flag != "" {
		return f.WithHint("did you mean --%s", flag)
	}
	return f
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}
