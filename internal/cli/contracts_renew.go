package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
)

func newContractsRenew(a *app) *cobra.Command {
	var o renewOptions
	cmd := &cobra.Command{
		Use:   "renew <id>",
		Short: "Let a contract go on, or all that end soon",
		Long: `Sign the activation of a contract anew, with the exporter's key, and put it into the
import of the other side if that is in this store; else hand it over as an offer.
Without --expiry it lives as long as the one before. A contract that has expired, or
whose activation was revoked, works again. --due renews every contract of an
exporter in this store that has not ended and will within that time, each for as
long as before: for a timer, on the machine that has the exporters' keys.`,
		Example: `  nsc contracts renew dwr2nkmu
  nsc contracts renew dwr2nkmu --expiry 90d
  nsc contracts renew dwr2nkmu --expiry 0 -o offer.jwt
  nsc contracts renew --due 30d
  nsc contracts renew --due 2w --dry-run`,
		Args: args(0, 1, "the contract's id"),
		RunE: func(cmd *cobra.Command, given []string) error {
			switch {
			case (o.due == "") == (len(given) == 0):
				return usage("name one contract by its id, or all that end soon with --due")
			case o.due != "" && (o.file != "" || o.expires != nil):
				return usage("--due goes with neither --expiry nor --output-file")
			case o.due != "":
				return a.finishAll(a.renewDue(cmd.Context(), o))
			}
			o.id = given[0]
			return a.finish(a.renewContract(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	a.expiryFlag(f, &o.expires)
	f.StringVar(&o.due, "due", "", "renew all that end until then: a date, or a time from now such as 30d")
	f.StringVarP(&o.file, "output-file", "o", "", "write the activation to this file, for somebody else to accept")
	return cmd
}

// renewOptions are the arguments of contracts renew.
type renewOptions struct {
	id, due, file string
	expires       *int64
}

// renewDue renews what ends within a time, for others too who accepted it
// elsewhere.
func (a *app) renewDue(ctx context.Context, o renewOptions) ([]*receipt, error) {
	until, err := accounts.ParseTime(o.due, a.started.UTC())
	if err != nil {
		return nil, usage("--due: %s", message(err))
	}
	s, r, cs, err := a.openContracts(ctx)
	if err != nil {
		return nil, err
	}
	var recs []*receipt
	for _, c := range cs.all {
		lives := c.State == accounts.ContractActive || c.State == accounts.ContractOffered && cs.known[c.Importer] == nil
		if !lives || c.Expires == 0 || c.Expires > until || cs.known[c.Exporter] == nil {
			continue
		}
		rec, err := a.renew(ctx, s, r, cs, c, o)
		if rec == nil {
			rec = &receipt{Kind: "activation", Name: c.Subject, Account: cs.word(c.Exporter), Key: c.Importer, Outcome: outcomeRefused}
		}
		rec.fail(err)
		recs = append(recs, rec)
	}
	if len(recs) == 0 && !a.flags.json {
		fmt.Fprintln(a.env.Stderr, "no contract ends until "+clock(until))
	}
	return recs, nil
}

func (a *app) renewContract(ctx context.Context, o renewOptions) (*receipt, error) {
	s, r, cs, err := a.openContracts(ctx)
	if err != nil {
		return nil, err
	}
	c, err := cs.find(o.id)
	if err != nil {
		return nil, err
	}
	return a.renew(ctx, s, r, cs, c, o)
}

// renew signs the activation of a contract anew and brings it to its importer.
func (a *app) renew(ctx context.Context, s *session, r *root, cs contracts, c accounts.Contract, o renewOptions) (*receipt, error) {
	if cs.known[c.Exporter] == nil {
		return nil, fault.New(fault.Denied, "contract %s is of an account that is not in this store, which alone can renew it", c.ID()).
			About("contract", c.ID()).ByRule("exporter").WithHint("take what it hands over with: nsc accept <file>")
	}
	exporter, err := s.account(r, c.Exporter)
	if err != nil {
		return nil, err
	}
	switch {
	case o.expires != nil:
		c.Expires = *o.expires
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
		return rec, a.handOverContract(cs, c, o.file, rec)
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
