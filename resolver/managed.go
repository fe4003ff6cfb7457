package resolver

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// Countersign admits an account that its own identity key signed, as tools send
// it where the operator's keys are elsewhere: what the operator decides is as it
// was (accounts.Clamp), and accountd's delegated key signs the result. Where it
// has none, the account waits as a proposal for a signature; then the error is
// fault.Pending. base is the jti of the stored version that it follows, "" where
// the sender does not say.
func (s *Service) Countersign(ctx context.Context, via, token, base string) (api.Result, error) {
	if s.cfg.Signer == nil {
		return api.Result{}, s.propose(ctx, via, token, base)
	}
	return s.stockChange(ctx, via, func(tx store.Tx, _ operator.Trust, _ store.Record, now time.Time) ([]*change, string, error) {
		posted, stored, err := selfSigned(tx, token, base, now)
		if err != nil {
			return nil, "", err
		}
		draft, err := accounts.Clamp(posted, stored)
		if err != nil {
			return nil, "", err
		}
		issued := max(now.Unix(), posted.IssuedAt)
		if stored != nil {
			issued = max(issued, stored.IssuedAt)
		}
		doc, err := draft.Sign(s.cfg.Signer, issued)
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

// selfSigned decodes a posted account and the stored version that it follows,
// nil for an account that is allowed and not stored yet.
func selfSigned(r store.Reader, token, base string, now time.Time) (posted, stored *claims.Document, err error) {
	posted, err = claims.Decode(token)
	if err != nil {
		return nil, nil, err
	}
	if _, err = claims.As[jwt.AccountClaims](posted); err != nil {
		return nil, nil, err
	}
	if posted.IssuedAt > now.Add(api.RequestSkew).Unix() {
		return nil, nil, fault.New(fault.Invalid, "issued at %s, more than %s from now", time.Unix(posted.IssuedAt, 0).UTC().Format(time.RFC3339), api.RequestSkew).ByRule("future")
	}
	rec, err := r.Get(store.Account, posted.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return posted, nil, permitted(r, posted.Subject)
	}
	if err != nil {
		return nil, nil, err
	}
	if stored, err = claims.Decode(rec.JWT); err != nil {
		return nil, nil, err
	}
	if base != "" && base != rec.ID {
		return nil, nil, fault.New(fault.Conflict, "another version of %s is stored, revision %d", rec.Name, rec.Revision).
			ByRule("conflict").WithHint("take the stored version first: nsc pull -a %s", rec.Name)
	}
	if posted.IssuedAt < stored.IssuedAt {
		return nil, nil, fault.New(fault.Conflict, "issued at %s, older than the stored version of %s (revision %d)",
			time.Unix(posted.IssuedAt, 0).UTC().Format(time.RFC3339), rec.Name, rec.Revision).
			ByRule("older").WithHint("take the stored version first: nsc pull -a %s", rec.Name)
	}
	return posted, stored, nil
}

// permitted refuses to make an account that the operator has not allowed.
func permitted(r store.Reader, key string) error {
	permit, err := r.Get(store.Permit, key)
	if errors.Is(err, store.ErrNotFound) || err == nil && permit.Deleted {
		return fault.New(fault.Denied, "account %s is not known to this operator, and nobody else may add it", keys.Short(key)).
			ByRule("not allowed").WithHint("the operator allows it with: nsc allow account %s", key)
	}
	return err
}

// isSelfSigned reports whether a token is an account signed by its own key.
func isSelfSigned(token string) bool {
	d, err := claims.Decode(token)
	return err == nil && d.Type == claims.TypeAccount && d.Issuer == d.Subject && strings.HasPrefix(d.Subject, "A")
}
