package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// defaultServiceURL is where the official tool expects a first server.
const defaultServiceURL = "nats://localhost:4222"

// initOptions are the flags of init.
type initOptions struct{ name, dir, url, remote string }

func newInit(a *app) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init <name>",
		Short: "Make an operator, an account and a user of one name",
		Long: `Make an operator with a system account, an account and a user, all of one name, in
the local store: enough to configure a first server. With --url or
--remote-operator the operator is one of somebody else, as with nsc add operator
--url, and gets an account, which is published, and its user.`,
		Example: `  nsc init acme
  nsc init -n acme -d ./stores
  nsc init pepsi --url https://accounts.acme.example/jwt/v1/operator
  nsc init acme --json`,
		Args: args(0, 1, "the name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.url != "" && o.remote != "" {
				return usage("--url and --remote-operator exclude each other")
			}
			if o.name == "" && len(given) == 0 {
				return usage("the name is missing").WithHint("choose one, or have one made up with: nsc init -n '*'")
			}
			if o.name, err = newNameOf(o.name, given, "the name"); err != nil {
				return err
			}
			if o.url != "" || o.remote != "" {
				return a.finish(a.initManaged(cmd.Context(), o))
			}
			return a.finish(a.init(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "name of the operator, account and user, or of the account and user of an imported operator")
	f := cmd.Flags()
	f.StringVarP(&o.dir, "dir", "d", "", "folder of the stores")
	f.StringVarP(&o.url, "url", "u", "", "the operator is that of a JWT at this URL, or in this file")
	f.StringVarP(&o.remote, "remote-operator", "o", "", "the operator is this well-known one, whose URL NSC_<NAME>_OPERATOR names")
	return cmd
}

// initSession opens the store root that --dir names, which becomes the current
// one; --data-dir is for one command.
func (a *app) initSession(o initOptions) (*session, error) {
	remembered := a.flags.dataDir
	defer func() { a.flags.dataDir = remembered }()
	a.flags.dataDir = first(o.dir, a.flags.dataDir)
	s, err := a.session()
	if err == nil && o.dir != "" && !a.cwdOnly() {
		s.context.Elsewhere = false
	}
	return s, err
}

