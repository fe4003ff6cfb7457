package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

func newSign(a *app) *cobra.Command {
	cmd := group("sign", "Sign what waits for the operator")
	cmd.AddCommand(&cobra.Command{
		Use:   "proposals [account]...",
		Short: "Sign what waits for a signature of the operator, of some accounts or of all",
		Long: `Sign everything that "nsc proposals list" shows, or what it shows of some accounts:
versions that tenants have signed themselves, within what is the operator's to
decide, compactions that are due, and rolls of fleets whose list is full and of which
accountd has no keys. Tenants' versions are signed only once you have said so; look at one with "nsc proposals accept <account> --dry-run".`,
		Example: `  nsc sign proposals
  nsc sign proposals pepsi iot --dry-run
  nsc sign proposals --yes --json`,
		Args: args(0, 1000, "the accounts"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.finishAll(a.signProposals(cmd.Context(), given))
		},
	})
	return cmd
}

func (a *app) signProposals(ctx context.Context, accounts []string) ([]*receipt, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	open, err := s.openProposals(ctx, r, accounts...)
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, p := range open {
		if p.Do == api.DoSign {
			versions = append(versions, p.Name)
		}
	}
	if len(versions) > 0 {
		if err := a.confirm("versions of "+shorten(versions)+" that their tenants made will be signed", "sign"); err != nil {
			return nil, err
		}
	}
	recs := []*receipt{}
	for _, p := range open {
		rec, err := s.signProposal(ctx, r, p)
		if rec == nil {
			rec = &receipt{Kind: "account", Name: p.Name, Key: p.Account, Outcome: outcomeRefused}
		}
		rec.fail(err)
		recs = append(recs, rec)
	}
	if len(open) == 0 && !a.flags.json {
		return nil, a.say(confirmation{Message: "nothing waits for a signature"})
	}
	return recs, nil
}

// openProposals asks what waits for a signature, of all accounts or of those
// that are named, by name or key; fault.NotFound for one of which nothing waits.
func (s *session) openProposals(ctx context.Context, r *root, accounts ...string) ([]api.Proposal, error) {
	c, err := s.client(ctx, r)
	if err != nil {
		return nil, err
	}
	var open, due []api.Proposal
	for more, after := true, ""; more; {
		page, err := s.page(ctx, c, api.ListRequest{Kind: api.KindProposal, After: after})
		if err != nil {
			return nil, err
		}
		for _, v := range page.Accounts {
			after = v.Key
			open = append(open, api.Proposal{Account: v.Key, Name: v.Name, Do: api.DoSign, Since: v.At.Unix(), ID: v.ID, Size: v.Size})
		}
		due = append(due, page.Due...)
		more = page.More
	}
	open = append(open, due...)
	if len(accounts) == 0 {
		return open, nil
	}
	named := func(p api.Proposal) bool {
		return slices.Contains(accounts, p.Name) || slices.Contains(accounts, p.Account)
	}
	for _, account := range accounts {
		if !slices.ContainsFunc(open, func(p api.Proposal) bool { return p.Name == account || p.Account == account }) {
			return nil, fault.New(fault.NotFound, "no proposal of account %s waits", account).About("proposal", account).WithHint("nsc proposals list")
		}
	}
	return slices.DeleteFunc(open, func(p api.Proposal) bool { return !named(p) }), nil
}

// proposalItem is one line of proposals list.
type proposalItem struct {
	Key  string `json:"key"`
	Name string `json:"name,omitempty"`
	ID   string `json:"jti,omitempty"`
	At   int64  `json:"at"` // since when it waits, Unix seconds
	Size int    `json:"size,omitempty"`
	Do   string `json:"do"`
	Roll string `json:"fleet,omitempty"` // to be rolled
	By   int64  `json:"by,omitempty"`    // from when on it is late, Unix seconds
}

func (a *app) listProposals(ctx context.Context) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	open, err := s.openProposals(ctx, r)
	if err != nil {
		return err
	}
	out := struct {
		Schema int            `json:"schema"`
		Items  []proposalItem `json:"items"`
	}{api.Schema, []proposalItem{}}
	rows := [][]string{{"NAME", "KEY", "DOES", "SINCE", "LATE FROM"}}
	for _, p := range open {
		out.Items = append(out.Items, proposalItem{Key: p.Account, Name: p.Name, ID: p.ID, At: p.Since, Size: p.Size, Do: p.Do, Roll: p.Fleet, By: p.By})
		rows = append(rows, []string{first(p.Name, "-"), p.Account, doesText(p), clock(p.Since), lateText(p)})
	}
	return a.listed(out, rows, "nothing waits for the operator's signature")
}

// doesText says what a proposal does.
func doesText(p api.Proposal) string {
	switch p.Do {
	case api.DoSign:
		return "its tenant's version"
	case api.DoRoll:
		return "roll fleet " + p.Fleet
	}
	return p.Do
}

func lateText(p api.Proposal) string {
	if p.By == 0 {
		return "-"
	}
	return clock(p.By)
}

// proposalLines tell what waits for a signature, and which of it is late.
func proposalLines(open []api.Proposal, now int64) []string {
	var lines []string
	for _, p := range open[:min(len(open), 10)] {
		text := p.Name + ": " + doesText(p) + ", since " + clock(p.Since)
		switch {
		case p.By > 0 && p.By <= now:
			text += ", late since " + clock(p.By)
		case p.By > 0:
			text += ", late from " + clock(p.By)
		}
		lines = append(lines, text)
	}
	if more := len(open) - len(lines); more > 0 {
		lines = append(lines, count(more, "more"))
	}
	if len(lines) > 0 {
		lines[len(lines)-1] += "; sign with: nsc sign proposals"
	}
	return lines
}
