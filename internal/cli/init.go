package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

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
the local store: enough to configure a first server.`,
		Example: `  nsc init acme
  nsc init -n acme -d ./stores
  nsc init acme --json`,
		Args: args(0, 1, "the name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.url != "" || o.remote != "" {
				return usage("operators of others are imported with: nsc add operator --url <file>")
			}
			if o.name == "" && len(given) == 0 {
				return usage("the name is missing").WithHint("choose one, or have one made up with: nsc init -n '*'")
			}
			if o.name, err = newNameOf(o.name, given, "the name"); err != nil {
				return err
			}
			return a.finish(a.init(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "name of the operator, account and user")
	f := cmd.Flags()
	f.StringVarP(&o.dir, "dir", "d", "", "folder of the stores")
	f.StringVarP(&o.url, "url", "u", "", "not supported: operators are imported from files")
	f.StringVarP(&o.remote, "remote-operator", "o", "", "not supported: operators are imported from files")
	return cmd
}

func (a *app) init(ctx context.Context, o initOptions) (*receipt, error) {
	remembered := a.flags.dataDir
	a.flags.dataDir = first(o.dir, a.flags.dataDir)
	s, err := a.session()
	if err != nil {
		return nil, err
	}
	a.flags.dataDir = remembered // --dir becomes the store root, --data-dir is for one command
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
		return b.stageTenant(tx, rec)
	})
	if err != nil {
		return nil, err
	}
	if rec.Creds, err = s.store.Keystore().CredsPath(o.name, o.name, o.name); err != nil {
		return nil, err
	}
	rec.Lines = append(rec.Lines, "credentials: "+a.shown(rec.Creds))
	s.context.FromCwd = false
	return rec, s.remember(ctx, o.name, o.name)
}

// stageTenant writes an account and a user that are named as the operator.
func (b *newOperator) stageTenant(tx *nscstore.Tx, rec *receipt) error {
	account, err := keys.NewAccount()
	if err != nil {
		return err
	}
	defer account.Wipe()
	user, err := keys.NewUser()
	if err != nil {
		return err
	}
	defer user.Wipe()
	ac := jwt.NewAccountClaims(account.PublicKey())
	ac.Name = b.name
	token, err := signed(ac, b.root, b.now)
	if err != nil {
		return err
	}
	uc := jwt.NewUserClaims(user.PublicKey())
	uc.Name = b.name
	userToken, err := signed(uc, account, b.now)
	if err != nil {
		return err
	}
	rec.Lines = append(rec.Lines, "account "+b.name+"  "+keys.Short(account.PublicKey()), "user "+b.name+"  "+keys.Short(user.PublicKey()))
	return stageAll(
		func() error { return tx.PutAccount(b.name, token) },
		func() error {
			return tx.SetPublished(account.PublicKey(), nscstore.Publication{Unpublished: true})
		},
		func() error { return tx.PutUser(b.name, b.name, userToken) },
		func() error { return putCreds(tx, b.name, b.name, userToken, user) },
		func() error { return addSeed(tx, account) },
		func() error { return addSeed(tx, user) })
}
