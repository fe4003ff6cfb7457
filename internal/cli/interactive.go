package cli

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/fault"
)

// endOfQuestions is the answer that leaves the rest as it is.
const endOfQuestions = "."

// interview asks for the flags of a command that were not given, if -i says so.
// The answers become flags, so that nothing differs from a command line.
func (a *app) interview(cmd *cobra.Command, given []string) error {
	if !a.flags.interactive || cmd.HasSubCommands() {
		return nil
	}
	if !a.env.Terminal {
		return usage("--interactive asks on a terminal, and there is none").
			WithHint("give the values as flags: %s --help", cmd.CommandPath())
	}
	fmt.Fprintf(a.env.Stderr, "an empty answer leaves a value as it is, %s leaves all that follow\n", endOfQuestions)
	for _, f := range questionsOf(cmd, given) {
		again, err := a.askFlag(cmd, f)
		if err != nil || !again {
			return err
		}
	}
	return nil
}

// questionsOf returns the flags to ask for: what the command is about first.
func questionsOf(cmd *cobra.Command, given []string) []*pflag.Flag {
	var out []*pflag.Flag
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		named := f.Name == "name" && len(given) > 0
		if !f.Changed && !f.Hidden && !named && f.Name != "help" && f.Name != "output" {
			out = append(out, f)
		}
	})
	rank := func(f *pflag.Flag) int { return slices.Index([]string{"account", "name"}, f.Name) }
	slices.SortStableFunc(out, func(x, y *pflag.Flag) int { return cmp.Compare(rank(y), rank(x)) })
	return out
}

// askFlag asks for one flag until the answer fits. It reports whether to go on.
func (a *app) askFlag(cmd *cobra.Command, f *pflag.Flag) (bool, error) {
	for {
		fmt.Fprintf(a.env.Stderr, "%s: %s%s ", f.Name, f.Usage, brackets(f))
		line, err := a.readLine()
		if err != nil {
			return false, fault.New(fault.Denied, "the answers ended; nothing was changed")
		}
		switch line {
		case "":
			return true, nil
		case endOfQuestions:
			return false, nil
		}
		if f.Value.Type() == "bool" {
			line = yesOrNo(line)
		}
		if err := cmd.Flags().Set(f.Name, line); err == nil {
			return true, nil
		}
		fmt.Fprintf(a.env.Stderr, "%q does not fit\n", line)
	}
}

// brackets shows the value that an empty answer means.
func brackets(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "[]":
		return ":"
	case "false":
		return " [no]:"
	case "true":
		return " [yes]:"
	}
	return " [" + f.DefValue + "]:"
}

func yesOrNo(line string) string {
	switch strings.ToLower(line) {
	case "y", "yes":
		return "true"
	case "n", "no":
		return "false"
	}
	return line
}

// readLine reads one line of stdin without the spaces around it. All that is
// asked of a person reads through it, since it reads ahead.
func (a *app) readLine() (string, error) {
	if a.stdin == nil {
		a.stdin = bufio.NewReader(a.env.Stdin)
	}
	line, err := a.stdin.ReadString('\n')
	line = strings.TrimSpace(line)
	if line != "" {
		return line, nil
	}
	return line, err
}
