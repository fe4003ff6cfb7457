package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
)

func newDeleteImport(a *app) *cobra.Command {
	var account, subject, from string
	var all bool
	var service *bool
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Import a subject no more",
		Long: `Remove an import, which --subject names by the exporter's subject unless it is the
only one. Where the same subject comes from several accounts, or as stream and as
service, --src-account and --service say which.`,
		Example: `  nsc delete import -a shop --subject 'orders.*'
  nsc delete import -a shop --subject price.get --src-account app
  nsc delete import -a shop --src-account app --all
  nsc delete import -a billing --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case all && (from == "" || subject != "" || service != nil):
				return usage("--all goes with --src-account alone")
			case all:
				return a.finish(a.dropAll(cmd.Context(), account, from))
			}
			return a.finish(a.deleteImport(cmd.Context(), account, from, accounts.ImportRef{Subject: subject, Type: kindOf(service)}))
		},
	}
	accountFlag(cmd, &account)
	f := cmd.Flags()
	f.StringVarP(&subject, "subject", "s", "", "the exporter's subject (default the only import)")
	f.StringVar(&from, "src-account", "", "name or public key of the account that exports it")
	f.BoolVar(&all, "all", false, "all imports from the account that --src-account names")
	switchFlag(f, &service, "service", "the service of that subject, or with =false the stream, where there are both")
	return cmd
}

func (a *app) deleteImport(ctx context.Context, accountName, from string, at accounts.ImportRef) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	if from != "" {
		if at.Account, err = r.accountKey(from); err != nil {
			return nil, err
		}
	}
	rec, err := s.share(ctx, r, ac, "import "+at.Subject, change{edit: func(c *jwt.AccountClaims) error { return accounts.RemoveImport(c, at) }})
	return rec, nearImport(err, ac.claims, at.Subject)
}
