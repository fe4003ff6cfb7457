package cli

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// accountOptions are the flags of add account.
type accountOptions struct {
	name, publicKey, plan string

	edit      accounts.Edit
	fleetOnly bool
	ttl       time.Duration // of a fleet-only account
}

func newAddAccount(a *app) *cobra.Command {
	o := accountOptions{ttl: 7 * 24 * time.Hour}
	cmd := &cobra.Command{
		Use:   "account <name>",
		Short: "Add an account and bring it into force",
		Long: `Add an account with a new key, kept in the keystore. When the operator names an
account server, the account is published and the command waits until every
server is proven to enforce it. --fleet-only makes an account whose users all
live at most --ttl, so that no list of revocations in it grows without bound.
The namespace of an account is the prefix of the subjects that are its own, its
name unless --namespace says otherwise; no two accounts share one, or have one
below another's.`,
		Example: `  nsc add account app
  nsc add account app --deny-pub 'admin.>' --dry-run
  nsc add account iot --fleet-only --ttl 7d
  nsc add account app --namespace market.app --confine
  nsc add account app --plan gold --no-push
  nsc add account app --timeout 30s --json`,
		Args: args(0, 1, "the account's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = newNameOf(o.name, given, "the account's name"); err != nil {
				return err
			}
			if cmd.Flags().Changed("ttl") && !o.fleetOnly {
				return usage("--ttl is for accounts with --fleet-only")
			}
			return a.finish(a.addAccount(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "account name")
	cmd.Flags().StringVarP(&o.publicKey, "public-key", "k", "", "public key of the account, or a file with its seed, which is not stored")
	a.timeFlags(cmd.Flags(), &o.edit.Starts, &o.edit.Expires)
	cmd.Flags().BoolVar(&o.fleetOnly, "fleet-only", false, "every user of the account is short-lived")
	ttlFlag(cmd.Flags(), &o.ttl)
	namespaceFlag(cmd.Flags(), &o.edit)
	confineFlag(cmd.Flags(), &o.edit)
	planFlag(cmd.Flags(), &o.plan)
	permissionFlags(cmd.Flags(), &o.edit.Permissions, "users without permissions of their own")
	hide(cmd.Flags(), "rm", "rm-response-perms") // there is nothing to remove yet
	return cmd
}

func (a *app) addAccount(ctx context.Context, o accountOptions) (*receipt, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	if err := newAccountName(r, o.name); err != nil {
		return nil, err
	}
	key, seed, err := s.newAccountKey(o.publicKey)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(seed)
	ac := jwt.NewAccountClaims(first(key, "new key")) // a dry run makes none
	ac.Name = o.name
	if err := s.findPlan(r, o.plan, &o.edit); err != nil {
		return nil, err
	}
	if err := o.edit.Apply(ac); err != nil {
		return nil, err
	}
	if err := s.freeNamespace(ctx, r, ac); err != nil {
		return nil, err
	}
	if o.fleetOnly {
		if err := fleet.SetOnly(ac, o.ttl); err != nil {
			return nil, err
		}
		fleet.Compact(ac, s.started, false) // its first horizon: it has no users yet
	}
	if s.flags.dryRun {
		return dryNew("account", o.name, ac)
	}
	return s.createAccount(ctx, r, func() (*claims.Document, error) { return s.signNew(r, ac, seed) }, seed, nil)
}

// newAccountName refuses a name that cannot be one or is taken.
func newAccountName(r *root, name string) error {
	if err := nscstore.ValidateName("account", name); err != nil {
		return err
	}
	if err := r.RequireFreeAccount(name); err != nil {
		return err
	}
	if r.HasAccount(name) {
		if _, err := r.AccountJWT(name); err != nil {
			return err
		}
		return fault.New(fault.Conflict, "account %q exists already", name).About("account", name).ByRule("account-exists").
			WithHint("look at it with: nsc describe account %s", name)
	}
	return nil
}

// newAccountKey makes the key of a new account, or reads the one given as
// public key or seed file. The seed is nil unless it was made here. A dry run
// makes none.
func (s *session) newAccountKey(given string) (key string, seed []byte, err error) {
	if given != "" {
		return s.givenKey(given, "account", func(key string) error {
			_, err := keys.ParseAccount(key)
			return err
		}, func(seed []byte) (signer, error) { return keys.AccountFromSeed(seed) })
	}
	if s.flags.dryRun {
		return "", nil, nil
	}
	pair, err := keys.NewAccount()
	if err != nil {
		return "", nil, err
	}
	defer pair.Wipe()
	return pair.PublicKey(), pair.Seed(), nil
}

// givenKey resolves a key flag: a public key, or a file with a seed.
func (s *session) givenKey(given, kind string, valid func(string) error, parse func([]byte) (signer, error)) (string, []byte, error) {
	if looksSecret(given) {
		return "", nil, usage("a seed does not belong on the command line, where others can read it").
			WithHint("name a file that holds it, or - for stdin")
	}
	perr := valid(given)
	if perr == nil {
		return given, nil, nil
	}
	seed, err := s.readSeed(given)
	if err != nil {
		return "", nil, fault.New(fault.Invalid, "--public-key %s is neither the public key of a %s nor a readable file with its seed", given, kind)
	}
	defer nscstore.Wipe(seed)
	pair, err := parse(trim(seed))
	if err != nil {
		return "", nil, fault.New(fault.Invalid, "--public-key %s: %w", given, err)
	}
	defer pair.Wipe()
	return pair.PublicKey(), nil, nil
}

// createAccount signs, stores and publishes a new account. seed is stored with
// it, and so are the users; both may be nil. A refused account leaves nothing
// behind.
func (s *session) createAccount(ctx context.Context, r *root, sign func() (*claims.Document, error), seed []byte, users []*claims.Document) (*receipt, error) {
	online, why := s.online(r)
	if err := s.ready(ctx, r); err != nil {
		return nil, err
	}
	doc, err := sign()
	if err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx, r, doc.Subject)
	if err != nil {
		return nil, err
	}
	defer unlock()
	w := &work{name: doc.Name, key: doc.Subject, next: doc}
	if err := s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error { return w.stageNew(tx, seed, users) }); err != nil {
		return nil, err
	}
	rec := &receipt{Kind: "account", Name: w.name, Key: w.key, ID: doc.ID, Outcome: outcomeLocal, Note: why}
	if !online {
		return rec, s.remember(ctx, r.Name(), w.name)
	}
	res, proof, err := s.put(ctx, r, api.Item{JWT: doc.Token}, doc.Issuer)
	if err != nil {
		if err, ok := kept(rec, res, err); ok {
			return rec, errors.Join(err, s.remember(ctx, r.Name(), w.name))
		}
		rec.Outcome = outcomeRefused
		return rec, s.discard(ctx, r, w, seed != nil, err)
	}
	rec, proof, err = s.committed(ctx, r, w, res, proof)
	if err != nil {
		return rec, err
	}
	if err := s.remember(ctx, r.Name(), w.name); err != nil {
		return rec, err
	}
	unlock()
	if proof == nil {
		return rec, nil
	}
	return rec, proof(rec)
}

