package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

func newProposals(a *app) *cobra.Command {
	cmd := group("proposals", "Sign or reject what waits for the operator, where accountd has no key of its own")
	cmd.AddCommand(newProposalsList(a), newProposalsAccept(a), newProposalsReject(a))
	return cmd
}

func newProposalsList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the changes of accounts that wait for a signature",
		Long: `List the changes of accounts that wait for a signature of the operator, and from
when on each is late: versions that tenants have signed themselves, one an account,
and compactions that are due (see nsc compact). Where accountd has a signing key of
its own, it signs both by itself.`,
		Example: `  nsc proposals list
  nsc proposals list --json
  nsc proposals list -o yaml`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.listProposals(cmd.Context())
		},
	}
}

func newProposalsAccept(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "accept <account>",
		Short: "Sign what is proposed for an account and bring it into force",
		Long: `Sign what is proposed for an account and bring it into force. Of a version that its
tenant has signed, limits, name, tags and expiry stay as they are in force; a new
account gets those of any new one. Without one, a compaction that is due is done.
--dry-run shows what would change. All that waits is signed by "nsc sign proposals".`,
		Example: `  nsc proposals accept pepsi --dry-run
  nsc proposals accept pepsi
  nsc proposals accept ABL6… --json
  nsc proposals accept pepsi -K OCX2…`,
		Args: args(1, 1, "the account"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.finish(a.acceptProposal(cmd.Context(), given[0]))
		},
	}
}

func newProposalsReject(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "reject <account>",
		Short: "End a proposal; what is in force stays",
		Example: `  nsc proposals reject pepsi
  nsc proposals reject ABL6…
  nsc proposals reject pepsi --dry-run`,
		Args: args(1, 1, "the account"),
		RunE: func(cmd *cobra.Command, given []string) error { return a.rejectProposal(cmd.Context(), given[0]) },
	}
}

// proposal is what waits for a signature, and the version that it follows.
type proposal struct {
	posted, stored *claims.Document // stored is nil for a new account
	base           string           // jti of stored
}

// proposal reads the proposal of an account.
func (s *session) proposal(ctx context.Context, r *root, account string) (p proposal, err error) {
	c, err := s.client(ctx, r)
	if err != nil {
		return p, err
	}
	got, err := s.getKind(ctx, c, api.GetRequest{Account: account, Kind: api.KindProposal})
	if err != nil {
		return p, err
	}
	if p.posted, err = claims.Decode(got.Version.JWT); err != nil {
		return p, fault.New(fault.Untrusted, "the proposal of %s: %w", account, err)
	}
	if p.posted.Type != claims.TypeAccount || p.posted.Issuer != p.posted.Subject {
		return p, fault.New(fault.Untrusted, "the proposal of %s is not signed by the account itself", account).ByRule("chain")
	}
	have, err := s.get(ctx, c, p.posted.Subject)
	if fault.Is(err, fault.NotFound) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	p.base = have.Version.ID
	p.stored, err = r.trusted(p.posted.Subject, have.Version.JWT)
	return p, err
}

func (a *app) acceptProposal(ctx context.Context, account string) (*receipt, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	open, err := s.openProposals(ctx, r, account)
	if err != nil {
		return nil, err
	}
	return s.signProposal(ctx, r, open[0])
}

// signProposal signs one thing that waits.
func (s *session) signProposal(ctx context.Context, r *root, open api.Proposal) (*receipt, error) {
	if open.Do != api.DoSign {
		ac, err := s.account(r, open.Account)
		if fault.Is(err, fault.NotFound) {
			return nil, fault.New(fault.NotFound, "account %s is not in the local store", open.Name).About("account", open.Name).
				WithHint("take it with: nsc pull -a %s", shellWords([]string{open.Name}))
		}
		if err != nil {
			return nil, err
		}
		if open.Do == api.DoRoll {
			return s.rollDue(ctx, r, ac, open)
		}
		return s.compact(ctx, r, ac)
	}
	return s.signVersion(ctx, r, open.Account)
}

// signVersion signs the version that a tenant proposes.
func (s *session) signVersion(ctx context.Context, r *root, account string) (*receipt, error) {
	p, err := s.proposal(ctx, r, account)
	if err != nil {
		return nil, err
	}
	draft, err := accounts.Clamp(p.posted, p.stored)
	if err != nil {
		return nil, err
	}
	prefer, issued := "", max(s.now, p.posted.IssuedAt)
	if p.stored != nil {
		prefer, issued = p.stored.Issuer, max(issued, p.stored.IssuedAt)
	}
	pair, err := s.accountSigner(r, prefer)
	if err != nil {
		return nil, err
	}
	doc, err := draft.Sign(pair, issued)
	if err != nil {
		return nil, err
	}
	rec := &receipt{
		Kind: "account", Name: doc.Name, Key: doc.Subject, ID: doc.ID, Outcome: outcomeDry,
		Changes: diffClaims(payload(p.stored), payload(doc)),
	}
	if s.flags.dryRun {
		return rec, nil
	}
	item := api.Item{JWT: doc.Token, Base: p.base, Accept: p.posted.ID}
	res, proof, err := s.put(ctx, r, item, doc.Issuer)
	if fault.RuleOf(err) == ruleSecond && res.Current != nil {
		if doc, err = draft.Sign(pair, res.Current.IssuedAt+1); err != nil {
			return nil, err
		}
		rec.ID, item.JWT = doc.ID, doc.Token
		res, proof, err = s.put(ctx, r, item, doc.Issuer)
	}
	if err != nil {
		if rec.Outcome = outcomeRefused; res.Outcome == "" {
			rec.Outcome = outcomeUnknown
		}
		return rec, err
	}
	rec.Outcome, rec.Revision, rec.Findings, rec.Sent = res.Outcome, res.Revision, res.Findings, true
	rec.Lines = append(rec.Lines, "take it into the local store with: nsc pull -a "+shellWords([]string{doc.Name}))
	if proof == nil {
		return rec, nil
	}
	return rec, proof(rec)
}

func (a *app) rejectProposal(ctx context.Context, account string) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	p, err := s.proposal(ctx, r, account)
	if err != nil {
		return err
	}
	return a.ask(ctx, fmt.Sprintf("the proposal of account %s (%s) is rejected", p.posted.Name, keys.Short(p.posted.Subject)),
		func(ctx context.Context, c *api.Client, by claims.Signer, request string) (*api.Error, error) {
			reply, err := c.Reject(ctx, by, api.RejectRequest{Account: p.posted.Subject, Base: p.posted.ID, Host: a.env.Host, Request: request})
			return reply.Error, err
		})
}