func (a *app) init(ctx context.Context, o initOptions) (*receipt, error) {
	s, err := a.initSession(o)
	if err != nil {
		return nil, err
	}
	if err := s.newOperatorName(o.name); err != nil {
		return nil, err
	}
	if a.flags.dryRun {
		oc := jwt.NewOperatorClaims("new key")
		oc.Name = o.name
		oc.OperatorServiceURLs.Add(defaultServiceURL)
		return dryNew("operator", o.name, oc)
	}
	b, err := s.newOperator(operatorOptions{name: o.name, sys: true})
	if err != nil {
		return nil, err
	}
	defer b.wipe()
	b.services = []string{defaultServiceURL}
	doc, err := b.sign()
	if err != nil {
		return nil, err
	}
	rec := &receipt{Kind: "operator", Name: o.name, Key: doc.Subject, ID: doc.ID, Outcome: "created", Lines: b.lines()}
	err = s.store.Create(ctx, o.name, false, func(tx *nscstore.Tx) error {
		if err := b.stage(tx, doc); err != nil {
			return err
		}
		lines, err := stageTenant(tx, b.name, b.root, b.now)
		rec.Lines = append(rec.Lines, lines...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if rec.Creds, err = s.store.Keystore().CredsPath(o.name, o.name, o.name); err != nil {
		return nil, err
	}
	rec.Lines = append(rec.Lines, "credentials: "+a.shown(rec.Creds))
	return rec, s.remember(ctx, o.name, o.name)
}

// initManaged imports an operator, makes an account of it and a user, in one
// transaction, and publishes the account.
func (a *app) initManaged(ctx context.Context, o initOptions) (*receipt, error) {
	s, err := a.initSession(o)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(nscstore.ValidateName("account", o.name), nscstore.ValidateName("user", o.name)); err != nil {
		return nil, err
	}
	from := o.url
	if o.remote != "" {
		if from = a.wellKnownURL(o.remote); from == "" {
			return nil, fault.New(fault.NotFound, "no operator is known as %q", o.remote).About("operator", o.remote).
				WithHint("name the URL of its JWT in NSC_%s_OPERATOR, or with --url", strings.ToUpper(o.remote))
		}
	}
	doc, from, err := s.readOperator(ctx, from)
	if err != nil {
		return nil, err
	}
	name, known, err := s.managedName(ctx, doc, o.name)
	if err != nil {
		return nil, err
	}
	imported := importedOperator(name, from, doc)
	if a.flags.dryRun {
		imported.Outcome, imported.Changes = outcomeDry, diffClaims(nil, payload(doc))
		return imported, nil
	}
	var lines []string
	err = s.storeOperator(ctx, name, doc, known, func(tx *nscstore.Tx) error {
		lines, err = stageTenant(tx, o.name, nil, s.now)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.context.Operator = name
	if err := s.remember(ctx, name, o.name); err != nil {
		return nil, err
	}
	rec, err := s.publishFirst(ctx, o.name)
	if rec == nil {
		return nil, err
	}
	rec.Lines = append(append([]string{imported.title()}, lines...), rec.Lines...)
	rec.Warnings = append(imported.Warnings, rec.Warnings...)
	creds, cerr := s.store.Keystore().CredsPath(name, o.name, o.name)
	if rec.Creds = creds; cerr == nil {
		rec.Lines = append(rec.Lines, "credentials: "+a.shown(creds))
	}
	return rec, firstErr(err, cerr)
}

// managedName returns what the managed operator of doc is called in the store,
// whether it is there, and refuses an account that it has.
func (s *session) managedName(ctx context.Context, doc *claims.Document, account string) (name string, known bool, err error) {
	r, err := s.profileOperator(ctx, doc.Subject)
	if fault.Is(err, fault.NotFound) {
		return doc.Name, false, nil
	}
	if err != nil {
		return "", false, err
	}
	return r.Name(), r.tenant, newAccountName(r, account)
}

// publishFirst publishes the account of an operator that was just imported.
func (s *session) publishFirst(ctx context.Context, name string) (*receipt, error) {
	r, err := s.root(ctx)
	if err != nil {
		return nil, err
	}
	ac, err := r.load(name)
	if err != nil {
		return nil, err
	}
	if online, why := s.online(r); !online {
		return &receipt{Kind: "account", Name: name, Key: ac.key, ID: ac.doc.ID, Outcome: outcomeLocal, Note: why}, nil
	}
	return s.publishOne(ctx, r, ac)
}

// stageTenant writes an account and a user of one name and says so. issuer signs
// the account, nil for its own key.
func stageTenant(tx *nscstore.Tx, name string, issuer claims.Signer, now int64) ([]string, error) {
	account, err := keys.NewAccount()
	if err != nil {
		return nil, err
	}
	defer account.Wipe()
	user, err := keys.NewUser()
	if err != nil {
		return nil, err
	}
	defer user.Wipe()
	if issuer == nil {
		issuer = account
	}
	ac := jwt.NewAccountClaims(account.PublicKey())
	ac.Name = name
	token, err := signed(ac, issuer, now)
	if err != nil {
		return nil, err
	}
	uc := jwt.NewUserClaims(user.PublicKey())
	uc.Name = name
	userToken, err := signed(uc, account, now)
	if err != nil {
		return nil, err
	}
	return []string{"account " + name + "  " + keys.Short(account.PublicKey()), "user " + name + "  " + keys.Short(user.PublicKey())}, stageAll(
		func() error { return tx.PutAccount(name, token) },
		func() error {
			return tx.SetPublished(account.PublicKey(), nscstore.Publication{Unpublished: true})
		},
		func() error { return tx.PutUser(name, name, userToken) },
		func() error { return putCreds(tx, name, name, userToken, user) },
		func() error { return addSeed(tx, account) },
		func() error { return addSeed(tx, user) })
}
