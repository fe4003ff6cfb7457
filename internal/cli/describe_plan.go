package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
)

// planView is a plan as JSON shows it.
type planView struct {
	Schema   int                `json:"schema,omitempty"`
	Name     string             `json:"name"`
	Limits   jwt.OperatorLimits `json:"limits"`
	Accounts []string           `json:"accounts"` // of this store
	Behind   []string           `json:"behind"`   // of them, whose limits are others
}

// planList is the output of list plans.
type planList struct {
	Schema int        `json:"schema"`
	Plans  []planView `json:"plans"`
}

func (r *root) planView(p accounts.Plan, on []string) (planView, error) {
	v := planView{Name: p.Name, Limits: p.Limits, Accounts: append([]string{}, on...), Behind: []string{}}
	for _, name := range on {
		ac, err := r.load(name)
		if err != nil {
			return v, err
		}
		changes, err := p.Changes(ac.claims)
		if err != nil {
			return v, err
		}
		if len(changes) > 0 {
			v.Behind = append(v.Behind, name)
		}
	}
	return v, nil
}

func newListPlans(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "plans", Aliases: []string{"plan"}, Short: "List the plans, and how many accounts are on each",
		Example: `  nsc list plans
  nsc list plans --json
  nsc list plans -o name`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listPlans(cmd.Context()) },
	}
}

func (a *app) listPlans(ctx context.Context) error {
	_, r, sys, err := a.plans(ctx)
	if err != nil {
		return err
	}
	all, err := accounts.Plans(sys.claims)
	if err != nil {
		return err
	}
	on, err := r.onPlans()
	if err != nil {
		return err
	}
	list := planList{Schema: api.Schema, Plans: []planView{}}
	rows := [][]string{{"NAME", "ACCOUNTS", "LIMITS", "JETSTREAM"}}
	for _, p := range all {
		v, err := r.planView(p, on[p.Name])
		if err != nil {
			return err
		}
		list.Plans = append(list.Plans, v)
		n := fmt.Sprint(len(v.Accounts))
		if len(v.Behind) > 0 {
			n += fmt.Sprintf(", %d behind", len(v.Behind))
		}
		rows = append(rows, []string{p.Name, n, limitsText(p.Limits), strings.Join(jetStreamText(p.Limits), "; ")})
	}
	return a.listed(list, rows, "there is no plan; add one with: nsc add plan <name> --conns 1000")
}

func newDescribePlan(a *app, o *describeOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "plan <name>", Short: "Show a plan: its limits, and the accounts that are on it",
		Example: `  nsc describe plan gold
  nsc describe plan -n gold
  nsc describe plan gold --json`,
		Args: args(0, 1, "the plan's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the plan's name"); err != nil {
				return err
			}
			return a.describePlan(cmd.Context(), *o)
		},
	}
	nameFlag(cmd, &o.name, "name of the plan")
	return cmd
}

func (a *app) describePlan(ctx context.Context, o describeOptions) error {
	_, r, sys, err := a.plans(ctx)
	if err != nil {
		return err
	}
	p, err := accounts.FindPlan(sys.claims, o.name)
	if err != nil {
		return err
	}
	on, err := r.onPlans()
	if err != nil {
		return err
	}
	v, err := r.planView(p, on[p.Name])
	if err != nil {
		return err
	}
	v.Schema = api.Schema
	page := &page{}
	page.title("plan %s", p.Name)
	page.fact("limits", limitsText(p.Limits))
	page.facts("JetStream", jetStreamText(p.Limits))
	page.fact("accounts", listText(v.Accounts))
	if len(v.Behind) > 0 {
		page.fact("behind", listText(v.Behind)+"; bring them to its limits with: nsc edit plan "+p.Name)
	}
	return a.view(o, v, p.Name, page)
}
