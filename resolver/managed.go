package resolver

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// Countersign admits an account that its own identity key signed, as tools send
// it where the operator's keys are elsewhere: for a known account, what the
// operator decides (limits, name, tags, expiry) is taken from the stored
// version, and accountd's delegated key signs the result.
func (s *Service) Countersign(ctx context.Context, via, token string) (api.Result, error) {
	return s.stockChange(ctx, via, func(tx store.Tx, _ operator.Trust, _ store.Record, now time.Time) ([]*change, string, error) {
		posted, stored, err := s.selfSigned(tx, token)
		if err != nil {
			return nil, "", err
		}
		if posted.IssuedAt > now.Add(api.RequestSkew).Unix() {
			return nil, "", fault.New(fault.Invalid, "issued at %s, more than %s from now", time.Unix(posted.IssuedAt, 0).UTC().Format(time.RFC3339), api.RequestSkew).ByRule("future")
		}
		draft, err := clamped(posted, stored)
		if err != nil {
			return nil, "", err
		}
		doc, err := draft.Sign(s.cfg.Signer, max(now.Unix(), stored.IssuedAt, posted.IssuedAt))
		if err != nil {
			return nil, "", err
		}
		c := &change{item: api.Item{JWT: doc.Token}, noBase: true}
		c.decode()
		return []*change{c}, posted.Subject, nil
	})
}

// Renew signs the stored version of an account anew with accountd's delegated
// key, if it is still that revision: servers that have removed an account ignore
// the version that they had.
func (s *Service) Renew(ctx context.Context, key string, revision uint64) error {
	_, err := s.stockChange(ctx, "accountd", func(tx store.Tx, _ operator.Trust, _ store.Record, now time.Time) ([]*change, string, error) {
		if s.cfg.Signer == nil {
			return nil, "", fault.New(fault.Denied, "accountd has no key to sign with").ByRule("custody")
		}
		rec, err := tx.Get(store.Account, key)
		if err != nil {
			return nil, "", notStored(err, "account", key)
		}
		if rec.Deleted || rec.Revision != revision {
			return nil, "", fault.New(fault.Conflict, "account %s has changed meanwhile", rec.Name).ByRule("conflict")
		}
		stored, err := claims.Decode(rec.JWT)
		if err != nil {
			return nil, "", err
		}
		draft, err := claims.Edit(stored, func(*jwt.AccountClaims) error { return nil })
		if err != nil {
			return nil, "", err
		}
		doc, err := draft.Sign(s.cfg.Signer, max(now.Unix(), rec.IssuedAt+1)) // never the same JWT
		if err != nil {
			return nil, "", err
		}
		c := &change{item: api.Item{JWT: doc.Token}, noBase: true}
		c.decode()
		return []*change{c}, s.cfg.Delegated, nil
	})
	return err
}

// selfSigned decodes a posted account and the stored version that it follows.
func (s *Service) selfSigned(r store.Reader, token string) (posted, stored *claims.Document, err error) {
	posted, err = claims.Decode(token)
	if err != nil {
		return nil, nil, err
	}
	if _, err = claims.As[jwt.AccountClaims](posted); err != nil {
		return nil, nil, err
	}
	rec, err := r.Get(store.Account, posted.Subject)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil, fault.New(fault.Denied, "account %s is not known to this operator, and nobody else may add it", keys.Short(posted.Subject)).
			ByRule("not allowed").WithHint("the operator allows it with: nsc add account <name> --public-key %s", posted.Subject)
	case err != nil:
		return nil, nil, err
	case s.cfg.Signer == nil:
		return nil, nil, fault.New(fault.Denied, "the account needs the operator's signature, and accountd has no key to give it").
			ByRule("custody").WithHint("hand the self-signed JWT to the operator: nsc import account --file <jwt> and push")
	}
	if stored, err = claims.Decode(rec.JWT); err != nil {
		return nil, nil, err
	}
	if posted.IssuedAt < stored.IssuedAt {
		return nil, nil, fault.New(fault.Conflict, "issued at %s, older than the stored version of %s (revision %d)",
			time.Unix(posted.IssuedAt, 0).UTC().Format(time.RFC3339), rec.Name, rec.Revision).
			ByRule("older").WithHint("take the stored version first: nsc pull -a %s", rec.Name)
	}
	return posted, stored, nil
}

// clamped is what a tenant may change of its account: all but what its operator
// decided.
func clamped(posted, stored *claims.Document) (*claims.Draft, error) {
	was, err := claims.As[jwt.AccountClaims](stored)
	if err != nil {
		return nil, err
	}
	return claims.Edit(posted, func(ac *jwt.AccountClaims) error {
		ac.Name, ac.Expires, ac.NotBefore = was.Name, was.Expires, was.NotBefore
		ac.Limits = was.Limits
		ac.Tags = was.Tags
		return nil
	})
}

// isSelfSigned reports whether a token is an account signed by its own key.
func isSelfSigned(token string) bool {
	d, err := claims.Decode(token)
	return err == nil && d.Type == claims.TypeAccount && d.Issuer == d.Subject && strings.HasPrefix(d.Subject, "A")
}
