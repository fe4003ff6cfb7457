package cli

import (
	"context"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
)

// offerOptions are the flags of offer.
type offerOptions struct {
	from, to, subject, file string
	service                 bool
	expires                 *int64
}

func newOffer(a *app) *cobra.Command {
	var o offerOptions
	cmd := &cobra.Command{
		Use:   "offer --to <account> --subject <subject>",
		Short: "Let one other account import a subject, by a contract",
		Long: `Offer a stream, or with --service a service, to one account: a private export,
unless there is one, and an activation for that account alone. It is accepted with
nsc accept, here by the id of the contract, elsewhere by the file or link that is
handed over; of no use to any other account.`,
		Example: `  nsc offer --from coke --to pepsi --subject 'orders.*'
  nsc offer --from coke --to pepsi --subject price.get --service --expiry 90d
  nsc offer --from coke --to ABM3WJOXNAYP3QP5LQTCK7FXM2ATZO4V6FENLA3RYLP7BPY35IUGWZRN --subject 'orders.*' -o offer.jwt
  nsc offer --from coke --to pepsi --subject 'orders.*' --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.to == "":
				return usage("the importing account is missing").WithHint("name it with --to, by name or public key")
			case o.subject == "":
				return usage("the subject is missing").WithHint("name it with --subject")
			}
			return a.finish(a.offer(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "account that exports it, by name or public key (default the current account)")
	f.StringVar(&o.to, "to", "", "account that may import it, by name or public key")
	f.StringVarP(&o.subject, "subject", "s", "", "subject that the exporter uses")
	f.BoolVarP(&o.service, "service", "r", false, "a service, not a stream")
	a.expiryFlag(f, &o.expires)
	f.StringVarP(&o.file, "output-file", "o", "", "write the offer to this file, for somebody else to accept")
	return cmd
}

func (a *app) offer(ctx context.Context, o offerOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.from)
	if err != nil {
		return nil, err
	}
	importer, err := r.accountKey(o.to)
	if err != nil {
		return nil, err
	}
	cs, err := r.contracts(s.now)
	if err != nil {
		return nil, err
	}
	c := accounts.Contract{Exporter: ac.key, Importer: importer, Type: kindOf(&o.service), Subject: o.subject}
	if o.expires != nil {
		c.Expires = *o.expires
	}
	planned, err := decodeAccount(ac.name, ac.doc.Token)
	if err != nil {
		return nil, err
	}
	if _, err := accounts.Offer(planned.claims, c.Type, c.Subject); err != nil {
		return nil, err
	}
	if c, err = s.activate(r, planned, c); err != nil {
		return nil, err
	}
	rec, err := s.share(ctx, r, ac, "export "+o.subject, change{edit: func(ac *jwt.AccountClaims) error {
		added, err := accounts.Offer(ac, c.Type, c.Subject)
		if err == nil && !added {
			return errUnchanged
		}
		return err
	}})
	if rec == nil || err != nil && !fault.Is(err, fault.Pending) {
		return rec, err
	}
	if !s.flags.dryRun {
		if ac, err := r.load(ac.name); err != nil { // what was revoked meanwhile counts
			return rec, err
		} else if c, err = s.activate(r, ac, c); err != nil {
			return rec, err
		}
		if err := s.keepOffer(ctx, r, c); err != nil {
			return rec, err
		}
	}
	rec.about(cs, c, "offered")
	if c.Expires != 0 && (o.service || strings.ContainsAny(o.subject, "*>")) {
		rec.Warnings = append(rec.Warnings, "at "+clock(c.Expires)+" "+missedEnd+c.ID())
	}
	if rec.Outcome != outcomeDry {
		rec.Undo = "nsc contracts close " + c.ID()
	}
	return rec, firstErr(a.handOverContract(cs, c, o.file, rec), err)
}
