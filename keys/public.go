// Package keys has one Go type per key role and side. The public sides are
// strings that were parsed at the edge; the private sides redact themselves in
// every print and are wiped after use.
package keys

import (
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// Public keys by role, in the textual form of nkeys (one role letter and 55
// base32 characters). The zero value is invalid.
type (
	Operator string
	Account  string
	User     string
	Server   string
)

// ParseOperator checks that s is an operator's public key (O…).
func ParseOperator(s string) (Operator, error) {
	return parse[Operator](s, "operator", nkeys.IsValidPublicOperatorKey)
}

// ParseAccount checks that s is an account's public key (A…).
func ParseAccount(s string) (Account, error) {
	return parse[Account](s, "account", nkeys.IsValidPublicAccountKey)
}

// ParseUser checks that s is a user's public key (U…).
func ParseUser(s string) (User, error) {
	return parse[User](s, "user", nkeys.IsValidPublicUserKey)
}

// ParseServer checks that s is a server's public key (N…).
func ParseServer(s string) (Server, error) {
	return parse[Server](s, "server", nkeys.IsValidPublicServerKey)
}

// size is the length of a public key as text. Decoders skip line breaks, so that
// a longer text can decode to a key.
const size = 56

func parse[K ~string](s, role string, valid func(string) bool) (K, error) {
	if len(s) != size || !valid(s) {
		return "", fault.New(fault.Invalid, "%q is not the public key of %s %s", clip(s), article(role), role)
	}
	return K(s), nil
}

// IsSeed reports whether s has the form of an nkeys seed of any role. Use it
// to refuse secrets where a public key or a name is expected.
func IsSeed(s string) bool {
	if len(s) != 58 || s[0] != 'S' {
		return false
	}
	_, _, err := nkeys.DecodeSeed([]byte(s))
	return err == nil
}

// Short abbreviates a public key for people: UCLE…4WPA. Anything that is not
// as long as a key is returned as it is.
func Short(key string) string {
	if len(key) != size {
		return key
	}
	return key[:4] + "…" + key[52:]
}

func clip(s string) string {
	if IsSeed(s) {
		return "a seed"
	}
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

func article(noun string) string {
	switch noun[0] {
	case 'a', 'e', 'i', 'o':
		return "an"
	}
	return "a"
}
