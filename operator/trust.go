// Package operator is the root of trust: what an operator's claims allow, which
// keys speak for it, and how its secrets are sealed at rest.
package operator

import (
	"slices"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// Trust is what an operator's JWT says about who may sign for it.
type Trust struct {
	Key           keys.Operator // the root key
	SigningKeys   []string
	Strict        bool // the root key signs nothing but the operator JWT
	SystemAccount string
}

// TrustOf reads the operator's claims in d.
func TrustOf(d *claims.Document) (Trust, error) {
	oc, err := claims.As[jwt.OperatorClaims](d)
	if err != nil {
		return Trust{}, err
	}
	key, err := keys.ParseOperator(oc.Subject)
	if err != nil {
		return Trust{}, err
	}
	return Trust{
		Key: key, SigningKeys: oc.SigningKeys, Strict: oc.StrictSigningKeyUsage, SystemAccount: oc.SystemAccount,
	}, nil
}

// Signs reports whether key may sign accounts: a signing key, or the root key
// unless the operator is strict (jwt.OperatorClaims.DidSign).
func (t Trust) Signs(key string) bool {
	if key == string(t.Key) {
		return !t.Strict
	}
	return slices.Contains(t.SigningKeys, key)
}

// Signers are the keys that may sign accounts.
func (t Trust) Signers() []string {
	out := slices.Clone(t.SigningKeys)
	if !t.Strict {
		out = append(out, string(t.Key))
	}
	return out
}

// Stale says, key by key, how what a running server trusts differs from t. A
// server trusts the keys that it started with.
func (t Trust) Stale(trusted []string) []string {
	var out []string
	signers := t.Signers()
	for _, key := range signers {
		if !slices.Contains(trusted, key) {
			out = append(out, NotTrusted(key))
		}
	}
	for _, key := range trusted {
		if !slices.Contains(signers, key) {
			out = append(out, "still trusts operator key "+keys.Short(key))
		}
	}
	return out
}

// NotTrusted says of a running server that accounts signed by key have to wait.
func NotTrusted(key string) string { return "does not trust operator key " + keys.Short(key) + " yet" }

// Speaks reports whether key is one of the operator's at all.
func (t Trust) Speaks(key string) bool {
	return key == string(t.Key) || slices.Contains(t.SigningKeys, key)
}

// CheckIssuer returns why key may not sign accounts, nil if it may.
func (t Trust) CheckIssuer(key string) error {
	switch {
	case t.Signs(key):
		return nil
	case key == string(t.Key):
		return fault.New(fault.Untrusted, "issued by the operator's root key, but the operator requires signing keys").
			ByRule("chain").WithHint("sign it with one of the operator's signing keys: -K <key>")
	}
	return fault.New(fault.Untrusted, "issued by %s, which is no key of operator %s", keys.Short(key), keys.Short(string(t.Key))).
		ByRule("chain").WithHint("sign it with a key of this operator; see: nsc describe operator")
}
