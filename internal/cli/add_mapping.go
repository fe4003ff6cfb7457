package cli

import (
	"context"
	"strconv"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
)

func newAddMapping(a *app) *cobra.Command {
	var account, from, to string
	var m jwt.WeightedMapping
	cmd := &cobra.Command{
		Use:   "mapping --from <subject> --to <subject>",
		Short: "Let messages to one subject go to another, or to several by weight",
		Long: `Map a subject: what the account's users publish to it goes to another one. With
weights it is split over several; what they leave of 100 % goes on unchanged. The
same subjects again change the weight. --cluster limits it to one cluster.`,
		Example: `  nsc add mapping -a app --from orders --to orders.v2
  nsc add mapping -a app --from orders --to orders.v1 --weight 90
  nsc add mapping -a app --from 'dev.*.*' --to 'dev.$2.$1'
  nsc add mapping -a app --from price --to price.eu --cluster eu --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" || to == "" {
				return usage("a subject is missing").WithHint("name both with --from and --to")
			}
			m.Subject = jwt.Subject(to)
			return a.finish(a.addMapping(cmd.Context(), account, from, m))
		},
	}
	accountFlag(cmd, &account)
	f := cmd.Flags()
	f.StringVarP(&from, "from", "f", "", "subject that is published to")
	f.StringVarP(&to, "to", "t", "", "subject that messages go to")
	f.Var((*weight)(&m.Weight), "weight", "percentage of the messages, 1 to 100 (default 100)")
	f.StringVar(&m.Cluster, "cluster", "", "only in this cluster")
	return cmd
}

// weight is a flag that takes a percentage; 0 stands for 100.
type weight uint8

// Set implements pflag.Value.
func (w *weight) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n > 100 {
		return usage("expected a percentage, 1 to 100")
	}
	*w = weight(n)
	return nil
}

// String implements pflag.Value.
func (w *weight) String() string {
	if *w == 0 {
		return ""
	}
	return strconv.Itoa(int(*w))
}

// Type implements pflag.Value.
func (w *weight) Type() string { return "uint8" }

func (a *app) addMapping(ctx context.Context, accountName, from string, m jwt.WeightedMapping) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	return s.share(ctx, r, ac, "mapping of "+from, change{edit: func(c *jwt.AccountClaims) error { return accounts.AddMapping(c, from, m) }})
}
