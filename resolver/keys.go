package resolver

import (
	"context"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// Keyring keeps the keys of fleets that are given to accountd.
type Keyring interface {
	// Recipient is to whom they are sealed.
	Recipient() (string, error)
	// Keep adds sealed keys of an account. It returns the record to be put, and
	// that which it replaces, whose Revision is 0 for none.
	Keep(r store.Reader, account string, sealed []byte) (old, rec store.Record, err error)
	// Has reports whether it has all of some keys of an account.
	Has(r store.Reader, account string, public []string) (bool, error)
	// Make adds n new keys of an account. It returns their public sides, and the
	// records that Keep returns.
	Make(r store.Reader, account string, n int) (public []string, old, rec store.Record, err error)
}

// Sealer says to whom secrets for accountd are sealed, signed by its key.
func (s *Service) Sealer(ctx context.Context, req api.SealerRequest) api.SealerReply {
	token, err := s.sealer(ctx, req.Nonce)
	if err = unavailable(err); err != nil {
		s.logFailure(err)
	}
	return api.SealerReply{Schema: api.Schema, Token: token, Error: api.ToError(err)}
}

func (s *Service) sealer(ctx context.Context, nonce string) (string, error) {
	if err := s.mayKeep(); err != nil {
		return "", err
	}
	if len(nonce) < 16 || len(nonce) > 64 {
		return "", fault.New(fault.Invalid, "a nonce has 16 to 64 characters, not %d", len(nonce)).ByRule("malformed")
	}
	recipient, err := s.cfg.Keyring.Recipient()
	if err != nil {
		return "", err
	}
	var trust operator.Trust
	err = s.cfg.Store.View(ctx, func(r store.Reader) error {
		_, trust, err = s.trust(r)
		return err
	})
	if err != nil {
		return "", err
	}
	return api.SignRecipient(s.cfg.Signer, string(trust.Key), string(s.cfg.Server), nonce, recipient, s.now())
}

// mayKeep refuses keys where accountd may not sign, or cannot keep a secret.
func (s *Service) mayKeep() error {
	switch {
	case s.cfg.Signer == nil:
		return fault.New(fault.Denied, "accountd has no signing key of the operator, and keeps no keys of fleets").ByRule("custody").
			WithHint("enrolment needs delegated custody: accountd resolver --signing-key FILE --identity FILE")
	case s.cfg.Keyring == nil:
		return fault.New(fault.Denied, "accountd has no identity that opens what is sealed to it").ByRule("custody").
			WithHint("start it with one: accountd resolver --identity FILE")
	}
	return nil
}

// GiveKeys decides a signed request that gives accountd keys of fleets.
func (s *Service) GiveKeys(ctx context.Context, via, token string, body []byte) api.DoneReply {
	var req api.KeysRequest
	err := decodeBody(body, &req)
	if err == nil {
		err = s.mayKeep()
	}
	if err == nil {
		_, err = keys.ParseAccount(req.Account)
	}
	if err == nil {
		who := actor{Via: via, Host: clip(req.Host), Request: clip(req.Request)}
		err = s.decide(ctx, who, token, body, nil, func(tx store.Tx, g grounds) error {
			old, rec, err := s.cfg.Keyring.Keep(tx, req.Account, req.Sealed)
			if err != nil || rec.JWT == old.JWT {
				return err
			}
			_, err = tx.Put(old.Revision, rec, g.who.change("keys", old, rec, g.now, ""))
			return err
		})
	}
	return s.done(err)
}