// signNew signs a new account, whose seed is nil if it was not made here.
func (s *session) signNew(r *root, ac *jwt.AccountClaims, seed []byte) (*claims.Document, error) {
	draft, err := claims.New(ac)
	if err != nil {
		return nil, err
	}
	if r.tenant && seed != nil && s.flags.privateKey == "" {
		return s.signOwn(draft, seed)
	}
	pair, err := s.versionSigner(r, ac.Subject, "")
	if err != nil {
		return nil, err
	}
	return draft.Sign(pair, s.now)
}

// stageNew writes a new account, marked as unpublished, its seed and its users.
func (w *work) stageNew(tx *nscstore.Tx, seed []byte, users []*claims.Document) error {
	err := errors.Join(
		tx.ExpectAccount(w.name, ""),
		tx.PutAccount(w.name, w.next.Token),
		tx.SetPublished(w.key, nscstore.Publication{Unpublished: true}))
	if err == nil && seed != nil {
		_, err = tx.AddSeed(seed)
	}
	if err != nil {
		return err
	}
	return stageUsers(tx, w.name, users)
}

func stageUsers(tx *nscstore.Tx, account string, users []*claims.Document) error {
	for _, u := range users {
		if err := tx.PutUser(account, u.Name, u.Token); err != nil {
			return err
		}
	}
	return nil
}

// discard removes a new account that was refused, with the seed made for it.
func (s *session) discard(ctx context.Context, r *root, w *work, withSeed bool, cause error) error {
	err := s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		err := errors.Join(tx.DeleteAccount(w.name), tx.ForgetPublished(w.key))
		if withSeed {
			err = errors.Join(err, tx.RemoveSeed(w.key))
		}
		return err
	})
	if err != nil {
		return fault.New(fault.CodeOf(cause), "%w; and the local account could not be removed: %v", cause, err)
	}
	return cause
}
