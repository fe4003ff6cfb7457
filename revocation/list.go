// Package revocation is the algebra of revocation lists: what a list refuses,
// how two lists merge, what a newer list lacks, and when an entry may leave it.
// Everything here is pure. Times are Unix seconds, as in the JWT.
package revocation

import (
	"maps"
	"slices"
)

// All is the list key that stands for every user, or every importing account.
const All = "*"

// List maps a public key, or All, to a time t: JWTs for that key that were
// issued at t or before are refused (nats-server, accounts.go isRevoked).
type List map[string]int64

// Entry is one line of a list.
type Entry struct {
	Key string `json:"key"`
	At  int64  `json:"at"`
}

// Covers reports whether l refuses a JWT for key that was issued at iat.
func (l List) Covers(key string, iat int64) bool {
	if t, ok := l[key]; ok && iat <= t {
		return true
	}
	t, ok := l[All]
	return ok && iat <= t
}

// Merge returns the union of both lists with the later time of each key. It is
// commutative, associative and idempotent, and refuses whatever either refused.
func (l List) Merge(o List) List {
	out := maps.Clone(l)
	if out == nil {
		out = List{}
	}
	for k, t := range o {
		if cur, ok := out[k]; !ok || t > cur {
			out[k] = t
		}
	}
	return out
}

// Missing returns, sorted by key, the entries of old that l lacks or holds with
// an earlier time: what accepting l in place of old would let back in.
func (l List) Missing(old List) []Entry {
	var out []Entry
	for k, t := range old {
		if cur, ok := l[k]; !ok || cur < t {
			out = append(out, Entry{Key: k, At: t})
		}
	}
	slices.SortFunc(out, func(a, b Entry) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return out
}

// Added returns the entries of l that old lacks or holds with an earlier time.
func (l List) Added(old List) []Entry { return old.Missing(l) }
