package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// planOptions are the flags of the commands about plans.
type planOptions struct {
	name string
	edit accounts.Edit
}

func newAddPlan(a *app) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan <name>",
		Short: "Add a plan: limits that accounts share",
		Long: `Add a plan: limits for accounts of a kind, as nsc edit account sets them; what is
not named is as in a new account. Accounts come to be on a plan with --plan of nsc
add account and nsc edit account. Plans are kept in the tags of the system account,
so that whoever pulls it has them.`,
		Example: `  nsc add plan gold --conns 1000 --js-disk-storage 10G
  nsc add plan free --conns 10 --leaf-conns 0 --payload 64k
  nsc add plan cluster --js-tier 3 --js-disk-storage 50GiB --js-streams 20
  nsc add plan gold --conns 1000 --dry-run`,
		Args: args(0, 1, "the plan's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the plan's name"); err != nil {
				return err
			}
			return a.finish(a.addPlan(cmd.Context(), o))
		},
	}
	planFlags(cmd, &o)
	return cmd
}

func planFlags(cmd *cobra.Command, o *planOptions) {
	nameFlag(cmd, &o.name, "name of the plan")
	limitsOfAccount(cmd.Flags(), &o.edit)
	jetStreamFlags(cmd.Flags(), &o.edit.JetStream)
}

// plans opens the account that keeps the plans.
func (a *app) plans(ctx context.Context) (*session, *root, *account, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	sys, err := s.planKeeper(r)
	return s, r, sys, err
}

func (s *session) planKeeper(r *root) (*account, error) {
	if r.claims.SystemAccount == "" {
		return nil, fault.New(fault.Denied, "operator %q has no system account, which keeps the plans", r.Name()).
			About("operator", r.Name()).ByRule("system-account").WithHint("add an account and name it with: nsc edit operator --system-account <name>")
	}
	return s.systemAccount(r)
}

// findPlan puts the plan of a name into an edit of an account; "" is none.
func (s *session) findPlan(r *root, name string, e *accounts.Edit) error {
	switch name {
	case "":
		return nil
	case accounts.NoPlan:
		e.LeavePlan = true
		return nil
	}
	sys, err := s.planKeeper(r)
	if err != nil {
		return err
	}
	p, err := accounts.FindPlan(sys.claims, name)
	e.Plan = &p
	return err
}

func (a *app) addPlan(ctx context.Context, o planOptions) (*receipt, error) {
	p, err := accounts.NewPlan(o.name)
	if err != nil {
		return nil, err
	}
	if err := p.Edit(o.edit); err != nil {
		return nil, err
	}
	s, r, sys, err := a.plans(ctx)
	if err != nil {
		return nil, err
	}
	switch _, err := accounts.FindPlan(sys.claims, p.Name); {
	case err == nil:
		return nil, fault.New(fault.Conflict, "there is a plan %q already", p.Name).About("plan", p.Name).ByRule("plan-exists").
			WithHint("change it with: nsc edit plan %s", p.Name)
	case !fault.Is(err, fault.NotFound):
		return nil, err
	}
	rec, err := s.keepPlan(ctx, r, sys, p)
	if rec != nil {
		rec.Lines = append(rec.Lines, "put accounts on it with: nsc edit account <name> --plan "+p.Name)
	}
	return rec, err
}

// keepPlan has the system account keep p.
func (s *session) keepPlan(ctx context.Context, r *root, sys *account, p accounts.Plan) (*receipt, error) {
	rec, err := s.editAccount(ctx, r, sys, change{edit: func(c *jwt.AccountClaims) error {
		return apply(&edited{}, c, func(c *jwt.AccountClaims) error { return accounts.PutPlan(c, p) })
	}})
	if rec != nil {
		rec.Title = planTitle(p)
	}
	return rec, err
}

func planTitle(p accounts.Plan) string {
	return "plan " + p.Name + "  limits: " + limitsText(p.Limits) + "; JetStream: " + strings.Join(jetStreamText(p.Limits), "; ")
}

func newEditPlan(a *app) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan <name>",
		Short: "Change a plan, and with it all accounts that are on it",
		Long: `Change the limits of a plan and bring them into force in all accounts of the store
that are on it. What changes for which of them is shown first, with the clients
that servers close where a limit of connections is below what is connected. A
person is asked; without a terminal, --yes is needed. What was interrupted goes on
with the same command, and without flags it does nothing else.`,
		Example: `  nsc edit plan gold --conns 500 --dry-run
  nsc edit plan gold --conns 2000 --yes
  nsc edit plan gold --js-disk-storage 20G --yes
  nsc edit plan gold --yes`,
		Args: args(0, 1, "the plan's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the plan's name"); err != nil {
				return err
			}
			return a.finishAll(a.editPlan(cmd.Context(), o))
		},
	}
	planFlags(cmd, &o)
	return cmd
}

