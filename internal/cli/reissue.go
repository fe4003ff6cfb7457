package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

func newReissue(a *app) *cobra.Command {
	cmd := group("reissue", "Issue operators and accounts anew")
	cmd.AddCommand(newReissueOperator(a), newReissueAccounts(a))
	return cmd
}

func newReissueOperator(a *app) *cobra.Command {
	var name string
	var keep bool
	cmd := &cobra.Command{
		Use: "operator", Short: "Give the operator a new root key",
		Long: `Give the operator a new root key, made here or given with -K, and sign the accounts
anew that the old one signed; with --convert-to-signing-key the old key goes on as
a signing key instead. The change is local: servers trust the operator that they
started with, and a running accountd serves an operator by its root key, so that
both must be started anew with the new one. The old seed stays in the keystore.`,
		Example: `  nsc reissue operator --dry-run
  nsc reissue operator --convert-to-signing-key
  nsc reissue operator -K ./root.nk
  nsc reissue operator --name acme --yes --no-push`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.finish(a.reissueOperator(cmd.Context(), name, keep))
		},
	}
	nameFlag(cmd, &name, "operator name (default the current one)")
	cmd.Flags().BoolVar(&keep, "convert-to-signing-key", false, "keep the old root key as a signing key; no account is signed anew")
	return cmd
}

func (a *app) reissueOperator(ctx context.Context, name string, keep bool) (*receipt, error) {
	s, r, err := a.operatorAt(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.notServed(ctx, r); err != nil {
		return nil, err
	}
	root, fresh, err := s.newRoot()
	if err != nil {
		return nil, err
	}
	defer root.Wipe()
	var done edited
	draft, err := claims.Edit(r.doc, func(oc *jwt.OperatorClaims) error {
		return apply(&done, oc, func(oc *jwt.OperatorClaims) error { return operator.Reissue(oc, root.Key(), keep) })
	})
	if err != nil {
		return nil, err
	}
	next, err := draft.Sign(root, max(s.now, r.doc.IssuedAt))
	if err != nil {
		return nil, err
	}
	signed, err := s.signedByRoot(r, root, keep)
	if err != nil {
		return nil, err
	}
	rec := &receipt{Kind: "operator", Name: r.Name(), Key: next.Subject, ID: next.ID, Outcome: outcomeLocal}
	s.describe(&done, rec, "operator "+r.Name()+"  "+keys.Short(next.Subject))
	for _, w := range signed {
		rec.Lines = append(rec.Lines, "signed anew: account "+w.name)
	}
	if s.flags.dryRun {
		rec.Key, rec.ID, rec.Outcome = "", "", outcomeDry
		return rec, nil
	}
	if err := a.confirm(fmt.Sprintf("operator %s gets another root key; every server must be restarted with its new JWT", r.Name()), r.Name()); err != nil {
		return nil, err
	}
	rec.Note = "servers and accountd trust the old root key until they are started with the new operator JWT"
	return rec, s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error { return stageReissue(tx, r, next, signed, root, fresh) })
}

// notServed refuses to give a new root key to an operator that accountd serves:
// it would take nothing from the new one.
func (s *session) notServed(ctx context.Context, r *root) error {
	if online, _ := s.online(r); !online || s.flags.dryRun {
		return nil
	}
	_, err := s.client(ctx, r)
	switch {
	case noService(err):
		return nil
	case err != nil:
		f := fault.As(err)
		if f == nil {
			return err
		}
		return f.WithHint("whether accountd serves the operator is not known; if it does not: repeat the command with --no-push")
	}
	return fault.New(fault.Denied, "accountd serves operator %q by its root key, and would take nothing from a new one", r.Name()).
		About("operator", r.Name()).ByRule("root key").
		WithHint("replace signing keys instead: nsc edit operator --sk generate; to change the root key all the same, repeat the command with --no-push and start accountd anew with the new operator")
}

// newRoot makes a root key, or reads the one that -K names: a file, a public
// key of the keystore, or stdin. fresh says that it is to be stored.
func (s *session) newRoot() (pair keys.OperatorPair, fresh bool, err error) {
	name := s.flags.privateKey
	if name == "" {
		pair, err = keys.NewOperator()
		return pair, true, err
	}
	if _, perr := keys.ParseOperator(name); perr == nil {
		seed, err := s.store.Keystore().Seed(name)
		if err != nil {
			return pair, false, err
		}
		defer nscstore.Wipe(seed)
		pair, err = keys.OperatorFromSeed(seed)
		return pair, false, err
	}
	seed, err := s.readSeed(name)
	if errors.Is(err, fs.ErrNotExist) {
		return pair, false, fault.New(fault.NotFound, "-K %s is neither a public key of an operator nor a file", name).About("key", name)
	}
	if err != nil {
		return pair, false, err
	}
	defer nscstore.Wipe(seed)
	pair, err = keys.OperatorFromSeed(trim(seed))
	return pair, true, err
}

// signedByRoot signs the accounts anew that the root key signed, unless it
// stays a key of the operator.
func (s *session) signedByRoot(r *root, root signer, keep bool) ([]*work, error) {
	names, err := r.Accounts()
	if err != nil || keep {
		return nil, err
	}
	var out []*work
	for _, name := range names {
		w, err := s.begin(r, name)
		if err != nil {
			return nil, err
		}
		if w.cur.Issuer != r.doc.Subject {
			continue
		}
		if w.next, err = claims.Redo(w.cur).Sign(root, max(s.now, w.cur.IssuedAt)); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

func stageReissue(tx *nscstore.Tx, r *root, next *claims.Document, signed []*work, root keys.OperatorPair, fresh bool) error {
	err := tx.ExpectOperator(r.doc.Token)
	if err == nil {
		err = tx.PutOperator(next.Token)
	}
	for _, w := range signed {
		if err == nil {
			err = w.stage(tx)
		}
	}
	if err == nil && fresh {
		err = addSeed(tx, root)
	}
	return err
}
