package cli

import "github.com/spf13/cobra"

func newImport(a *app) *cobra.Command {
	cmd := group("import", "Take accounts, users and keys from files")
	cmd.AddCommand(newImportKeys(a))
	return cmd
}
