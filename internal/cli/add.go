package cli

import "github.com/spf13/cobra"

func newAdd(a *app) *cobra.Command {
	cmd := group("add", "Add operators, accounts, users, roles, fleets, plans, and what accounts share", "create")
	cmd.AddCommand(newAddOperator(a), newAddAccount(a), newAddUser(a), newAddExport(a), newAddImport(a), newAddMapping(a),
		newAddFleet(a), newAddStation(a), newAddRole(a), newAddPlan(a), newAddGroup(a))
	return cmd
}
