package cli

import (
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// HelpExamples returns the examples in all help texts by command.
func HelpExamples() map[string][]string {
	out := map[string][]string{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			out[cmd.CommandPath()] = append(out[cmd.CommandPath()], strings.TrimSpace(line))
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(newRoot(&app{env: Env{Stdout: io.Discard, Stderr: io.Discard, Now: time.Now}, started: time.Now()}))
	return out
}

// Words splits a line as a shell does.
func Words(line string) []string { return shellSplit(line) }
