package cli

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestVocabulary: every command and flag of the official tool is there, hidden
// and deprecated ones included.
func TestVocabulary(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/vocabulary.txt")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, flags, _ := strings.Cut(line, ":")
		commands++
		// New for each line: to look flags up merges them into the command.
		root := newRoot(&app{env: Env{Getenv: func(string) string { return "" }, Now: time.Now, Version: "1"}})
		root.InitDefaultCompletionCmd()
		root.InitDefaultHelpCmd()
		root.InitDefaultVersionFlag()
		cmd, rest, err := root.Find(strings.Fields(name))
		if err != nil || len(rest) > 0 {
			t.Errorf("no command %q: %v", name, err)
			continue
		}
		for _, flag := range strings.Fields(flags) {
			if problem := lacks(cmd, flag); problem != "" {
				t.Errorf("%s: %s", cmd.CommandPath(), problem)
			}
		}
	}
	if commands < 80 {
		t.Errorf("the list has %d commands only", commands)
	}
}

// lacks says what is wrong with a flag of the list, "" for nothing.
func lacks(cmd *cobra.Command, flag string) string {
	flag, isSwitch := strings.CutSuffix(flag, "?")
	name, short, _ := strings.Cut(flag, "/")
	var f *pflag.Flag
	for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags(), cmd.InheritedFlags()} {
		if f == nil {
			f = set.Lookup(name)
		}
	}
	switch {
	case f == nil:
		return "no flag --" + name
	case f.Shorthand != short && short != "":
		return "--" + name + " is not -" + short
	case isSwitch && f.NoOptDefVal != "true":
		return "--" + name + " wants a value"
	}
	return ""
}
