package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/revocation"
)

// deleteUserOptions are the flags of delete user.
type deleteUserOptions struct {
	account                string
	users                  []string
	revoke, rmKey, rmCreds bool
	force                  bool // also the user that carries the requests
}

func newDeleteUser(a *app) *cobra.Command {
	var o deleteUserOptions
	cmd := &cobra.Command{
		Use:   "user <name>...",
		Short: "Delete users and revoke their credentials",
		Long: `Delete users from the local store. Their credentials are revoked first, so that
they are refused at once everywhere; with --revoke=false they stay valid. The user
that carries the requests to accountd is deleted with --force only.`,
		Example: `  nsc delete user device1 -a app
  nsc delete user device1 -a app --rm-creds --rm-nkey
  nsc delete user device1 -a app --revoke=false`,
		Args: args(0, 1000, "the user's name"),
		RunE: func(cmd *cobra.Command, given []string) error {
			o.users = append(o.users, given...)
			if len(o.users) == 0 {
				return usage("the user's name is missing")
			}
			return a.finish(a.deleteUsers(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.StringSliceVarP(&o.users, "name", "n", nil, "names of the users")
	f.BoolVarP(&o.revoke, "revoke", "R", true, "revoke the credentials of the users first")
	f.BoolVarP(&o.rmKey, "rm-nkey", "D", false, "also delete the users' keys")
	f.BoolVarP(&o.rmCreds, "rm-creds", "C", false, "also delete the users' credentials files")
	f.BoolVarP(&o.force, "force", "F", false, "delete also the user that carries the requests to accountd")
	return cmd
}

func (a *app) deleteUsers(ctx context.Context, o deleteUserOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	targets, err := r.named(ac, o.users)
	if err != nil {
		return nil, err
	}
	if !o.force {
		if err := s.notOwn(r, ac, targets, 0); err != nil {
			return nil, err
		}
	}
	names := shortNames(targets)
	rec := &receipt{Kind: "user", Name: names, Account: ac.name, Key: targets[0].key, Outcome: outcomeLocal}
	rec.Title = fmt.Sprintf("deleted %s in %s%s", names, ac.name, targetKey(targets))
	if !o.revoke {
		rec.Warnings = append(rec.Warnings, "the credentials of "+names+" stay valid; refuse them with: nsc revoke user <public key> -a "+ac.name)
	}
	var proof error
	if o.revoke {
		if rec, proof = s.revoke(ctx, r, ac, targets, 0); rec == nil || rec.Outcome == outcomeRefused {
			return rec, proof
		}
		rec.Title, rec.Undo = strings.Replace(rec.Title, "revoked ", "deleted and revoked ", 1), ""
	}
	if s.flags.dryRun {
		rec.Outcome = outcomeDry
		rec.Title = fmt.Sprintf("would delete %s in %s%s", names, ac.name, targetKey(targets))
		return rec, proof
	}
	if err := s.forgetUsers(ctx, r, ac, targets, o); err != nil {
		return rec, err
	}
	return rec, proof
}

// named resolves names and public keys to users of the local store. It knows no
// "all users": nobody deletes them by a name.
func (r *root) named(ac *account, users []string) ([]target, error) {
	var out []target
	for _, u := range users {
		if u == revocation.All {
			return nil, usage("* names no user to delete").
				WithHint("refuse the credentials of all users with: nsc revoke user '*' -a %s, and name a user that is called * by its public key", shellWords([]string{ac.name}))
		}
		name, err := r.User(ac.name, u)
		if err != nil {
			return nil, err
		}
		t, err := r.namedTarget(ac, name)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// forgetUsers removes users from the local store.
func (s *session) forgetUsers(ctx context.Context, r *root, ac *account, targets []target, o deleteUserOptions) error {
	return s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		for _, t := range targets {
			if err := tx.DeleteUser(ac.name, t.name); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			if err := forgetSecrets(tx, ac.name, t, o.rmKey, o.rmCreds); err != nil {
				return err
			}
		}
		return nil
	})
}

func forgetSecrets(tx *nscstore.Tx, accountName string, t target, rmKey, rmCreds bool) error {
	if rmKey {
		if err := tx.RemoveSeed(t.key); err != nil {
			return err
		}
	}
	if rmCreds {
		return tx.RemoveCreds(accountName, t.name)
	}
	return nil
}
