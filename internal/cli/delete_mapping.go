package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
)

func newDeleteMapping(a *app) *cobra.Command {
	var account, from, to, cluster string
	cmd := &cobra.Command{
		Use:   "mapping --from <subject>",
		Short: "Let messages to a subject go elsewhere no more",
		Long: `Remove all mappings of a subject, or the one to --to. With --cluster those of that
cluster alone go.`,
		Example: `  nsc delete mapping -a app --from orders
  nsc delete mapping -a app --from orders --to orders.v1
  nsc delete mapping -a app --from price --cluster eu --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return usage("the subject is missing").WithHint("name it with --from")
			}
			return a.finish(a.deleteMapping(cmd.Context(), account, from, to, cluster))
		},
	}
	accountFlag(cmd, &account)
	f := cmd.Flags()
	f.StringVarP(&from, "from", "f", "", "subject that is published to")
	f.StringVarP(&to, "to", "t", "", "subject that messages go to (default all)")
	f.StringVar(&cluster, "cluster", "", "only what is limited to this cluster")
	return cmd
}

func (a *app) deleteMapping(ctx context.Context, accountName, from, to, cluster string) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	rec, err := s.share(ctx, r, ac, "mapping of "+from, change{edit: func(c *jwt.AccountClaims) error {
		return accounts.RemoveMapping(c, from, to, cluster)
	}})
	return rec, nearMapping(err, ac.claims, from)
}
