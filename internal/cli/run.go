package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/cli/near"
)

// app is one run of nsc: its world, its global flags and what it opened.
type app struct {
	env     Env
	flags   globals
	started time.Time
	closers []func()
	stdin   *bufio.Reader // of readLine
}

// Run runs nsc with args, the command line without the program's name, and
// returns the exit code.
func Run(ctx context.Context, args []string, env Env) int {
	a := &app{env: env, started: env.Now()}
	root := newRoot(a)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		a.complete(root)
	}
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	for _, closer := range slices.Backward(a.closers) {
		closer()
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		err = fault.New(fault.Interrupted, "interrupted: %w", err)
	}
	a.report(cmd, err)
	return fault.ExitCode(err)
}

// report prints err and its hint, and the usage line after a usage error.
func (a *app) report(cmd *cobra.Command, err error) {
	var shown told
	if err == nil || errors.As(err, &shown) {
		return
	}
	fmt.Fprintf(a.env.Stderr, "nsc: error: %s\n", strings.TrimRight(err.Error(), ".\n"))
	f := fault.As(err)
	if f == nil {
		return
	}
	if f.Hint != "" {
		fmt.Fprintf(a.env.Stderr, "nsc: hint: %s\n", f.Hint)
	}
	if f.Code == fault.Usage && cmd != nil {
		fmt.Fprintf(a.env.Stderr, "usage: %s\n", cmd.UseLine())
		if f.Hint == "" {
			fmt.Fprintf(a.env.Stderr, "nsc: hint: %s --help\n", cmd.CommandPath())
		}
	}
}

// usage is the error of a command line that makes no sense.
func usage(format string, args ...any) *fault.Error {
	return fault.New(fault.Usage, format, args...)
}

// args is the check of positional arguments: between least and most.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, given []string) error {
		switch {
		case len(given) < least:
			return usage("%s is missing", what)
		case len(given) > most && most == 0:
			return usage("unexpected argument %q", given[0])
		case len(given) > most:
			return usage("unexpected argument %q after %s", given[most], what)
		}
		return nil
	}
}

// group makes a command that only holds others: alone it shows its help, and
// an unknown word is a usage error that names the nearest command.
func group(use, short string, aliases ...string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Aliases: aliases,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) == 0 {
				return cmd.Help()
			}
			if instead := leftOut(given[0]); instead != "" && !cmd.HasParent() {
				return usage("the command %q is of the official tool alone", given[0]).WithHint("%s", instead)
			}
			return near.UnknownCommand(cmd, given[0])
		},
	}
}

// leftOut says what to do instead of a command of the official tool that this
// one does not have, "" for any other word.
func leftOut(command string) string {
	switch command {
	case "update":
		return "take the new version from where this one came from"
	case "upgrade-jwt":
		return "upgrade a store of version 1 with the official tool: nsc upgrade-jwt"
	case "test":
		return "it is for the official tool's developers"
	}
	return ""
}
