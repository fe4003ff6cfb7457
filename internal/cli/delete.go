package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
)

func newDelete(a *app) *cobra.Command {
	cmd := group("delete", "Delete accounts, users, roles, fleets, plans, and what accounts share")
	cmd.AddCommand(newDeleteAccount(a), newDeleteUser(a), newDeleteExport(a), newDeleteImport(a), newDeleteMapping(a), newDeleteFleet(a), newDeleteRole(a), newDeletePlan(a), newDeleteGroup(a))
	return cmd
}

// confirm asks a person to type word before much is lost. Without a terminal
// nobody can answer, and the command line must: with --yes.
func (a *app) confirm(loss, word string) error {
	if a.flags.yes || a.flags.dryRun {
		return nil
	}
	if !a.env.Terminal {
		return usage("%s, and there is no terminal to ask", loss).WithHint("repeat it with --yes if that is meant")
	}
	fmt.Fprintf(a.env.Stderr, "%s\ntype %s to go on: ", loss, word)
	if line, _ := a.readLine(); line != word {
		return fault.New(fault.Denied, "not confirmed; nothing was changed").WithHint("repeat it with --yes, or type the name")
	}
	return nil
}
