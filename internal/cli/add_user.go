package cli

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/revocation"
)

// userOptions are the flags of add user.
type userOptions struct {
	name, account, publicKey string
	role                     string
	reissue                  bool
	edit                     accounts.UserEdit
}

func newAddUser(a *app) *cobra.Command {
	var o userOptions
	cmd := &cobra.Command{
		Use:   "user <name>",
		Short: "Add a user to an account and write its credentials",
		Long: `Add a user with a new key and write its credentials file. Servers learn of users
from their credentials, so nothing is published. A user that exists is issued
anew with --reissue, later than its revocation, if it has one.`,
		Example: `  nsc add user device1 -a app
  nsc add user device1 -a app --role sensor
  nsc add user device1 -a app --reissue
  nsc add user device1 -a app --allow-pub 'device1.>' --expiry 90d
  nsc add user device2 -a app --tag site:7 --source-network 10.0.0.0/8`,
		Args: args(0, 1, "the user's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.name, err = newNameOf(o.name, given, "the user's name"); err != nil {
				return err
			}
			return a.finish(a.addUser(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "user name")
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.StringVarP(&o.publicKey, "public-key", "k", "", "public key of the user, or a file with its seed, which is not stored")
	f.StringVar(&o.role, "role", "", "role that decides what the user may do: its key signs, as with -K")
	f.BoolVar(&o.reissue, "reissue", false, "issue a new JWT for a user that exists")
	a.timeFlags(f, &o.edit.Starts, &o.edit.Expires)
	listFlag(f, &o.edit.AddTags, "tag", "tags of the user")
	limitFlags(f, &o.edit.Limits, "the user")
	hide(f, "rm", "rm-response-perms", "rm-conn-type", "rm-source-network", "rm-time") // there is nothing to remove yet
	return cmd
}

func (a *app) addUser(ctx context.Context, o userOptions) (*receipt, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	ac, err := s.account(r, o.account)
	if err != nil {
		return nil, err
	}
	if o.role != "" {
		if a.flags.privateKey != "" {
			return nil, usage("--role and -K both say who signs")
		}
		if a.flags.privateKey, err = roleNamed(ac, o.role); err != nil {
			return nil, err
		}
	}
	if o.reissue {
		o.name, err = r.User(ac.name, o.name)
	} else {
		err = newUserName(r, ac, o.name)
	}
	if err != nil {
		return nil, err
	}
	old, err := existingUser(r, ac, o)
	if err != nil {
		return nil, err
	}
	return s.issueUser(ctx, r, ac, old, o)
}

// newUserName refuses a name that cannot be one.
func newUserName(r *root, ac *account, name string) error {
	if err := nscstore.ValidateName("user", name); err != nil {
		return err
	}
	return r.RequireFreeUser(ac.name, name)
}

// existingUser returns the user that is to be issued anew, nil for a new one.
func existingUser(r *root, ac *account, o userOptions) (*claims.Document, error) {
	switch {
	case o.reissue:
		return r.user(ac.name, o.name)
	case !r.HasUser(ac.name, o.name):
		return nil, nil
	}
	return nil, fault.New(fault.Conflict, "user %q exists already in account %q", o.name, ac.name).
		About("user", o.name).ByRule("user-exists").
		WithHint("issue it anew with: nsc add user %s -a %s --reissue", o.name, ac.name)
}

// issueUser signs a user, new or old, and stores its JWT, seed and credentials
// in one transaction.
func (s *session) issueUser(ctx context.Context, r *root, ac *account, old *claims.Document, o userOptions) (*receipt, error) {
	issuer := ""
	if old != nil {
		issuer = old.Issuer
	}
	pair, _, err := s.userSigner(r, ac, issuer)
	if err != nil {
		return nil, err
	}
	key, seed, isNew, err := s.userKeyPair(old, o)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(seed)
	draft, err := userDraft(ac, old, key, pair.PublicKey(), o)
	if err != nil {
		return nil, err
	}
	at, err := s.issueTime(ac, o.name, key)
	if err != nil {
		return nil, err
	}
	doc, err := draft.Sign(pair, at)
	if err == nil {
		err = fleet.CheckUser(ac.claims, o.name, doc.IssuedAt, doc.Expires)
	}
	if err != nil {
		return nil, err
	}
	rec := &receipt{Kind: "user", Name: o.name, Account: ac.name, Key: key, ID: doc.ID, Expires: doc.Expires, Outcome: "issued"}
	rec.Warnings = userWarnings(s, ac, doc, o.edit)
	rec.Title = "user " + o.name + " in " + ac.name + "  " + first(keys.Short(key), "new key") + "  " + until(doc.Expires)
	if s.flags.dryRun {
		rec.Outcome, rec.ID, rec.Changes = outcomeDry, "", diffClaims(payload(old), payload(doc))
		return rec, nil
	}
	return rec, s.storeUser(ctx, r, ac, doc, old, seed, isNew, rec)
}

// userKeyPair returns the key of a user and, if it is here, its seed.
func (s *session) userKeyPair(old *claims.Document, o userOptions) (key string, seed []byte, isNew bool, err error) {
	if o.publicKey != "" {
		key, _, err = s.givenKey(o.publicKey, "user", func(key string) error {
			_, err := keys.ParseUser(key)
			return err
		}, func(seed []byte) (signer, error) { return keys.UserFromSeed(seed) })
		if err == nil && old != nil && old.Subject != key {
			err = fault.New(fault.Conflict, "user %q has the key %s, not %s", o.name, keys.Short(old.Subject), keys.Short(key)).
				About("user", o.name).ByRule("same-subject").WithHint("choose another name")
		}
		if err != nil {
			return "", nil, false, err
		}
	} else if old != nil {
		key = old.Subject
	}
	if key != "" {
		seed, err = s.seedIfHere(key)
		return key, seed, false, err
	}
	if s.flags.dryRun {
		return "", nil, false, nil
	}
	pair, err := keys.NewUser()
	if err != nil {
		return "", nil, false, err
	}
	defer pair.Wipe()
	return pair.PublicKey(), pair.Seed(), true, nil
}

// seedIfHere returns the seed of key, nil for one that is kept elsewhere.
func (s *session) seedIfHere(key string) ([]byte, error) {
	seed, err := s.store.Keystore().Seed(key)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return seed, err
}

// userDraft makes the claims of a user, to be signed by issuer.
func userDraft(ac *account, old *claims.Document, key, issuer string, o userOptions) (*claims.Draft, error) {
	edit := func(uc *jwt.UserClaims) error { return o.edit.Apply(uc, ac.claims, issuer) }
	if old != nil {
		return claims.Edit(old, edit)
	}
	uc := jwt.NewUserClaims(first(key, "new key")) // a dry run makes none
	uc.Name = o.name
	if err := edit(uc); err != nil {
		return nil, err
	}
	return claims.New(uc)
}

// issueFloor is the earliest time, Unix seconds, at which a JWT for key is not
// covered by the revocations of the account.
func issueFloor(ac *account, key string) int64 {
	list := revocation.List(ac.claims.Revocations)
	var floor int64
	for _, k := range []string{key, revocation.All} {
		if at, ok := list[k]; ok {
			floor = max(floor, at+1)
		}
	}
	return floor
}

// maxAhead is how far, in seconds, a time may lie in the future: clocks differ.
const maxAhead = 5 * 60

// issueTime is when a JWT for key is issued: now, or right after its
// revocation. It is fault.Denied if that one lies in the future: such a JWT is
// none that anybody means to have.
func (s *session) issueTime(ac *account, name, key string) (int64, error) {
	at := max(s.now, issueFloor(ac, key))
	if at <= s.now+maxAhead {
		return at, nil
	}
	whose, lift := "user "+quote(name), name
	if own, ok := ac.claims.Revocations[key]; !ok || own < at-1 {
		whose, lift = "all users (*) of account "+quote(ac.name), revocation.All
	}
	return 0, fault.New(fault.Denied, "the revocation of %s refuses what is issued until %s, which is in the future", whose, clock(at-1)).
		About("user", name).ByRule("revoked").
		WithHint("take it back first with: nsc unrevoke user %s -a %s", shellWords([]string{lift}), shellWords([]string{ac.name}))
}

// storeUser writes the user in one transaction.
func (s *session) storeUser(ctx context.Context, r *root, ac *account, doc, old *claims.Document, seed []byte, isNew bool, rec *receipt) error {
	var creds []byte
	var err error
	if seed != nil {
		if creds, err = nscstore.FormatCreds(doc.Token, seed); err != nil {
			return err
		}
		defer nscstore.Wipe(creds)
	}
	before := ""
	if old != nil {
		before = old.Token
	}
	err = s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		err := errors.Join(tx.ExpectUser(ac.name, rec.Name, before), tx.PutUser(ac.name, rec.Name, doc.Token))
		if err == nil && isNew {
			_, err = tx.AddSeed(seed)
		}
		if err == nil && creds != nil {
			err = tx.PutCreds(ac.name, rec.Name, creds)
		}
		return err
	})
	if err != nil || creds == nil {
		return err
	}
	if rec.Creds, err = s.store.Keystore().CredsPath(r.Name(), ac.name, rec.Name); err == nil {
		rec.Lines = append(rec.Lines, "credentials: "+s.shown(rec.Creds))
		if isNew && doc.Expires == 0 && s.env.Terminal {
			rec.Lines = append(rec.Lines, "hint: short-lived credentials renew themselves: nsc add fleet --help")
		}
	}
	return err
}

// shown is a path as a person reads it: relative below the current folder.
func (a *app) shown(path string) string {
	rel, err := filepath.Rel(a.env.Dir, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return "." + string(filepath.Separator) + rel
}

func trim(b []byte) []byte { return bytes.TrimSpace(b) }
