package cli

import (
	"context"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
)

// mappingView is a mapping as JSON shows it.
type mappingView struct {
	Schema  int           `json:"schema,omitempty"`
	Account string        `json:"account"`
	From    string        `json:"from"`
	To      []mappingGoal `json:"to"`
}

// mappingGoal is one of the subjects that messages go to.
type mappingGoal struct {
	Subject string `json:"subject"`
	Weight  uint8  `json:"weight"` // percent
	Cluster string `json:"cluster,omitempty"`
}

// mappingList is the output of list mappings.
type mappingList struct {
	Schema   int           `json:"schema"`
	Account  string        `json:"account"`
	Mappings []mappingView `json:"mappings"`
}

func mappingViewOf(ac *account, from jwt.Subject) mappingView {
	v := mappingView{Account: ac.name, From: string(from), To: []mappingGoal{}}
	for _, to := range ac.claims.Mappings[from] {
		v.To = append(v.To, mappingGoal{string(to.Subject), to.GetWeight(), to.Cluster})
	}
	return v
}

func newListMappings(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "mappings", Aliases: []string{"mapping"}, Short: "List the subjects of an account whose messages go elsewhere",
		Example: `  nsc list mappings
  nsc list mappings -a app
  nsc list mappings -a app --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listMappings(cmd.Context(), account) },
	}
	accountFlag(cmd, &account)
	return cmd
}

func (a *app) listMappings(ctx context.Context, accountName string) error {
	_, _, ac, err := a.open(ctx, accountName)
	if err != nil {
		return err
	}
	list := mappingList{Schema: api.Schema, Account: ac.name, Mappings: []mappingView{}}
	rows := [][]string{{"FROM", "TO", "WEIGHT", "CLUSTER"}}
	for _, from := range sortedNames(ac.claims.Mappings) {
		v := mappingViewOf(ac, from)
		list.Mappings = append(list.Mappings, v)
		for _, to := range v.To {
			rows = append(rows, []string{v.From, to.Subject, fmt.Sprintf("%d %%", to.Weight), first(to.Cluster, "all")})
		}
	}
	return a.listed(list, rows, "account "+ac.name+" maps no subject; add a mapping with: nsc add mapping --from <subject> --to <subject> -a "+shellWords([]string{ac.name}))
}

func newDescribeMapping(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "mapping [subject]", Short: "Show where messages to a subject go",
		Example: `  nsc describe mapping orders -a app
  nsc describe mapping --from orders -a app
  nsc describe mapping orders -a app --json`,
		Args: args(0, 1, "the subject"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = subjectOf(o.name, given); err != nil {
				return err
			}
			return a.describeMapping(cmd.Context(), *o)
		},
	}
	accountFlag(cmd, &o.account)
	cmd.Flags().StringVarP(&o.name, "from", "f", "", "subject that is published to (default the only one that is mapped)")
	return cmd
}

func (a *app) describeMapping(ctx context.Context, o describeOptions) error {
	_, _, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	from, err := accounts.FindMapping(ac.claims, o.name)
	if err != nil {
		return nearMapping(err, ac.claims, o.name)
	}
	v := mappingViewOf(ac, from)
	v.Schema = api.Schema
	p := &page{}
	p.title("mapping of %s in %s", v.From, ac.name)
	var goals []string
	for _, to := range v.To {
		line := fmt.Sprintf("%s  %d %%", to.Subject, to.Weight)
		if to.Cluster != "" {
			line += " in cluster " + to.Cluster
		}
		goals = append(goals, line)
	}
	p.facts("goes to", goals)
	return a.view(o, v, v.From, p)
}

// nearMapping adds to the error of a mapping that is not there the one that was
// meant.
func nearMapping(err error, ac *jwt.AccountClaims, subject string) error {
	var mapped []string
	for from := range ac.Mappings {
		mapped = append(mapped, string(from))
	}
	return withNearest(err, subject, mapped)
}
