package cli

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// loadOptions are the flags of load.
type loadOptions struct{ profile, url, seed, user string }

func newLoad(a *app) *cobra.Command {
	var o loadOptions
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Set up a store for an account that an operator on the web has made",
		Long: `Import the operator and an account of it, and add a user to the account: what a
provider's page tells its customers to do. The account is known by its seed,
which is read from a file or stdin and kept in the keystore.

A profile is a URL, nsc://OPERATOR?secret=SEED&user=NAME, in which OPERATOR is a
well-known name; see nsc add operator --help. It holds a secret, so it is read
from a file or stdin, too.`,
		Example: `  nsc load --url https://accounts.acme.example/jwt/v1/operator --seed ./account.nk
  nsc load --profile ./profile
  nsc load --url acme --seed - --user phone1`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.finish(a.load(cmd.Context(), o)) },
	}
	f := cmd.Flags()
	f.StringVar(&o.profile, "profile", "", "file with the URL of a profile, - for stdin")
	f.StringVar(&o.url, "url", "", "operator's JWT: a URL, a file or a well-known name")
	f.StringVar(&o.seed, "seed", "", "file with the account's seed, - for stdin")
	f.StringVar(&o.user, "user", "default", "name of the user to add")
	return cmd
}

func (a *app) load(ctx context.Context, o loadOptions) (*receipt, error) {
	s, err := a.session()
	if err != nil {
		return nil, err
	}
	from, account, err := s.loaded(&o)
	if err != nil {
		return nil, err
	}
	defer account.Wipe()
	r, err := s.remoteRoot(ctx, from)
	if err != nil {
		return nil, err
	}
	ac, err := s.remoteAccount(ctx, r, account.PublicKey())
	if err != nil {
		return nil, err
	}
	user, err := keys.NewUser()
	if err != nil {
		return nil, err
	}
	defer user.Wipe()
	if err := nscstore.ValidateName("user", o.user); err != nil {
		return nil, err
	}
	at, err := s.issueTime(ac, o.user, user.PublicKey())
	if err != nil {
		return nil, err
	}
	uc := jwt.NewUserClaims(user.PublicKey())
	uc.Name = o.user
	token, err := signed(uc, account, at)
	if err != nil {
		return nil, err
	}
	name := r.doc.Name
	rec := &receipt{Kind: "user", Name: o.user, Account: ac.name, Key: user.PublicKey(), Outcome: "issued"}
	rec.Title = "user " + o.user + " in " + ac.name + "  " + keys.Short(rec.Key)
	rec.Lines = []string{"operator " + name + "  " + keys.Short(r.doc.Subject), "account " + ac.name + "  " + keys.Short(ac.key)}
	if s.flags.dryRun {
		rec.Outcome, rec.Key = outcomeDry, ""
		return rec, nil
	}
	if err := s.storeLoaded(ctx, r, ac, account, func(tx *nscstore.Tx) error {
		return stageAll(
			func() error { return tx.ExpectUser(ac.name, o.user, "") },
			func() error { return tx.PutUser(ac.name, o.user, token) },
			func() error { return putCreds(tx, ac.name, o.user, token, user) },
			func() error { return addSeed(tx, user) })
	}); err != nil {
		return nil, err
	}
	if rec.Creds, err = s.store.Keystore().CredsPath(name, ac.name, o.user); err != nil {
		return nil, err
	}
	rec.Lines = append(rec.Lines, "credentials: "+a.shown(rec.Creds))
	return rec, s.remember(ctx, name, ac.name)
}

