package cli

import (
	"bytes"
	"context"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func newImportUser(a *app) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use: "user", Short: "Take a user from a JWT or credentials file",
		Long: `Take a user from a JWT or credentials file into the account that issued it. From
credentials the keystore also gets the user's key and the file itself.`,
		Example: `  nsc import user --file ./device1.creds
  nsc import user --file ./device1.jwt
  nsc import user --file ./device1.creds --overwrite
  nsc import user --file ./device1.jwt --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.finish(a.importUser(cmd.Context(), o)) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.file, "file", "f", "", "file with the user's JWT or credentials, - for stdin")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace the version that the store has")
	f.BoolVar(&o.skip, "skip", false, "take it although servers would refuse it")
	return cmd
}

func (a *app) importUser(ctx context.Context, o importOptions) (*receipt, error) {
	data, err := a.readJWT(o.file)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(data)
	doc, err := decodeJWT(o.file, data)
	if err != nil {
		return nil, err
	}
	if _, err := claims.As[jwt.UserClaims](doc); err != nil {
		return nil, err
	}
	var seed []byte
	if bytes.Contains(data, []byte("NKEY SEED")) {
		if _, seed, err = nscstore.ParseCreds(data); err != nil {
			return nil, err
		}
		defer nscstore.Wipe(seed)
	}
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	return s.takeUser(ctx, r, doc, seed, o)
}

func (s *session) takeUser(ctx context.Context, r *root, doc *claims.Document, seed []byte, o importOptions) (*receipt, error) {
	key := accounts.Of(doc)
	name, err := r.Account(key)
	if err != nil {
		return nil, fault.New(fault.NotFound, "user %q is of account %s, which operator %s does not have", doc.Name, keys.Short(key), r.Name()).
			About("account", key).WithHint("take the account first: nsc import account --file <file>")
	}
	ac, err := r.load(name)
	if err != nil {
		return nil, err
	}
	found := accounts.UserProblems(doc, ac.claims, &r.trust, s.now)
	if err := refusal("user "+doc.Name, found, o.skip, "chain"); err != nil {
		return nil, err
	}
	if err := fleet.CheckUser(ac.claims, doc.Name, doc.IssuedAt, doc.Expires); err != nil {
		return nil, err
	}
	rec := &receipt{Kind: "user", Name: doc.Name, Account: name, Key: doc.Subject, ID: doc.ID, Outcome: "imported", Expires: doc.Expires}
	for _, p := range found {
		rec.Warnings = append(rec.Warnings, p.Text)
	}
	old, err := r.UserJWT(name, doc.Name)
	switch {
	case fault.Is(err, fault.NotFound):
		err = nscstore.ValidateName("user", doc.Name)
	case err == nil && old == doc.Token && seed == nil:
		rec.Outcome = outcomeSame
		return rec, nil
	case err == nil && old != doc.Token && !o.overwrite:
		return nil, fault.New(fault.Conflict, "user %q exists already in account %q", doc.Name, name).About("user", doc.Name).ByRule("user-exists").
			WithHint("replace it with --overwrite")
	}
	if err != nil {
		return nil, err
	}
	if s.flags.dryRun {
		rec.Outcome, rec.Changes = outcomeDry, diffClaims(nil, payload(doc))
		return rec, nil
	}
	err = s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		if err := tx.ExpectUser(name, doc.Name, old); err != nil {
			return err
		}
		if err := tx.PutUser(name, doc.Name, doc.Token); err != nil || seed == nil {
			return err
		}
		return stageCreds(tx, name, doc, seed)
	})
	if err != nil || seed == nil {
		return rec, err
	}
	rec.Creds, err = s.store.Keystore().CredsPath(r.Name(), name, doc.Name)
	rec.Lines = append(rec.Lines, fmt.Sprintf("credentials: %s", s.shown(rec.Creds)))
	return rec, err
}

// stageCreds writes the key of a user and its credentials file.
func stageCreds(tx *nscstore.Tx, account string, doc *claims.Document, seed []byte) error {
	if _, err := tx.AddSeed(seed); err != nil {
		return err
	}
	creds, err := nscstore.FormatCreds(doc.Token, seed)
	if err != nil {
		return err
	}
	defer nscstore.Wipe(creds)
	return tx.PutCreds(account, doc.Name, creds)
}
