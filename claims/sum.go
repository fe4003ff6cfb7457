package claims

import "crypto/sha256"

// Sum tells sets of claims apart as directories of stock servers do: it is the
// exclusive or of the SHA-256 of every JWT (nats-server, dirstore.go). The zero
// value is the sum of none.
type Sum [sha256.Size]byte

// Add adds a JWT, or takes one away that was added.
func (s *Sum) Add(token string) {
	for i, b := range sha256.Sum256([]byte(token)) {
		s[i] ^= b
	}
}

// Xor returns the sum of what is in one of two sets and not in both.
func (s Sum) Xor(o Sum) Sum {
	for i := range s {
		s[i] ^= o[i]
	}
	return s
}
