package operator

import (
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// Reissue gives an operator a new root key. With keep the old one becomes a
// signing key, so that what it signed stays valid; otherwise accounts that it
// signed must be issued anew. The new root key must be none of the operator's.
func Reissue(oc *jwt.OperatorClaims, root keys.Operator, keep bool) error {
	old := oc.Subject
	if string(root) == old || oc.SigningKeys.Contains(string(root)) {
		return fault.New(fault.Invalid, "%s is a key of operator %q already", keys.Short(string(root)), oc.Name).
			About("key", string(root)).ByRule("root key")
	}
	oc.Subject = string(root)
	if keep {
		oc.SigningKeys = append(oc.SigningKeys[:len(oc.SigningKeys):len(oc.SigningKeys)], old)
	}
	return check(oc, []string{old})
}
