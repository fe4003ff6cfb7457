package accounts

import (
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
		ac.Name, ac.Expires, ac.NotBefore = decided.Name, decided.Expires, decided.NotBefore
		ac.Limits, ac.Tags = decided.Limits, decided.Tags
		return nil
	})
}
