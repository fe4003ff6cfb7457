package resolver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// expiryWarning is how long before the end of the operator's claims it is said.
const expiryWarning = 30 * 24 * time.Hour

// delegates reports whether the operator trusts accountd's own signing key.
func (s *Service) delegates(trust operator.Trust) bool {
	return s.cfg.Delegated != "" && slices.Contains(trust.SigningKeys, s.cfg.Delegated)
}

// custody is who holds signing keys that the operator trusts.
func (s *Service) custody(trust operator.Trust) string {
	if s.delegates(trust) {
		return Delegated
	}
	return Offline
}

// Warnings returns what is wrong with the operator, or soon will be, what does not
// hold of the policy, and which contracts end soon.
func (s *Service) Warnings(ctx context.Context) (out []string, err error) {
	err = s.cfg.Store.View(ctx, func(r store.Reader) error {
		op, trust, err := s.trust(r)
		if err != nil {
			return err
		}
		out, err = s.warnings(r, op, trust)
		return err
	})
	return out, startFault(err)
}

func (s *Service) warnings(r store.Reader, op store.Record, trust operator.Trust) ([]string, error) {
	out, err := s.broken(r, trust.SystemAccount)
	if err != nil {
		return nil, err
	}
	ending, err := s.contractWarnings(r)
	if err != nil {
		return nil, err
	}
	out = append(slices.Clone(out), ending...)
	if s.cfg.Delegated != "" && !s.delegates(trust) {
		out = append(out, fmt.Sprintf("accountd's signing key %s is none of the operator's: accountd signs nothing", keys.Short(s.cfg.Delegated)))
	}
	d, err := claims.Decode(op.JWT)
	if err != nil {
		return nil, err
	}
	oc, err := claims.As[jwt.OperatorClaims](d)
	if err != nil || oc.Expires == 0 {
		return out, err
	}
	ends, word := time.Unix(oc.Expires, 0).UTC(), "expires"
	switch left := ends.Sub(s.now()); {
	case left > expiryWarning:
		return out, nil
	case left <= 0:
		word = "expired"
	}
	return append(out, fmt.Sprintf("the operator's claims %s at %s: nsc edit operator --expiry 0", word, ends.Format(time.RFC3339))), nil
}