// loaded reads the profile, if there is one, and the account's key. It returns
// where the operator is.
func (s *session) loaded(o *loadOptions) (from string, pair keys.AccountPair, err error) {
	from = o.url
	var seed []byte
	switch {
	case (o.profile == "") == (o.seed == ""):
		return "", pair, usage("give either --profile, or --url and --seed")
	case strings.HasPrefix(o.profile, profileScheme), looksSecret(o.seed):
		return "", pair, usage("a seed does not belong on the command line, where others can read it").
			WithHint("name a file that holds it, or - for stdin")
	case o.profile != "":
		text, err := s.readSeed(o.profile)
		if err != nil {
			return "", pair, err
		}
		defer nscstore.Wipe(text)
		u, err := url.Parse(string(trim(text)))
		if err != nil || u.Scheme+"://" != profileScheme || u.Host == "" {
			return "", pair, fault.New(fault.Invalid, "%s holds no profile, which begins with %s and an operator", o.profile, profileScheme).ByRule("profile")
		}
		from, seed = first(o.url, u.Host), []byte(u.Query().Get("secret"))
		o.user = first(u.Query().Get("user"), o.user)
	default:
		if seed, err = s.readSeed(o.seed); err != nil {
			return "", pair, err
		}
	}
	defer nscstore.Wipe(seed)
	if from == "" {
		return "", pair, usage("--url is missing, which says where the operator is")
	}
	if pair, err = keys.AccountFromSeed(trim(seed)); err != nil {
		return "", pair, fault.New(fault.Invalid, "the seed of the account: %w", err)
	}
	return from, pair, nil
}

// remoteRoot reads an operator that the store need not have.
func (s *session) remoteRoot(ctx context.Context, from string) (*root, error) {
	doc, _, err := s.readOperator(ctx, from)
	if err != nil {
		return nil, err
	}
	r := &root{doc: doc}
	if r.claims, err = claims.As[jwt.OperatorClaims](doc); err != nil {
		return nil, err
	}
	r.trust, err = operator.TrustOf(doc)
	return r, err
}

// remoteAccount fetches an account from its operator's account server.
func (s *session) remoteAccount(ctx context.Context, r *root, key string) (*account, error) {
	if !isHTTP(r.claims.AccountServerURL) {
		return nil, fault.New(fault.Denied, "operator %q names no account server on the web that has its accounts", r.doc.Name).
			About("operator", r.doc.Name).ByRule("account-server").WithHint("take the account from a file with: nsc import account --file <file>")
	}
	token, err := s.fetchClaim(ctx, strings.TrimRight(r.claims.AccountServerURL, "/")+"/accounts/"+key)
	if err != nil {
		return nil, err
	}
	doc, err := r.trusted(key, token)
	if err != nil {
		return nil, err
	}
	if err := nscstore.ValidateName("account", doc.Name); err != nil {
		return nil, err
	}
	return decodeAccount(doc.Name, doc.Token)
}

// storeLoaded writes the operator, if it is new, the account with its key, and
// what more puts, in one transaction.
func (s *session) storeLoaded(ctx context.Context, r *root, ac *account, pair keys.AccountPair, more func(*nscstore.Tx) error) error {
	put := func(tx *nscstore.Tx) error {
		if err := tx.PutOperator(r.doc.Token); err != nil {
			return err
		}
		if err := putLoaded(tx, ac); err != nil {
			return err
		}
		return errors.Join(addSeed(tx, pair), more(tx))
	}
	err := s.store.Create(ctx, r.doc.Name, true, put)
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	return s.store.Update(ctx, r.doc.Name, func(tx *nscstore.Tx) error {
		token, err := tx.JWT()
		if err != nil {
			return err
		}
		old, err := claims.Decode(token)
		if err != nil {
			return err
		}
		if err := sameOperator(r.doc.Name, old, r.doc); err != nil {
			return err
		}
		return put(tx)
	})
}

// putLoaded writes an account, unless the store has it: a version here may have
// edits of its own.
func putLoaded(tx *nscstore.Tx, ac *account) error {
	token, err := tx.AccountJWT(ac.name)
	if fault.Is(err, fault.NotFound) {
		return errors.Join(tx.PutAccount(ac.name, ac.doc.Token), tx.SetPublished(ac.key, nscstore.Publication{ID: ac.doc.ID}))
	}
	if err != nil {
		return err
	}
	if old, err := claims.Decode(token); err != nil || old.Subject != ac.key {
		return errors.Join(err, sameName(ac.doc, token))
	}
	return nil
}
