package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func newRestore(a *app) *cobra.Command {
	cmd := group("restore", "Bring back deleted accounts, and operators from backups")
	cmd.AddCommand(newRestoreAccount(a), newRestoreOperator(a))
	return cmd
}

func newRestoreAccount(a *app) *cobra.Command {
	var name string
	var revokeUsers bool
	cmd := &cobra.Command{
		Use:   "account <name>",
		Short: "Bring a deleted account back, with everything it had revoked",
		Long: `Bring an account back that was deleted, by name or public key: its last version
is signed anew and published, revocations included. Credentials of its users are
valid again unless they were revoked, also those of users that the local store
does not know any more: it gets back those that it had when it deleted the
account, and those whose credentials files are in the keystore. With --revoke-users the same version refuses everything that was
issued until now.`,
		Example: `  nsc restore account app
  nsc restore account app --revoke-users
  nsc restore account app --dry-run
  nsc restore account app --timeout 30s`,
		Args: args(0, 1, "the account's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if name, err = nameOf(name, given, "the account's name"); err != nil {
				return err
			}
			return a.finish(a.restoreAccount(cmd.Context(), name, revokeUsers))
		},
	}
	nameFlag(cmd, &name, "account name")
	cmd.Flags().BoolVar(&revokeUsers, "revoke-users", false, "refuse the credentials of all users that were issued until now")
	return cmd
}

func (a *app) restoreAccount(ctx context.Context, name string, revokeUsers bool) (*receipt, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	last, base, err := s.lastVersion(ctx, r, name)
	if err != nil {
		return nil, err
	}
	pair, err := s.accountSigner(r, last.Issuer)
	if err != nil {
		return nil, err
	}
	users, err := s.formerUsers(r, last.Name, last.Subject)
	if err != nil {
		return nil, err
	}
	draft, rec, err := s.restoreDraft(last, users, revokeUsers)
	if err != nil {
		return nil, err
	}
	// Servers ignore the JWT that they removed, so this one must differ.
	doc, err := draft.Sign(pair, max(s.now, last.IssuedAt+1))
	if err != nil {
		return nil, err
	}
	w := &work{name: doc.Name, key: doc.Subject, next: doc, pub: nscstore.Publication{ID: base.ID, Revision: base.Revision}}
	if s.flags.dryRun {
		w.cur = last
		dry := dryReceipt(w)
		dry.Title = fmt.Sprintf("would restore account %s (%s)", w.name, keys.Short(w.key))
		dry.Lines, dry.Warnings, dry.Users = rec.Lines, rec.Warnings, rec.Users
		return dry, nil
	}
	return s.publishRestored(ctx, r, w, users, rec)
}

// lastVersion returns the last version of a deleted account, and what accountd
// says of the deletion.
func (s *session) lastVersion(ctx context.Context, r *root, name string) (*claims.Document, *api.Version, error) {
	c, err := s.client(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	got, err := s.get(ctx, c, name)
	if err != nil {
		return nil, nil, s.nearAccount(ctx, r, name, err, func(v api.Version) bool { return v.Deleted })
	}
	if !got.Version.Deleted {
		return nil, nil, fault.New(fault.Conflict, "account %q is not deleted; it is at revision %d", name, got.Version.Revision).
			About("account", name).ByRule("not-deleted").WithHint("if another account of that name was deleted, name it by its public key: nsc restore account <key>")
	}
	doc, err := claims.Decode(got.Version.JWT)
	if err != nil {
		return nil, nil, err
	}
	if doc.Type != claims.TypeAccount || doc.Subject != got.Version.Key {
		return nil, nil, fault.New(fault.Untrusted, "accountd answered with another claim than that of account %q", name).ByRule("subject")
	}
	// The key that signed it may be gone since; then any key of the operator signs the new version.
	return doc, got.Version, nil
}

// publishRestored publishes w and fills rec. The local store gets the account
// and, unless it has the account already, the users.
func (s *session) publishRestored(ctx context.Context, r *root, w *work, users []*claims.Document, rec *receipt) (*receipt, error) {
	unlock, err := s.lock(ctx, r, w.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, err := r.AccountJWT(w.name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	var back []string
	err = s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		err := errors.Join(
			tx.ExpectAccount(w.name, old),
			tx.PutAccount(w.name, w.next.Token),
			tx.SetPublished(w.key, nscstore.Publication{ID: w.pub.ID, Revision: w.pub.Revision, Unpublished: true}))
		if err == nil && old == "" {
			back = putUsers(tx, w.name, users)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(back) > 0 {
		rec.Lines = append([]string{"users that are back: " + strings.Join(back, ", ")}, rec.Lines...)
	}
	res, proof, err := s.put(ctx, r, api.Item{JWT: w.next.Token, Base: w.pub.ID, Restore: true}, w.next.Issuer)
	if err != nil {
		rec.Outcome = outcomeRefused
		if res.Outcome == "" && fault.Is(err, fault.Unavailable) {
			rec.Outcome = outcomeUnknown
		}
		return rec, s.undoRestore(ctx, r, w, old, err)
	}
	done, proof, err := s.committed(ctx, r, w, res, proof)
	done.Lines, done.Warnings, done.Users, rec = rec.Lines, rec.Warnings, rec.Users, done
	rec.Title = fmt.Sprintf("restored account %s (%s), revision %d", w.name, keys.Short(w.key), res.Revision)
	if err != nil {
		return rec, err
	}
	unlock()
	if proof == nil {
		return rec, nil
	}
	return rec, proof(rec)
}

// undoRestore puts the local store back. That holds for an unknown outcome
// too, since only this command may bring an account back: it is repeated.
func (s *session) undoRestore(ctx context.Context, r *root, w *work, old string, cause error) error {
	err := s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		if err := tx.SetPublished(w.key, w.pub); err != nil {
			return err
		}
		if old == "" {
			return tx.DeleteAccount(w.name)
		}
		return tx.PutAccount(w.name, old)
	})
	if err != nil {
		return fault.New(fault.CodeOf(cause), "%w; and the local account could not be put back: %v", cause, err)
	}
	return cause
}
