package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/cli/near"
)

// Env is the world as accountd sees it. Nothing below cmd/ asks the operating
// system for what stands here.
type Env struct {
	Stdout, Stderr io.Writer
	Now            func() time.Time
	Dir            string           // current folder, absolute
	Program        string           // path of the running program, "" if not known
	RuntimeDir     string           // XDG_RUNTIME_DIR, "" for none
	Reload         <-chan os.Signal // asks for files to be read again that may change; nil for never
	Version        string
}

// Run runs accountd with args, the command line without the program's name,
// until it is done or ctx ends, and returns the exit code.
func Run(ctx context.Context, args []string, env Env) int {
	root := newRoot(env)
	root.SetArgs(args)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	report(env.Stderr, cmd, err)
	return fault.ExitCode(err)
}

func newRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "accountd",
		Short: "Authentication and accounts for NATS: holds claims, brings them into force everywhere, and proves it",
		Example: `  accountd dev
  accountd dev --dir ./demo --port 0
  accountd dev node stop nats-1
  accountd migrate status --store postgres://accountd@db/accountd`,
		Version:       env.Version,
		Args:          noArgs,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return needsCommand(cmd) },
	}
	root.SetFlagErrorFunc(near.FlagError)
	root.AddCommand(newDev(env), newResolver(env), newMigrate(env))
	return root
}

// report prints err, its hint, and the usage line after a usage error.
func report(w io.Writer, cmd *cobra.Command, err error) {
	if err == nil {
		return
	}
	fmt.Fprintf(w, "accountd: error: %s\n", oneLine(err))
	f := fault.As(err)
	switch {
	case f != nil && f.Hint != "":
		fmt.Fprintf(w, "accountd: hint: %s\n", f.Hint)
	case f != nil && f.Code == fault.Usage:
		fmt.Fprintf(w, "accountd: hint: see %s --help\n", cmd.CommandPath())
	}
}

// oneLine is the text of err; joined errors stand side by side.
func oneLine(err error) string {
	text := ""
	for line := range strings.Lines(err.Error()) {
		if text != "" && !strings.HasSuffix(text, ":") {
			text += ";"
		}
		text += " " + strings.TrimSpace(line)
	}
	return strings.TrimSpace(text)
}

func needsCommand(cmd *cobra.Command) error {
	return fault.New(fault.Usage, "%s needs a command", cmd.CommandPath())
}

// noArgs refuses arguments, and calls them unknown commands where there are some.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasAvailableSubCommands():
		return fault.New(fault.Usage, "%s takes no arguments, found %q", cmd.CommandPath(), args[0])
	}
	return near.UnknownCommand(cmd, args[0])
}

// absolute is path seen from the current folder.
func (e Env) absolute(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(e.Dir, path)
}

// storeSpec is spec with the path of a file seen from the current folder.
func (e Env) storeSpec(spec string) string {
	if path, ok := strings.CutPrefix(spec, "bolt:"); ok && path != "" {
		return "bolt:" + e.absolute(path)
	}
	return spec
}

// logger logs to stderr from level on.
func (e Env) logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fault.New(fault.Usage, "--log-level %s: %w", level, errors.New("expected debug, info, warn or error"))
	}
	return slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: l})), nil
}
