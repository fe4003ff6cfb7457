package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func newImportAccount(a *app) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use: "account", Short: "Take an account from a JWT file, and bring it into force",
		Long: `Take an account from a JWT file. One that signed itself is signed by the operator,
and with --force so is one of another operator; one that this operator signed is
taken as it is. Its keys and users are imported on their own.`,
		Example: `  nsc import account --file ./app.jwt
  nsc import account --file ./app.jwt --overwrite
  nsc import account --file ./theirs.jwt --force
  nsc import account --file ./app.jwt --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.finish(a.importAccount(cmd.Context(), o)) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.file, "file", "j", "", "file with the account's JWT, - for stdin")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace the version that the store has")
	f.BoolVar(&o.force, "force", false, "also an account of another operator")
	f.BoolVar(&o.skip, "skip", false, "take it although servers would refuse it")
	return cmd
}

func (a *app) importAccount(ctx context.Context, o importOptions) (*receipt, error) {
	doc, err := a.decodeFile(o.file)
	if err != nil {
		return nil, err
	}
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	return s.takeAccount(ctx, r, doc, nil, o)
}

// takeAccount stores and publishes an account that comes from elsewhere, with
// users that are new with it.
func (s *session) takeAccount(ctx context.Context, r *root, doc *claims.Document, users []*claims.Document, o importOptions) (*receipt, error) {
	if err := s.mayTake(r, doc, o); err != nil {
		return nil, err
	}
	held, err := r.load(doc.Name)
	if fault.Is(err, fault.NotFound) {
		return s.takeNew(ctx, r, doc, users)
	}
	if err != nil {
		return nil, err
	}
	if held.doc.Token != doc.Token && !o.overwrite {
		return nil, fault.New(fault.Conflict, "account %q exists already", doc.Name).About("account", doc.Name).ByRule("account-exists").
			WithHint("compare them with: nsc describe account %s; replace it with --overwrite", shellWords([]string{doc.Name}))
	}
	if held.key != doc.Subject {
		return nil, fault.New(fault.Conflict, "account %q is %s here, and %s in the file", doc.Name, keys.Short(held.key), keys.Short(doc.Subject)).
			About("account", doc.Name).ByRule("same-subject").WithHint("rename the one in the store: nsc rename account %s <new name>", shellWords([]string{doc.Name}))
	}
	rec, err := s.editAccount(ctx, r, held, change{version: func(cur *claims.Document) (*claims.Document, error) {
		return s.ownVersion(r, doc, cur.IssuedAt)
	}})
	if rec == nil || rec.Outcome == outcomeRefused || rec.Outcome == outcomeDry || len(users) == 0 {
		return rec, err
	}
	return rec, firstErr(err, s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error { return stageUsers(tx, doc.Name, users) }))
}

// mayTake refuses what is no sound account of this operator, or of none.
func (s *session) mayTake(r *root, doc *claims.Document, o importOptions) error {
	if _, err := claims.As[jwt.AccountClaims](doc); err != nil {
		return err
	}
	if doc.Issuer != doc.Subject && !o.force {
		if err := r.trust.CheckIssuer(doc.Issuer); err != nil {
			return fault.New(fault.Untrusted, "account %q: %s", doc.Name, message(err)).About("account", doc.Name).ByRule("chain").
				WithHint("if operator %s is to have it, take it over with --force", r.Name())
		}
	}
	if err := refusal("account "+doc.Name, accounts.AccountProblems(doc, nil, r.lookup(), s.now), o.skip); err != nil {
		return err
	}
	names, err := r.Accounts()
	if err != nil {
		return err
	}
	for _, name := range names {
		if ac, err := r.load(name); err == nil && ac.key == doc.Subject && name != doc.Name {
			return fault.New(fault.Conflict, "account %s is called %q here, and %q in the file", keys.Short(doc.Subject), name, doc.Name).
				About("account", name).ByRule("account-exists").WithHint("rename it first: nsc rename account %s", shellWords([]string{name, doc.Name}))
		}
	}
	return nil
}

// ownVersion returns an account as this operator signed it, or signs it.
func (s *session) ownVersion(r *root, doc *claims.Document, floor int64) (*claims.Document, error) {
	if r.trust.Signs(doc.Issuer) || r.tenant && doc.Issuer == doc.Subject {
		return doc, nil
	}
	pair, err := s.versionSigner(r, doc.Subject, "")
	if err != nil {
		return nil, err
	}
	return claims.Redo(doc).Sign(pair, max(s.now, floor))
}

func (s *session) takeNew(ctx context.Context, r *root, doc *claims.Document, users []*claims.Document) (*receipt, error) {
	if err := newAccountName(r, doc.Name); err != nil {
		return nil, err
	}
	if s.flags.dryRun {
		return &receipt{Kind: "account", Name: doc.Name, Key: doc.Subject, Outcome: outcomeDry, Changes: diffClaims(nil, payload(doc))}, nil
	}
	return s.createAccount(ctx, r, func() (*claims.Document, error) { return s.ownVersion(r, doc, 0) }, nil, users)
}
