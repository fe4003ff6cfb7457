package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// deleteAccountOptions are the flags of delete account.
type deleteAccountOptions struct {
	name                  string
	rmKey, rmCreds, force bool
}

func newDeleteAccount(a *app) *cobra.Command {
	var o deleteAccountOptions
	cmd := &cobra.Command{
		Use:   "account <name>",
		Short: "Delete an account everywhere and cut its users",
		Long: `Delete an account: servers cut its users and refuse them, and the local store
forgets it and its users. Its last version is kept by accountd, so that nsc
restore account brings it back: then the users are back, too, and their
credentials valid again. Keys and credentials files stay unless flags say
otherwise; with --rm-creds the users do not come back to the local store. A person is asked; without a terminal,
--yes is needed.`,
		Example: `  nsc delete account app
  nsc delete account app --yes
  nsc delete account app --rm-creds --rm-nkey
  nsc delete account app --yes --force`,
		Args: args(0, 1, "the account's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = nameOf(o.name, given, "the account's name"); err != nil {
				return err
			}
			return a.finish(a.deleteAccount(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "account name")
	f := cmd.Flags()
	f.BoolVarP(&o.rmKey, "rm-nkey", "D", false, "also delete the keys of the account, its roles and its users")
	f.BoolVarP(&o.rmCreds, "rm-creds", "C", false, "also delete the users' credentials files")
	f.BoolVarP(&o.force, "force", "F", false, "delete it although others import from it or it holds JetStream data")
	f.BoolP("revoke", "R", true, "has no effect: a deleted account refuses all its users")
	return cmd
}

func (a *app) deleteAccount(ctx context.Context, o deleteAccountOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.name)
	if err != nil {
		return nil, err
	}
	users, err := r.Users(ac.name)
	if err != nil {
		return nil, err
	}
	if err := s.mayDelete(r, ac); err != nil {
		return nil, err
	}
	if r.tenant && !o.force {
		return nil, fault.New(fault.Denied, "operator %s is managed: account %s would be forgotten here and stay in force on its servers", r.Name(), ac.name).
			About("account", ac.name).ByRule("managed").WithHint("revoke its users first: nsc revoke user '*' -a %s; then forget it with --force", shellWords([]string{ac.name}))
	}
	rec := &receipt{Kind: "account", Name: ac.name, Key: ac.key, Cuts: true, Proved: "refused everywhere"}
	rec.Title = fmt.Sprintf("deleted account %s (%s) and %s", ac.name, keys.Short(ac.key), count(len(users), "user"))
	at, err := s.stakeOf(ctx, r, ac)
	if err != nil {
		return nil, err
	}
	if s.flags.dryRun {
		rec.Outcome, rec.Lines = outcomeDry, at.lines()
		return rec, nil
	}
	loss := fmt.Sprintf("account %s and its %s will be cut and refused everywhere", ac.name, count(len(users), "user"))
	if len(at.streams) > 0 {
		loss += "; these streams and what they hold will be lost: " + listText(at.streams)
	}
	if len(at.importers) > 0 {
		loss += "; these accounts import from it: " + listText(at.importers)
	}
	if err := a.confirm(loss, ac.name); err != nil {
		return nil, err
	}
	online, why := s.online(r)
	if r.tenant {
		online, why = false, "its operator alone deletes it on the servers"
	}
	if online {
		if err := s.dial(ctx, r); err != nil {
			return nil, err
		}
	}
	unlock, err := s.lock(ctx, r, ac.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var proof func(*receipt) error
	if rec.Outcome, rec.Note = outcomeLocal, why; !online {
		if pub, known, err := r.Published(ac.key); err == nil && known && pub.ID != "" {
			rec.Warnings = append(rec.Warnings, "accountd is not told: the account and the credentials of its users stay in force on the servers")
		}
	} else {
		if proof, err = s.tombstone(ctx, r, ac, o.force, rec); err != nil {
			return rec, err
		}
	}
	if rec.Undo != "" {
		rec.forgotten(users, o.rmCreds)
	}
	if err := s.forgetAccount(ctx, r, ac, rec, o); err != nil {
		return rec, err
	}
	unlock()
	if proof != nil {
		err = proof(rec)
	}
	return rec, firstErr(err, s.moveImports(ctx, r, ac.key, spaceOf(ac.claims), "", rec))
}

// mayDelete refuses to delete the account that everything depends on.
func (s *session) mayDelete(r *root, ac *account) error {
	if ac.key != r.claims.SystemAccount {
		return nil
	}
	return fault.New(fault.Denied, "account %q is the system account of operator %q", ac.name, r.Name()).
		About("account", ac.name).ByRule("system-account").
		WithHint("name another one first: nsc edit operator --system-account <name>")
}

// tombstone asks accountd to delete the account. An account that accountd does
// not know, or has deleted before, may go from the local store.
func (s *session) tombstone(ctx context.Context, r *root, ac *account, force bool, rec *receipt) (func(*receipt) error, error) {
	w, err := s.begin(r, ac.name)
	if err != nil {
		return nil, err
	}
	base := first(w.pub.ID, ac.doc.ID)
	for try := 1; ; try++ {
		res, proof, err := s.put(ctx, r, api.Item{Delete: ac.key, Base: base, Force: force}, ac.doc.Issuer)
		gone := res.Current != nil && res.Current.Deleted
		switch {
		case err == nil:
			rec.Outcome, rec.Revision, rec.ID, rec.Findings = res.Outcome, res.Revision, res.ID, res.Findings
			rec.Title += fmt.Sprintf(", revision %d", res.Revision)
			rec.Undo = "nsc restore account " + shellWords([]string{ac.name})
			return proof, nil
		case fault.Is(err, fault.NotFound) && res.Outcome != "":
			rec.Outcome, rec.Note = outcomeLocal, "accountd never knew it"
			return nil, nil
		case fault.Is(err, fault.Conflict) && gone:
			rec.Outcome, rec.Revision, rec.ID = outcomeSame, res.Current.Revision, res.Current.ID
			return nil, nil
		case fault.Is(err, fault.Conflict) && try < tries && res.Current != nil && res.Current.ID == ac.doc.ID:
			base = ac.doc.ID
			continue
		case fault.Is(err, fault.Conflict):
			rec.Outcome = outcomeRefused
			return nil, conflict(w, res)
		case res.Outcome == "" && fault.Is(err, fault.Unavailable):
			rec.Outcome = outcomeUnknown
			return nil, fault.New(fault.Unavailable, "account %s is not known to be deleted: %w", ac.name, err).
				About("account", ac.name).WithHint("repeat the command; the local store is unchanged")
		}
		rec.Outcome = outcomeRefused
		return nil, err
	}
}

// forgetAccount removes the account from the local store; what is known of its
// publication stays.
func (s *session) forgetAccount(ctx context.Context, r *root, ac *account, rec *receipt, o deleteAccountOptions) error {
	var users []target
	names, err := r.Users(ac.name)
	if err != nil {
		return err
	}
	for _, n := range names {
		t := target{name: n}
		if doc, err := r.user(ac.name, n); err == nil {
			t.key = doc.Subject
		}
		users = append(users, t)
	}
	err = s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		keep := func() error { return tx.KeepUsers(ac.key, ac.name) }
		if o.rmCreds {
			keep = func() error { return tx.ForgetKept(ac.key) }
		}
		if err := keep(); err != nil {
			return err
		}
		if err := tx.DeleteAccount(ac.name); err != nil {
			return err
		}
		for _, t := range users {
			if err := forgetSecrets(tx, ac.name, t, o.rmKey && t.key != "", o.rmCreds); err != nil {
				return err
			}
		}
		if o.rmKey {
			for _, key := range append(ac.claims.SigningKeys.Keys(), ac.key) {
				if err := tx.RemoveSeed(key); err != nil {
					return err
				}
			}
		}
		if rec.ID == "" {
			return tx.ForgetPublished(ac.key)
		}
		return tx.SetPublished(ac.key, nscstore.Publication{ID: rec.ID, Revision: rec.Revision})
	})
	if err != nil {
		return err
	}
	if s.context.Account == ac.name {
		return s.remember(ctx, r.Name(), "")
	}
	return nil
}
