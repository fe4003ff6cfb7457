package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
)

func newContractsRenew(a *app) *cobra.Command {
	var file string
	var expires *int64
	cmd := &cobra.Command{
		Use:   "renew <id>",
		Short: "Let a contract go on",
		Long: `Sign the activation of a contract anew, with the exporter's key, and put it into the
import of the other side if that is in this store; else hand it over as an offer.
Without --expiry it lives as long as the one before. A contract that has expired, or
whose activation was revoked, works again.`,
		Example: `  nsc contracts renew dwr2nkmu
  nsc contracts renew dwr2nkmu --expiry 90d
  nsc contracts renew dwr2nkmu --expiry 0 -o offer.jwt`,
		Args: args(1, 1, "the contract's id"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.finish(a.renewContract(cmd.Context(), given[0], file, expires))
		},
	}
	f := cmd.Flags()
	a.expiryFlag(f, &expires)
	f.StringVarP(&file, "output-file", "o", "", "write the activation to this file, for somebody else to accept")
	return cmd
}

func (a *app) renewContract(ctx context.Context, id, file string, expires *int64) (*receipt, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	cs, err := r.contracts(s.now)
	if err != nil {
		return nil, err
	}
	c, err := cs.find(id)
	if err != nil {
		return nil, err
	}
	if cs.known[c.Exporter] == nil {
		return nil, fault.New(fault.Denied, "contract %s is of an account that is not in this store, which alone can renew it", c.ID()).
			About("contract", c.ID()).ByRule("exporter").WithHint("take what it hands over with: nsc accept <file>")
	}
	exporter, err := s.account(r, c.Exporter)
	if err != nil {
		return nil, err
	}
	switch {
	case expires != nil:
		c.Expires = *expires
	case c.Expires != 0:
		c.Expires = s.now + c.Expires - c.Issued
	}
	if c, err = s.activate(r, exporter, c); err != nil {
		return nil, err
	}
	if !s.flags.dryRun {
		if err := s.keepOffer(ctx, r, c); err != nil {
			return nil, err
		}
	}
	if cs.known[c.Importer] == nil || c.Local == "" {
		rec := &receipt{Kind: "activation", Name: c.Subject, Account: exporter.name, Key: c.Importer, Expires: c.Expires, Outcome: "issued"}
		if s.flags.dryRun {
			rec.Outcome = outcomeDry
		}
		rec.about(cs, c, "renewed")
		return rec, a.handOverContract(cs, c, file, rec)
	}
	importer, err := s.account(r, c.Importer)
	if err != nil {
		return nil, err
	}
	rec, err := s.acceptInto(ctx, r, importer, cs, c, "", "")
	if rec != nil {
		rec.Title = "renewed " + rec.Title
		rec.Lines = append(rec.Lines, "the activation "+until(c.Expires))
	}
	return rec, err
}
