package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// migrateOptions are the flags of migrate.
type migrateOptions struct {
	file, dir string
	force     bool
}

func newMigrate(a *app) *cobra.Command {
	var o migrateOptions
	cmd := &cobra.Command{
		Use: "migrate", Short: "Take accounts of another operator over, with their users", Hidden: true,
		Long: `Take accounts of another operator into the current one: all in the folder of that
operator, with their users, or the one in a JWT file. The current operator signs
them, and they are published. A key of each account must be in the keystore: it
shows that the account is yours. The other operator's system account stays.`,
		Example: `  nsc migrate --operator-dir ./stores/old
  nsc migrate --url ./app.jwt
  nsc migrate --operator-dir ./stores/old --force`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (o.file == "") == (o.dir == "") {
				return usage("what to take over is missing, or given twice").WithHint("name the folder of an operator with --operator-dir, or a JWT file with --url")
			}
			return a.finishAll(a.migrate(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.file, "url", "u", "", "file with the account's JWT")
	f.StringVar(&o.dir, "operator-dir", "", "folder of the other operator")
	f.BoolVarP(&o.force, "force", "F", false, "replace versions that the store has")
	return cmd
}

// migrant is an account that is taken over, with its users.
type migrant struct {
	doc   *claims.Document
	users []*claims.Document
}

func (a *app) migrate(ctx context.Context, o migrateOptions) ([]*receipt, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	var list []migrant
	if o.file != "" {
		doc, err := a.decodeFile(o.file)
		if err != nil {
			return nil, err
		}
		list = []migrant{{doc: doc}}
	} else if list, err = s.migrants(ctx, r, a.path(o.dir)); err != nil {
		return nil, err
	}
	for _, m := range list {
		if err := s.owns(m.doc); err != nil {
			return nil, err
		}
	}
	var recs []*receipt
	for _, m := range list {
		rec, err := s.takeAccount(ctx, r, m.doc, m.users, importOptions{overwrite: o.force, force: true})
		if rec == nil {
			rec = &receipt{Kind: "account", Name: m.doc.Name, Key: m.doc.Subject, Outcome: outcomeRefused}
		}
		rec.fail(err)
		recs = append(recs, rec)
	}
	return recs, nil
}

// owns refuses an account of which the keystore has no key.
func (s *session) owns(doc *claims.Document) error {
	ac, err := decodeAccount(doc.Name, doc.Token)
	if err != nil {
		return err
	}
	for _, key := range append([]string{ac.key}, ac.claims.SigningKeys.Keys()...) {
		if s.store.Keystore().HasSeed(key) {
			return nil
		}
	}
	return fault.New(fault.Denied, "the keystore has no key of account %q, %s", doc.Name, keys.Short(doc.Subject)).
		About("account", doc.Name).ByRule("signer").WithHint("take its key into the keystore: nsc import keys --dir <folder>")
}

// migrants reads the accounts in the folder of another operator. What cannot be
// read is an error: nothing may be left behind unsaid.
func (s *session) migrants(ctx context.Context, r *root, dir string) ([]migrant, error) {
	dirs := s.store.Dirs()
	dirs.Stores = filepath.Dir(dir)
	other, err := nscstore.Open(dirs)
	if err != nil {
		return nil, err
	}
	from := &session{app: s.app, store: other, context: nscstore.Context{Operator: filepath.Base(dir)}}
	theirs, err := from.root(ctx)
	if err != nil {
		return nil, err
	}
	if theirs.doc.Subject == r.doc.Subject {
		return nil, usage("%s is the folder of the current operator", dir).WithHint("select the operator that is to have the accounts: nsc select operator <name>")
	}
	names, err := theirs.Accounts()
	if err != nil {
		return nil, err
	}
	all, err := theirs.held(ctx, names)
	if err != nil {
		return nil, err
	}
	var list []migrant
	var bad error
	for _, h := range all {
		switch {
		case h.err != nil:
			bad = errors.Join(bad, h.err)
		case h.kind == kindAccount && h.doc.Subject != theirs.claims.SystemAccount:
			list = append(list, migrant{doc: h.doc})
		case h.kind == kindUser && len(list) > 0 && h.of.key == list[len(list)-1].doc.Subject:
			list[len(list)-1].users = append(list[len(list)-1].users, h.doc)
		}
	}
	if bad == nil && len(list) == 0 {
		return nil, fault.New(fault.NotFound, "operator %q has no account to take over", theirs.Name()).About("operator", theirs.Name())
	}
	if bad != nil {
		bad = fmt.Errorf("nothing was taken over: %w", bad)
	}
	return list, bad
}
