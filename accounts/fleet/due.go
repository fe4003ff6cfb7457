package fleet

import (
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/revocation"
)

// Compaction says when an account is to be compacted.
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
// short-lived, those that * covers. They follow from the claims alone, so that
// whoever puts the version, and whenever, names the same.
func Drops(ac *jwt.AccountClaims) []revocation.Drop {
	if _, only := Only(ac); !only {
		return nil
	}
	return []revocation.Drop{{Key: revocation.All, Because: revocation.Covered}}
}
