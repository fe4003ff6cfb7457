package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// wellKnownURL returns where the JWT of a well-known operator is: as the
// environment says, or of the one that the official tool knows; "" for none.
func (a *app) wellKnownURL(name string) string {
	for _, form := range []string{strings.ToUpper(name), name, strings.ToLower(name)} {
		if address := a.env.Getenv("NSC_" + form + "_OPERATOR"); address != "" {
			return address
		}
	}
	if strings.EqualFold(name, "synadia") {
		return "https://api.synadia.io/jwt/v1/operator"
	}
	return ""
}

// importOperator stores the JWT of an operator whose keys are elsewhere.
func (a *app) importOperator(ctx context.Context, o operatorOptions) (*receipt, error) {
	s, err := a.session()
	if err != nil {
		return nil, err
	}
	doc, from, err := s.readOperator(ctx, o.from)
	if err != nil {
		return nil, err
	}
	name := first(o.name, doc.Name)
	rec := importedOperator(name, from, doc)
	if s.flags.dryRun {
		rec.Outcome, rec.Changes = outcomeDry, diffClaims(nil, payload(doc))
		return rec, nil
	}
	if err := s.storeOperator(ctx, name, doc, o.force, nil); err != nil {
		return nil, err
	}
	return rec, s.remember(ctx, name, "")
}

// importedOperator is the receipt of an operator from a file or URL.
func importedOperator(name, from string, doc *claims.Document) *receipt {
	rec := &receipt{Kind: "operator", Name: name, Key: doc.Subject, ID: doc.ID, Outcome: "imported"}
	if hasScheme(from, "http") && !here(from) {
		rec.Warnings = append(rec.Warnings, "it came without TLS: ask the operator whether its key is "+doc.Subject)
	}
	return rec
}

// readOperator reads the JWT of an operator in a file, at a URL, or of a
// well-known name, and returns where it was.
func (s *session) readOperator(ctx context.Context, from string) (*claims.Document, string, error) {
	if !strings.Contains(from, "://") {
		_, err := os.Stat(s.path(from))
		address := s.wellKnownURL(from)
		if !errors.Is(err, fs.ErrNotExist) || from == "-" || address == "" {
			data, err := s.readJWT(from)
			if err != nil {
				return nil, from, err
			}
			doc, err := operatorDocument(from, data)
			return doc, from, err
		}
		from = address
	}
	token, err := s.fetchClaim(ctx, from)
	if err != nil {
		return nil, from, err
	}
	doc, err := operatorDocument(from, []byte(token))
	return doc, from, err
}

// fetchClaim returns the JWT at a URL.
func (s *session) fetchClaim(ctx context.Context, address string) (string, error) {
	cfg, err := s.tlsConfig()
	if err != nil {
		return "", err
	}
	srv, err := api.NewAccountServer(address, cfg)
	if err != nil {
		return "", err
	}
	defer srv.Close()
	within, end := s.patience(ctx)
	defer end()
	return srv.Claim(within)
}

// operatorDocument decodes an operator's JWT that came from elsewhere: of
// version 2, and signed by the root key itself.
func operatorDocument(from string, data []byte) (*claims.Document, error) {
	doc, err := decodeJWT(from, data)
	if err != nil {
		return nil, err
	}
	if _, err := claims.As[jwt.OperatorClaims](doc); err != nil {
		return nil, fault.New(fault.Invalid, "%s holds a JWT of type %q, not of an operator", from, doc.Type).ByRule("type")
	}
	if doc.Issuer != doc.Subject {
		return nil, fault.New(fault.Untrusted, "the operator JWT in %s is signed by %s, not by the root key %s", from, keys.Short(doc.Issuer), keys.Short(doc.Subject)).
			ByRule("root key").WithHint("the operator signs it anew with its root key: nsc edit operator")
	}
	return doc, nil
}

// sameOperator refuses to replace an operator by another one, or by an older
// version of itself.
func sameOperator(name string, old, next *claims.Document) error {
	if old.Subject != next.Subject {
		return fault.New(fault.Conflict, "operator %q has another root key, %s", name, keys.Short(old.Subject)).
			About("operator", name).ByRule("same-subject").WithHint("import it into another store: --data-dir <folder>")
	}
	if next.IssuedAt < old.IssuedAt {
		return fault.New(fault.Conflict, "the operator JWT of %s is older than the one of %s here", clock(next.IssuedAt), clock(old.IssuedAt)).
			About("operator", name).ByRule("older").WithHint("ask the operator for its current version")
	}
	return nil
}

// storeOperator makes a managed operator of doc, and writes what more does in
// the same transaction. An operator that is there is replaced by force only, by
// a newer version of itself, and stays managed or not as it was.
func (s *session) storeOperator(ctx context.Context, name string, doc *claims.Document, force bool, more func(*nscstore.Tx) error) error {
	put := func(tx *nscstore.Tx) error {
		if err := tx.PutOperator(doc.Token); err != nil || more == nil {
			return err
		}
		return more(tx)
	}
	err := s.store.Create(ctx, name, true, put)
	if !fault.Is(err, fault.Conflict) || !force {
		return err
	}
	return s.store.Update(ctx, name, func(tx *nscstore.Tx) error {
		if token, err := tx.JWT(); err == nil {
			if old, err := claims.Decode(token); err == nil {
				if err := sameOperator(name, old, doc); err != nil {
					return err
				}
			}
		}
		return put(tx)
	})
}