func (a *app) editPlan(ctx context.Context, o planOptions) ([]*receipt, error) {
	s, r, sys, err := a.plans(ctx)
	if err != nil {
		return nil, err
	}
	p, err := accounts.FindPlan(sys.claims, o.name)
	if err != nil {
		return nil, err
	}
	was := jwt.NewAccountClaims(sys.key)
	was.Limits = p.Limits
	if err := p.Edit(o.edit); err != nil {
		return nil, err
	}
	edit, err := p.Changes(was)
	if err != nil {
		return nil, err
	}
	list, shown, err := s.behind(ctx, r, p)
	if err != nil {
		return nil, err
	}
	if err := a.confirmPlan(p, list, shown); err != nil {
		return nil, err
	}
	rec, err := s.keepPlan(ctx, r, sys, p)
	if rec != nil && len(rec.Changes) > 0 {
		rec.Changes = limitLines(edit)
	}
	if rec == nil || err != nil && !fault.Is(err, fault.Pending) {
		return one(rec), err
	}
	rec.fail(err)
	recs, err := s.roll(ctx, r, p, list)
	for _, rec := range recs {
		rec.Changes = shown[rec.Name]
	}
	return append([]*receipt{rec}, recs...), err
}

func one(rec *receipt) []*receipt {
	if rec == nil {
		return nil
	}
	return []*receipt{rec}
}

// behind returns the accounts on p that are not as it says, or not published,
// and what it changes for each.
func (s *session) behind(ctx context.Context, r *root, p accounts.Plan) ([]*account, map[string][]string, error) {
	names, err := r.Accounts()
	if err != nil {
		return nil, nil, err
	}
	all, err := r.loadAll(names)
	if err != nil {
		return nil, nil, err
	}
	shown := map[string][]string{}
	var out []*account
	for _, ac := range all {
		if r.sysOf(ac) || accounts.PlanOf(ac.claims) != p.Name {
			continue
		}
		changes, err := p.Changes(ac.claims)
		if err != nil {
			return nil, nil, err
		}
		if len(changes) == 0 && r.unpublished(ac) == nil {
			continue
		}
		out = append(out, ac)
		shown[ac.name] = slices.Concat(limitLines(changes), s.overLimit(ctx, r, ac, changes), s.overStorage(ctx, r, ac, changes))
	}
	return out, shown, nil
}

func limitLines(changes []accounts.LimitChange) []string {
	var out []string
	for _, c := range changes {
		how := "more"
		if c.Shrinks {
			how = "less"
		}
		out = append(out, fmt.Sprintf("%s: %v to %v  %s", c.Limit, c.Before, c.After, how))
	}
	return out
}

// overLimit says how many clients of an account servers would close because
// fewer may connect, as far as accountd knows.
func (s *session) overLimit(ctx context.Context, r *root, ac *account, changes []accounts.LimitChange) []string {
	i := slices.IndexFunc(changes, func(c accounts.LimitChange) bool { return c.Limit == "conn" && c.Shrinks })
	if online, _ := s.online(r); i < 0 || !online || r.tenant {
		return nil
	}
	limit, err := accounts.ParseNumber(fmt.Sprint(changes[i].After))
	if err != nil {
		return nil
	}
	seen, err := s.askSeen(ctx, r, api.SeenRequest{Account: ac.key, User: revocation.All})
	if err != nil || int64(seen.Connections) <= limit {
		return nil
	}
	return []string{fmt.Sprintf("%s are open, and servers close those of clients above %d", count(seen.Connections, "connection"), limit)}
}

// overStorage says what an account has in JetStream beyond what it may have, as far
// as accountd knows. Limits of tiers are not held against what is in them.
func (s *session) overStorage(ctx context.Context, r *root, ac *account, changes []accounts.LimitChange) []string {
	names := []string{"disk_storage", "mem_storage", "streams"}
	smaller := slices.DeleteFunc(slices.Clone(changes), func(c accounts.LimitChange) bool { return !c.Shrinks || !slices.Contains(names, c.Limit) })
	if online, _ := s.online(r); len(smaller) == 0 || !online || r.tenant {
		return nil
	}
	c, err := s.client(ctx, r)
	if err != nil {
		return nil
	}
	ctx, end := s.patience(ctx)
	defer end()
	reply, err := c.Streams(ctx, api.StreamsRequest{Account: ac.key})
	if err != nil || reply.Error != nil {
		return nil
	}
	var out []string
	for _, change := range smaller {
		limit, err := accounts.ParseNumber(fmt.Sprint(change.After))
		used := map[string]int64{"disk_storage": int64(reply.Disk), "mem_storage": int64(reply.Memory), "streams": int64(len(reply.Streams))}[change.Limit]
		if err != nil || used <= limit {
			continue
		}
		if change.Limit == "streams" {
			out = append(out, fmt.Sprintf("%s are there (%s): they stay, and no other is made", count(len(reply.Streams), "stream"), listText(reply.Streams)))
			continue
		}
		out = append(out, fmt.Sprintf("%s: %d bytes are stored: they stay, and streams take no more (%s)", change.Limit, used, listText(reply.Streams)))
	}
	return out
}

