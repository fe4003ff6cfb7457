package accounts

import (
	"reflect"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
)

// Clamp returns what the operator may sign of an account that its tenant wrote:
// all of it but what the operator decides, which is as in the stored version:
// name, limits, tags (and with them the namespace), start and expiry. A new
// account, with stored nil, has the name that the tenant gave it and the limits
// of any new account.
func Clamp(posted, stored *claims.Document) (*claims.Draft, error) {
	decided := jwt.NewAccountClaims(posted.Subject)
	decided.Name = posted.Name
	if stored != nil {
		var err error
		if decided, err = claims.As[jwt.AccountClaims](stored); err != nil {
			return nil, err
		}
	}
	return claims.Edit(posted, func(ac *jwt.AccountClaims) error {
		decide(ac, decided)
		return nil
	})
}

// decide gives ac what the operator decides, as it is in by.
func decide(ac, by *jwt.AccountClaims) {
	ac.Name, ac.Expires, ac.NotBefore = by.Name, by.Expires, by.NotBefore
	ac.Limits, ac.Tags = by.Limits, by.Tags
}

// Countersigned reports whether signed is posted, but for the signature and what
// the operator decides.
func Countersigned(posted, signed *claims.Document) bool {
	p, err := claims.As[jwt.AccountClaims](posted)
	if err != nil {
		return false
	}
	s, err := claims.As[jwt.AccountClaims](signed)
	if err != nil {
		return false
	}
	decide(p, s)
	p.Issuer, p.IssuedAt, p.ID = s.Issuer, s.IssuedAt, s.ID
	return reflect.DeepEqual(p, s)
}
