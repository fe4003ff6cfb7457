package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func newReissueAccounts(a *app) *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use: "accounts [name]…", Short: "Sign accounts anew with another key of the operator",
		Long: `Sign accounts of the local store anew, unchanged, with the key that -K names or the
first signing key whose seed is here, and bring them into force: all that another
key has signed, or with --signed-by those of one key, which can be removed
thereafter. Take the versions in force first, with nsc pull --all.`,
		Example: `  nsc reissue accounts --dry-run
  nsc reissue accounts --signed-by OCX2… -K OBB7…
  nsc reissue accounts app billing
  nsc reissue accounts --no-push`,
		Args: args(0, 1000, ""),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.finishAll(a.reissueAccounts(cmd.Context(), given, by))
		},
	}
	cmd.Flags().StringVar(&by, "signed-by", "", "only accounts that this key of the operator has signed")
	return cmd
}

func (a *app) reissueAccounts(ctx context.Context, names []string, by string) ([]*receipt, error) {
	if by != "" {
		if _, err := keys.ParseOperator(by); err != nil {
			return nil, usage("--signed-by %s is no public key of an operator", by)
		}
	}
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	c := operatorKeys(r, "")
	c.candidates = slices.DeleteFunc(c.candidates, func(x candidate) bool { return x.key == by })
	pair, err := s.choose(c)
	if err != nil {
		return nil, err
	}
	list, err := s.selected(r, pushOptions{accounts: names, all: len(names) == 0})
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(ac *account) bool {
		return ac.doc.Issuer == pair.PublicKey() || by != "" && ac.doc.Issuer != by
	})
	if err := r.issued(list, by != "" || len(names) > 0); err != nil {
		return nil, err
	}
	online, why := s.online(r)
	if err := s.ready(ctx, r); err != nil {
		return nil, err
	}
	var recs []*receipt
	for _, batch := range batches(list, func(ac *account) int { return len(ac.doc.Token) }) {
		works, err := s.stageBatch(ctx, r, batch, func(w *work) (err error) {
			w.next, err = claims.Redo(w.cur).Sign(pair, max(s.now, w.cur.IssuedAt))
			return err
		})
		if err != nil {
			return recs, err
		}
		for _, w := range works {
			rec := &receipt{Kind: "account", Name: w.name, Key: w.key, ID: w.next.ID, Outcome: outcomeLocal, Note: why}
			if s.flags.dryRun {
				rec = dryReceipt(w)
			}
			recs = append(recs, rec)
		}
	}
	if !online || s.flags.dryRun || len(recs) == 0 {
		return recs, nil
	}
	return s.publishAll(ctx, r, list, nil)
}

// issued refuses accounts that no key of the operator has signed, unless they
// were named: a key that was removed may have signed them.
func (r *root) issued(list []*account, named bool) error {
	for _, ac := range list {
		if err := r.trust.CheckIssuer(ac.doc.Issuer); err != nil && !named && ac.doc.Issuer != string(r.trust.Key) {
			return fault.New(fault.Untrusted, "account %q is %s", ac.name, message(err)).About("account", ac.name).ByRule("chain").
				WithHint("sign it all the same with: nsc reissue accounts %s", shellWords([]string{ac.name}))
		}
	}
	return nil
}

// stageBatch makes the next versions of accounts with sign and writes them to the
// local store, in one transaction.
func (s *session) stageBatch(ctx context.Context, r *root, batch []*account, sign func(*work) error) ([]*work, error) {
	unlock, err := s.lockAll(ctx, r, batch)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var works []*work
	for _, ac := range batch {
		w, err := s.begin(r, ac.name)
		if err != nil {
			return nil, err
		}
		if err := sign(w); err != nil {
			return nil, err
		}
		works = append(works, w)
	}
	if s.flags.dryRun {
		return works, nil
	}
	return works, s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		for _, w := range works {
			if w.same {
				continue
			}
			if err := w.stage(tx); err != nil {
				return err
			}
		}
		return nil
	})
}
