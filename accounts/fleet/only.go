package fleet

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// SetOnly makes ac an account whose users are all short-lived.
func SetOnly(ac *jwt.AccountClaims, ttl time.Duration) error {
	if err := checkTTL(ttl); err != nil {
		return err
	}
	ac.Tags = slices.DeleteFunc(ac.Tags, func(tag string) bool { return strings.HasPrefix(tag, tagOnly) })
	ac.Tags.Add(tagOnly + Span(ttl))
	return nil
}

// Only returns the longest lifetime of the users of ac, if it is an account
// whose users are all short-lived.
func Only(ac *jwt.AccountClaims) (time.Duration, bool) {
	for _, tag := range ac.Tags {
		text, ok := strings.CutPrefix(tag, tagOnly)
		ttl, err := time.ParseDuration(text)
		if ok && err == nil && checkTTL(ttl) == nil {
			return ttl, true
		}
	}
	return 0, false
}

// CheckUser is fault.Denied for a user that would outlive what ac allows: its
// rolling horizon could not refuse what is older.
func CheckUser(ac *jwt.AccountClaims, name string, issuedAt, expires int64) error {
	ttl, only := Only(ac)
	if !only || expires > 0 && expires-issuedAt <= int64(ttl/time.Second) {
		return nil
	}
	return fault.New(fault.Denied, "account %q is for credentials that live at most %s", ac.Name, Span(ttl)).
		About("user", name).ByRule("fleet-only").
		WithHint("give it an end: --expiry %dm, or less", int64(ttl/time.Minute))
}

// Horizon is the time up to which nothing that was issued in ac can still be
// valid, Unix seconds, if ac is an account whose users are all short-lived.
func Horizon(ac *jwt.AccountClaims, now time.Time) (int64, bool) {
	if ac == nil {
		return 0, false
	}
	ttl, only := Only(ac)
	return now.Add(-ttl - Skew).Unix(), only
}

// Compacted is what Compact took out of an account.
type Compacted struct {
	Keys    []Key // retired
	Entries int   // revocations that refuse nothing any more
	Horizon int64 // what was issued until then is refused, Unix seconds; 0 unless it moved
}

// Empty reports whether there was nothing to do.
func (c Compacted) Empty() bool { return len(c.Keys)+c.Entries == 0 && c.Horizon == 0 }

// Compact takes out of ac what is of no use any more: keys of fleets whose time
// has come and, where all users are short-lived, revocations of what has
// expired. There it moves the horizon, so that servers refuse credentials that
// live longer than they may.
//
// Where accounts themselves sign no users (strict), revocations from before all
// keys were replaced are of no use either.
func Compact(ac *jwt.AccountClaims, now time.Time, strict bool) Compacted {
	var out Compacted
	for _, f := range All(ac) {
		for _, k := range f.Keys(ac) {
			if k.Retires > 0 && k.Retires <= now.Unix() {
				out.Keys = append(out.Keys, k)
			}
		}
	}
	Retire(ac, out.Keys)
	forgetReturns(ac, now.Unix())
	if since, ok := replaced(ac); ok && strict {
		before := len(ac.Revocations)
		maps.DeleteFunc(ac.Revocations, func(key string, at int64) bool {
			return key != revocation.All && at < since-rollCovers
		})
		out.Entries = before - len(ac.Revocations)
	}
	horizon, only := Horizon(ac, now)
	if !only {
		return out
	}
	if ac.Revocations == nil {
		ac.Revocations = jwt.RevocationList{}
	}
	if ac.Revocations[revocation.All] < horizon {
		ac.Revocations[revocation.All], out.Horizon = horizon, horizon
	}
	for key, at := range ac.Revocations {
		if key != revocation.All && at <= horizon {
			delete(ac.Revocations, key)
			out.Entries++
		}
	}
	return out
}
