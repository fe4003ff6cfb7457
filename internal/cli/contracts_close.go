package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

func newContractsClose(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "close <id>",
		Short: "End a contract, on live subscriptions too",
		Long: `Revoke the activation of a contract in the export, and remove the import: for each
side that is in this store, or only that of the account which -a names. Either is
enough: nothing flows any more from that moment on. Close it at the exporter to be
sure that the importer cannot import it again.`,
		Example: `  nsc contracts close dwr2nkmu
  nsc contracts close dwr2nkmu -a pepsi
  nsc contracts close dwr2nkmu --dry-run`,
		Args: args(1, 1, "the contract's id"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.finishAll(a.closeContract(cmd.Context(), given[0], account))
		},
	}
	cmd.Flags().StringVarP(&account, "account", "a", "", "only the side of this account, by name or public key")
	return cmd
}

func (a *app) closeContract(ctx context.Context, id, only string) ([]*receipt, error) {
	s, r, cs, err := a.openContracts(ctx)
	if err != nil {
		return nil, err
	}
	c, err := cs.find(id)
	if err != nil {
		return nil, err
	}
	sides, err := cs.sides(r, c, only)
	if err != nil {
		return nil, err
	}
	var recs []*receipt
	for _, end := range sides {
		rec, err := end(ctx, s, r, cs, c)
		if rec == nil {
			return recs, err
		}
		rec.fail(err)
		recs = append(recs, rec)
	}
	return recs, nil
}

// side ends a contract at one of its accounts.
type side func(context.Context, *session, *root, contracts, accounts.Contract) (*receipt, error)

// sides returns what there is to do in this store: the exporter first, who
// decides.
func (cs contracts) sides(r *root, c accounts.Contract, only string) ([]side, error) {
	key := ""
	if only != "" {
		var err error
		if key, err = r.accountKey(only); err != nil {
			return nil, err
		}
		if key != c.Exporter && key != c.Importer {
			return nil, usage("account %s has no part in contract %s", only, c.ID()).WithHint("nsc contracts show %s", c.ID())
		}
	}
	var out []side
	if ac := cs.known[c.Exporter]; ac != nil && key != c.Importer {
		if _, err := (accounts.ExportRef{Subject: c.Subject, Type: c.Type}).Cover(ac); err == nil {
			out = append(out, revokeContract)
		}
	}
	if cs.known[c.Importer] != nil && c.Local != "" && key != c.Exporter {
		out = append(out, endImport)
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, "nothing of contract %s is left to close there", c.ID()).About("contract", c.ID()).
			WithHint("nsc contracts show %s", c.ID())
	}
	return out, nil
}

// revokeContract ends a contract at its exporter, with what else the importer
// has of the same export.
func revokeContract(ctx context.Context, s *session, r *root, cs contracts, c accounts.Contract) (*receipt, error) {
	ac, err := s.account(r, c.Exporter)
	if err != nil {
		return nil, err
	}
	ex, err := accounts.ExportRef{Subject: c.Subject, Type: c.Type}.Cover(ac.claims)
	if err != nil {
		return nil, err
	}
	at := accounts.ExportRef{Subject: string(ex.Subject), Type: ex.Type}
	rec, err := s.share(ctx, r, ac, "export "+c.Subject, change{edit: func(ac *jwt.AccountClaims) error {
		_, err := accounts.RevokeActivations(ac, at, c.Importer, max(s.now, c.Issued))
		return err
	}})
	if rec == nil || err != nil && !fault.Is(err, fault.Pending) {
		return rec, err
	}
	rec.about(cs, c, "closed by "+ac.name+":")
	if !ex.TokenReq {
		rec.Warnings = append(rec.Warnings, "the export is public: everybody may import it without a contract")
	}
	for _, other := range cs.all {
		same := other.Exporter == c.Exporter && other.Importer == c.Importer && other.Type == c.Type && other.State != accounts.ContractRevoked
		if same && other.ID() != c.ID() && accounts.Within(other.Subject, at.Subject) {
			rec.Warnings = append(rec.Warnings, "it is revoked for all of the export "+at.Subject+", so this ended too: "+cs.text(other)+
				"; let it go on with: nsc contracts renew "+other.ID())
		}
	}
	if s.flags.dryRun {
		return rec, err
	}
	return rec, firstErr(s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error { return tx.RemoveOffer(c.Exporter, c.ID()) }), err)
}

// endImport ends a contract at its importer.
func endImport(ctx context.Context, s *session, r *root, cs contracts, c accounts.Contract) (*receipt, error) {
	ac, err := s.account(r, c.Importer)
	if err != nil {
		return nil, err
	}
	rec, err := s.share(ctx, r, ac, "import "+c.Subject, change{edit: c.End})
	if rec != nil {
		rec.about(cs, c, "closed by "+ac.name+":")
	}
	return rec, err
}
