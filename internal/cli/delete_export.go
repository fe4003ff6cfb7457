package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
)

func newDeleteExport(a *app) *cobra.Command {
	var account, subject string
	var service *bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Export a subject no more",
		Long: `Remove an export, which --subject names unless it is the only one. Imports of it
end at once. Its revoked activations stay remembered: they are demanded again when
the subject is exported again.`,
		Example: `  nsc delete export -a app --subject 'orders.>'
  nsc delete export -a shop
  nsc delete export -a app --subject price.get --service --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.finish(a.deleteExport(cmd.Context(), account, accounts.ExportRef{Subject: subject, Type: kindOf(service)}))
		},
	}
	accountFlag(cmd, &account)
	cmd.Flags().StringVarP(&subject, "subject", "s", "", "subject of the export (default the only one)")
	switchFlag(cmd.Flags(), &service, "service", "the service of that subject, or with =false the stream, where there are both")
	return cmd
}

func (a *app) deleteExport(ctx context.Context, accountName string, at accounts.ExportRef) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	ex, err := at.Find(ac.claims)
	if err != nil {
		return nil, nearExport(err, ac.claims, at.Subject)
	}
	at.Subject, at.Type = string(ex.Subject), ex.Type
	return s.share(ctx, r, ac, at.String(), change{edit: func(c *jwt.AccountClaims) error { return accounts.RemoveExport(c, at) }})
}
