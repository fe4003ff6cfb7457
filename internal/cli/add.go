package cli

import "github.com/spf13/cobra"

func newAdd(a *app) *cobra.Command {
	cmd := group("add", "Add operators, accounts and users", "create")
	cmd.AddCommand(newAddOperator(a), newAddAccount(a), newAddUser(a))
	return cmd
}