// confirmPlan shows what a change of a plan does, and asks.
func (a *app) confirmPlan(p accounts.Plan, list []*account, shown map[string][]string) error {
	if len(list) == 0 {
		return nil
	}
	if a.env.Terminal && !a.flags.yes && !a.flags.dryRun {
		for _, ac := range list {
			fmt.Fprintf(a.env.Stderr, "account %s\n", ac.name)
			for _, line := range shown[ac.name] {
				fmt.Fprintln(a.env.Stderr, "  "+line)
			}
		}
	}
	return a.confirm("the limits of "+count(len(list), "account")+" on plan "+p.Name+" change", p.Name)
}

// roll brings p into force in accounts: signed and written here first, so that
// whatever ends it, the next push or the same command goes on.
func (s *session) roll(ctx context.Context, r *root, p accounts.Plan, list []*account) ([]*receipt, error) {
	var recs []*receipt
	online, why := s.online(r)
	for _, batch := range batches(list, func(ac *account) int { return len(ac.doc.Token) }) {
		works, err := s.stageBatch(ctx, r, batch, func(w *work) error {
			return s.sign(r, w, change{edit: func(c *jwt.AccountClaims) error { return apply(&edited{}, c, p.Join) }})
		})
		if err != nil {
			return recs, err
		}
		for _, w := range works {
			rec := &receipt{Kind: "account", Name: w.name, Key: w.key, ID: w.next.ID, Outcome: localOutcome(w.same), Note: why}
			if s.flags.dryRun {
				rec.Outcome, rec.ID = outcomeDry, ""
			}
			recs = append(recs, rec)
		}
	}
	if !online || s.flags.dryRun || len(recs) == 0 {
		return recs, nil
	}
	return s.publishAll(ctx, r, list, nil)
}

func newDeletePlan(a *app) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan <name>",
		Short: "Delete a plan that no account is on",
		Long: `Delete a plan. Accounts that are on it leave it first, and keep their limits: nsc
edit account <name> --plan none.`,
		Example: `  nsc delete plan gold
  nsc delete plan gold --dry-run
  nsc delete plan gold --json`,
		Args: args(0, 1, "the plan's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the plan's name"); err != nil {
				return err
			}
			return a.finish(a.deletePlan(cmd.Context(), o.name))
		},
	}
	nameFlag(cmd, &o.name, "name of the plan")
	return cmd
}

func (a *app) deletePlan(ctx context.Context, name string) (*receipt, error) {
	s, r, sys, err := a.plans(ctx)
	if err != nil {
		return nil, err
	}
	p, err := accounts.FindPlan(sys.claims, name)
	if err != nil {
		return nil, err
	}
	on, err := r.onPlans()
	if err != nil {
		return nil, err
	}
	if users := on[p.Name]; len(users) > 0 {
		return nil, fault.New(fault.Conflict, "%s on the plan %q: %s", count(len(users), "account"), name, listText(users)).About("plan", name).ByRule("plan-used").
			WithHint("take them off it with: nsc edit account %s --plan %s", shellWords(users[:1]), accounts.NoPlan)
	}
	rec, err := s.editAccount(ctx, r, sys, change{edit: func(c *jwt.AccountClaims) error {
		accounts.RemovePlan(c, name)
		return nil
	}})
	if rec != nil {
		rec.Title = "deleted plan " + name
	}
	return rec, err
}

// onPlans returns the accounts of the store by the plans that they are on.
func (r *root) onPlans() (map[string][]string, error) {
	all, err := r.readAccounts()
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for key, ac := range all {
		if plan := accounts.PlanOf(ac); plan != "" && key != r.claims.SystemAccount {
			out[plan] = append(out[plan], ac.Name)
		}
	}
	for _, names := range out {
		slices.Sort(names)
	}
	return out, nil
}
