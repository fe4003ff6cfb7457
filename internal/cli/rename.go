package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func newRename(a *app) *cobra.Command {
	cmd := group("rename", "Rename accounts")
	cmd.Hidden = true
	cmd.AddCommand(newRenameAccount(a))
	return cmd
}

func newRenameAccount(a *app) *cobra.Command {
	var sure bool
	cmd := &cobra.Command{
		Use: "account <name> <new name>", Short: "Give an account another name",
		Long: `Give an account another name: it keeps its key, its users and their credentials.
The new version is published; the files of its users and their credentials move.`,
		Example: `  nsc rename account app payments --OK
  nsc rename account app payments --OK --no-push
  nsc rename account app payments --dry-run`,
		Args: args(2, 2, "the name and the new name"),
		RunE: func(cmd *cobra.Command, given []string) error {
			a.flags.yes = a.flags.yes || sure
			return a.finish(a.renameAccount(cmd.Context(), given[0], given[1]))
		},
	}
	cmd.Flags().BoolVar(&sure, "OK", false, "do it without asking: files move to other names")
	return cmd
}

func (a *app) renameAccount(ctx context.Context, from, to string) (*receipt, error) {
	s, r, ac, err := a.open(ctx, from)
	if err != nil {
		return nil, err
	}
	if err := newAccountName(r, to); err != nil {
		return nil, err
	}
	next := copyOf(ac)
	next.Name = to
	if err := s.freeNamespace(ctx, r, next); err != nil {
		return nil, err
	}
	if err := a.confirm(fmt.Sprintf("the files of account %s, its users and their credentials move", ac.name), to); err != nil {
		return nil, err
	}
	if err := s.ready(ctx, r); err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx, r, ac.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	w, err := s.begin(r, ac.name)
	if err != nil {
		return nil, err
	}
	if r.tenant && w.pub.ID != "" {
		return nil, fault.New(fault.Denied, "the operator decides how account %s is called", ac.name).About("account", ac.name).
			ByRule("managed").WithHint("the operator renames it with: nsc rename account %s", shellWords([]string{ac.name, to}))
	}
	rename := change{edit: func(c *jwt.AccountClaims) error {
		c.Name = to
		return nil
	}}
	if err := s.sign(r, w, rename); err != nil {
		return nil, err
	}
	if s.flags.dryRun {
		return dryReceipt(w), nil
	}
	rec, proof, err := s.renameLocked(ctx, r, w, to)
	unlock()
	if rec != nil && rec.Outcome != outcomeRefused {
		rec.Title = fmt.Sprintf("renamed account %s to %s  %s", ac.name, to, keys.Short(ac.key))
		if s.context.Account == ac.name {
			err = errors.Join(err, s.remember(ctx, r.Name(), to))
		}
	}
	if err != nil || rec == nil {
		return rec, err
	}
	if proof != nil {
		err = proof(rec)
	}
	return rec, firstErr(err, s.moveImports(ctx, r, ac.key, spaceOf(ac.claims), spaceOf(next), rec))
}

// renameLocked moves the files, publishes, and moves them back if that is
// refused.
func (s *session) renameLocked(ctx context.Context, r *root, w *work, to string) (*receipt, func(*receipt) error, error) {
	from := w.name
	if err := s.moveAccount(ctx, r, from, to, w.cur.Token, w.next, w.edited()); err != nil {
		return nil, nil, err
	}
	rec := &receipt{Kind: "account", Name: to, Key: w.key, ID: w.next.ID, Outcome: outcomeLocal}
	online, why := s.online(r)
	if rec.Note = why; !online {
		return rec, nil, nil
	}
	res, proof, err := s.put(ctx, r, api.Item{JWT: w.next.Token, Base: w.pub.ID}, w.next.Issuer)
	if err == nil {
		w.name = to
		return s.committed(ctx, r, w, res, proof)
	}
	if err, ok := kept(rec, res, err); ok {
		return rec, nil, err
	}
	rec.Outcome = outcomeRefused
	if berr := s.moveAccount(ctx, r, to, from, w.next.Token, w.cur, w.pub); berr != nil {
		return rec, nil, fault.New(fault.CodeOf(err), "%w; and the local account could not be put back: %v", err, berr)
	}
	if f := fault.As(err); f != nil && f.Code == fault.Conflict && f.Hint == "" {
		return rec, nil, conflict(w, res)
	}
	return rec, nil, err
}

// moveAccount stores doc under the name to in place of the account from, with
// its users and their credentials, in one transaction.
func (s *session) moveAccount(ctx context.Context, r *root, from, to, was string, doc *claims.Document, pub nscstore.Publication) error {
	ks := s.store.Keystore()
	creds, err := ks.CredsOf(r.Name(), from)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		if err := tx.ExpectAccount(from, was); err != nil {
			return err
		}
		if err := tx.PutAccount(to, doc.Token); err != nil {
			return err
		}
		users, err := tx.Users(from)
		if err != nil {
			return err
		}
		for _, user := range users {
			token, err := tx.UserJWT(from, user)
			if err == nil {
				err = tx.PutUser(to, user, token)
			}
			if err != nil {
				return err
			}
		}
		for _, user := range creds {
			if err := moveCreds(tx, ks, from, to, user); err != nil {
				return err
			}
		}
		if err := tx.DeleteAccount(from); err != nil {
			return err
		}
		if pub == (nscstore.Publication{}) {
			return tx.ForgetPublished(doc.Subject)
		}
		return tx.SetPublished(doc.Subject, pub)
	})
}

func moveCreds(tx *nscstore.Tx, ks *nscstore.Keystore, from, to, user string) error {
	data, err := ks.Creds(tx.Name(), from, user)
	if err != nil {
		return err
	}
	defer nscstore.Wipe(data)
	if err := tx.PutCreds(to, user, data); err != nil {
		return err
	}
	return tx.RemoveCreds(from, user)
}
