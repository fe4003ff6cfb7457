package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// watchEvery is how often --watch asks again.
const watchEvery = time.Second

// Shares of the largest claim from which it is shown, and from which more is
// said.
const (
	budgetWarning = 0.5
	budgetTight   = 0.7
	budgetFull    = 0.9
)

// statusOptions are the flags of status.
type statusOptions struct {
	account string
	watch   bool
	bounded bool // --timeout ends --watch too
}

func newStatus(a *app) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status [account]",
		Short: "Show what is in force where",
		Long: `Show what accountd and its servers hold: which accounts are in force everywhere,
what is pending and why, what was admitted with findings, and how much of the
largest possible claim is in use. With an account, show it server by server. The
exit code is 8 while something is pending, also when --watch ends with --timeout.`,
		Example: `  nsc status
  nsc status app
  nsc status app --watch
  nsc status --json`,
		Args: args(0, 1, "the account"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) == 1 {
				o.account = given[0]
			}
			o.bounded = cmd.Flags().Changed("timeout")
			return a.status(cmd.Context(), o)
		},
	}
	accountFlag(cmd, &o.account)
	cmd.Flags().BoolVar(&o.watch, "watch", false, "ask again until nothing is pending")
	return cmd
}

func (a *app) status(ctx context.Context, o statusOptions) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	end := make(<-chan time.Time)
	if o.bounded {
		end = time.After(s.flags.timeout)
	}
	for last := ""; ; {
		reply, err := s.askStatus(ctx, r, o.account)
		if err != nil {
			return r.neverPublished(o.account, s.nearAccount(ctx, r, o.account, err, anyVersion))
		}
		reply.Warnings = append(append(reply.Warnings, localWarnings(r, reply.Operator, s.now)...), r.unpublishedWarnings(o.account)...)
		text, err := a.statusText(reply, r.Name(), o.account != "")
		if err != nil {
			return err
		}
		if text != last {
			fmt.Fprint(a.env.Stdout, text)
		}
		last = text
		pending := pendingOf(reply, o.account != "")
		if pending == nil || !o.watch {
			return pending
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Interrupted, "stopped watching: %w", ctx.Err())
		case <-end:
			return pending
		case <-time.After(watchEvery):
		}
	}
}

func (s *session) askStatus(ctx context.Context, r *root, account string) (api.StatusReply, error) {
	c, err := s.client(ctx, r)
	if err != nil {
		return api.StatusReply{}, err
	}
	ctx, end := s.patience(ctx)
	defer end()
	reply, err := c.Status(ctx, api.StatusRequest{Account: account})
	if err == nil {
		err = reply.Error.Fault()
	}
	return reply, err
}

// pendingOf is the error of a status in which something is not in force.
func pendingOf(reply api.StatusReply, one bool) error {
	for _, ac := range reply.Accounts {
		if !ac.State.Done() {
			return told{fault.New(fault.Pending, "account %s is %s", ac.Name, ac.State).About("account", ac.Name)}
		}
	}
	for _, n := range reply.Nodes {
		if len(n.Restart) > 0 && !one {
			return told{fault.New(fault.Pending, "%s: %s", n.Server, api.RestartNeeded(n.Restart)).About("server", n.Server)}
		}
	}
	return nil
}

func (a *app) statusText(reply api.StatusReply, operatorName string, one bool) (string, error) {
	var b strings.Builder
	if a.flags.json {
		err := a.writeStructured(&b, reply)
		return b.String(), err
	}
	if one {
		for _, ac := range reply.Accounts {
			a.accountStatus(&b, ac)
		}
		for _, line := range rollLines(reply.Rolls) {
			b.WriteString("rolling: " + line + "\n")
		}
		for _, line := range proposalLines(reply.Proposals, a.started.Unix()) {
			b.WriteString("to be signed: " + line + "\n")
		}
		for _, w := range reply.Warnings {
			b.WriteString("warning: " + w + "\n")
		}
		return b.String(), nil
	}
	fmt.Fprintf(&b, "operator %s   %s custody   %s   %s, %s\n", operatorName, reply.Custody,
		count(len(reply.Nodes), "node"), count(reply.Total, "account"), count(reply.Tombstones, "tombstone"))
	sections := []struct {
		title string
		lines []string
	}{
		{"warnings", reply.Warnings},
		{"in force everywhere", []string{fmt.Sprint(reply.InForce)}},
		{"stored everywhere", storedLines(reply)},
		{"pending", pendingLines(reply.Accounts)},
		{"findings", findingLines(reply.Accounts)},
		{"rolling", rollLines(reply.Rolls)},
		{"to be signed", proposalLines(reply.Proposals, a.started.Unix())},
		{"servers", serverLines(reply)},
		{"claim budget", budgetLines(reply.Accounts)},
	}
	for _, sec := range sections {
		for i, line := range sec.lines {
			title := sec.title
			if i > 0 {
				title = ""
			}
			fmt.Fprintf(&b, "  %-20s  %s\n", title, line)
		}
	}
	if reply.More {
		b.WriteString("  more accounts need a look than are listed\n")
	}
	return b.String(), nil
}

// localWarnings says how the operator of the local store differs from served,
// the one in force.
func localWarnings(r *root, served api.Version, now int64) []string {
	if r.doc.ID == served.ID {
		return nil
	}
	out := []string{"the operator in the local store is another version than the one in force"}
	if ends := r.claims.Expires; ends != 0 && ends <= now {
		out = append(out, "the operator in the local store expired at "+clock(ends)+": nsc edit operator --expiry 0")
	}
	return out
}

