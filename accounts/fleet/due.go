package fleet

import (
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/revocation"
)

// Compaction says when an account is to be compacted, or one of its fleets rolled.
type Compaction struct {
	At int64 // from then on it does something that matters, Unix seconds
	By int64 // from then on it is late
}

// patience is how long a compaction may wait, and how far the horizon stays
// behind: every new version makes servers look at all connections of the account.
func patience(ttl time.Duration) int64 {
	return int64(min(max(ttl/8, time.Minute), 24*time.Hour) / time.Second)
}

// NextCompaction returns when ac is to be compacted next, false for never. The
// first horizon of an account is nobody's to set unasked: it may have users that
// live longer.
func NextCompaction(ac *jwt.AccountClaims) (Compaction, bool) {
	var next Compaction
	sooner := func(at, wait int64) {
		if next.At == 0 || at < next.At {
			next = Compaction{At: at, By: at + wait}
		}
	}
	for _, f := range All(ac) {
		for _, k := range f.Keys(ac) {
			if k.Retires > 0 {
				sooner(k.Retires, patience(f.TTL))
			}
		}
	}
	ttl, only := Only(ac)
	if all := ac.Revocations[revocation.All]; only && all > 0 {
		wait := patience(ttl)
		sooner(all+int64((ttl+Skew)/time.Second)+wait, wait)
	}
	return next, next.At > 0
}

// Drops names the revocations that a version may lack: where all users are
// short-lived, those that * covers; where all keys were replaced, those from
// before. They follow from the claims alone, so that whoever puts the version, and
// whenever, names the same.
func Drops(ac *jwt.AccountClaims) []revocation.Drop {
	var out []revocation.Drop
	if _, only := Only(ac); only {
		out = append(out, revocation.Drop{Key: revocation.All, Because: revocation.Covered})
	}
	if _, rolled := replaced(ac); rolled {
		out = append(out, revocation.Drop{Key: revocation.All, Because: revocation.AllRetired})
	}
	return out
}

// EachSigner reports whether ok holds for every key that can have signed users
// that may do something: all but those of enrolment groups.
func EachSigner(ac *jwt.AccountClaims, ok func(key string) bool) bool {
	groups := map[string]bool{}
	for _, g := range Groups(ac) {
		groups[g.Public] = true
	}
	return !slices.ContainsFunc(ac.SigningKeys.Keys(), func(key string) bool { return !groups[key] && !ok(key) })
}

// rollCovers is how much older than a roll a revocation is, in seconds, that the roll
// makes superfluous: what it refuses was signed by keys that are gone, by any clock.
const rollCovers = 2 * int64(Skew/time.Second)

// replaced returns since when all keys of ac are new, Unix seconds: those of
// cohorts that were rolled as a whole, and there are no others.
func replaced(ac *jwt.AccountClaims) (since int64, ok bool) {
	known := map[string]bool{}
	for _, f := range All(ac) {
		at := f.rolledAt(ac)
		if _, rolling := f.Rolling(ac); rolling || at == 0 {
			return 0, false
		}
		for _, k := range f.Keys(ac) {
			known[k.Public] = k.Station == ""
		}
		if since == 0 || at < since {
			since = at
		}
	}
	return since, since > 0 && EachSigner(ac, func(key string) bool { return known[key] })
}