// accountStatus shows one account server by server.
func (a *app) accountStatus(b *strings.Builder, ac api.AccountStatus) {
	fmt.Fprintf(b, "account %s  %s  revision %d", ac.Name, keys.Short(ac.Key), ac.Revision)
	if ac.Deleted {
		b.WriteString("  deleted")
	}
	fmt.Fprintf(b, "  put %s by %s", ac.At.UTC().Format("2006-01-02 15:04:05 UTC"), first(keys.Short(ac.Actor), "accountd"))
	if ac.Host != "" {
		fmt.Fprintf(b, " on host %s", ac.Host)
	}
	b.WriteByte('\n')
	for _, n := range ac.Nodes {
		fmt.Fprintf(b, "  %s  %s", n.Server, a.state(n.State))
		if n.Reason != "" {
			b.WriteString("   " + reasonText(n.Server, n.Reason))
		}
		b.WriteByte('\n')
	}
	for _, f := range ac.Findings {
		b.WriteString("finding: " + f + "\n")
	}
	if ac.Budget >= budgetWarning {
		b.WriteString("claim budget " + budgetText(ac) + "\n")
	}
	fmt.Fprintf(b, "%s\n", tally(ac.Nodes))
}

// reasonText is the reason of a server beside its name, which need not be said
// twice.
func reasonText(server, reason string) string {
	reason = strings.ReplaceAll(reason, "node "+server+": ", "")
	return strings.TrimPrefix(reason, "node "+server+" ")
}

// storedLines tell of accounts that stock servers hold and have not loaded.
func storedLines(reply api.StatusReply) []string {
	if reply.Stored == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d, in force where they are loaded", reply.Stored)}
}

// pendingLines name each account that is not in force, with the servers that lack it.
func pendingLines(accounts []api.AccountStatus) []string {
	var lines []string
	for _, ac := range accounts {
		if ac.State.Done() {
			continue
		}
		var where []string
		for _, n := range ac.Nodes {
			if !done(n) {
				where = append(where, n.Server+" ("+first(reasonText(n.Server, n.Reason), string(n.State))+")")
			}
		}
		if ac.Deleted {
			lines = append(lines, fmt.Sprintf("%s: its deletion is not yet on %s", ac.Name, strings.Join(where, ", ")))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: revision %d not yet on %s", ac.Name, ac.Revision, strings.Join(where, ", ")))
	}
	return lines
}

func findingLines(accounts []api.AccountStatus) []string {
	var lines []string
	for _, ac := range accounts {
		for _, f := range ac.Findings {
			lines = append(lines, ac.Name+": "+f)
		}
	}
	return lines
}

// rollLines name fleets with keys that were replaced and are not retired yet.
func rollLines(rolls []api.Roll) []string {
	var lines []string
	for _, r := range rolls[:min(len(rolls), 10)] {
		lines = append(lines, fmt.Sprintf("fleet %s in %s: %s", r.Fleet, r.Name, rollText(fleet.Rolling{Old: r.Old, Next: r.Next, Last: r.Last})))
	}
	if more := len(rolls) - len(lines); more > 0 {
		lines = append(lines, count(more, "more fleet"))
	}
	return lines
}

// serverLines name servers that are not healthy, are behind, or trust other keys
// than the operator has.
func serverLines(reply api.StatusReply) []string {
	var lines []string
	for _, n := range reply.Nodes {
		if !n.Healthy {
			lines = append(lines, fmt.Sprintf("%s: %s since %s", n.Server, first(reasonText(n.Server, n.Reason), "not healthy"), n.Since.Local().Format("15:04:05")))
		} else if n.Behind > 0 {
			lines = append(lines, fmt.Sprintf("%s: %s behind", n.Server, count(int(n.Behind), "change")))
		}
		if len(n.Restart) > 0 {
			lines = append(lines, n.Server+": "+api.RestartNeeded(n.Restart))
		}
	}
	return lines
}

// budgetText says how much of the largest claim an account uses, how many
// revocations fit beside it, and what to do when that gets little.
func budgetText(ac api.AccountStatus) string {
	text := fmt.Sprintf("%.0f %% of 1 MiB, room for %s", ac.Budget*100, count(fleet.Budget{Size: ac.Size, Max: api.MaxClaim}.Room(), "revocation"))
	switch {
	case ac.Budget >= budgetFull:
		return text + "; nearly full: take out what is of no use with nsc compact, and retire keys of cohorts in place of single devices"
	case ac.Budget >= budgetTight:
		return text + "; filling up: take out what is of no use with nsc compact"
	}
	return text
}

// budgetWarnings warn of a version that uses much of the largest claim.
func budgetWarnings(name string, next *claims.Document) []string {
	size := len(next.Token)
	ac := api.AccountStatus{Version: api.Version{Name: name, Size: size}, Budget: float64(size) / api.MaxClaim}
	if ac.Budget < budgetWarning {
		return nil
	}
	return []string{"the claim of " + name + " uses " + budgetText(ac)}
}

func budgetLines(accounts []api.AccountStatus) []string {
	var lines []string
	for _, ac := range accounts {
		if ac.Budget >= budgetWarning {
			lines = append(lines, ac.Name+" "+budgetText(ac))
		}
	}
	return lines
}
