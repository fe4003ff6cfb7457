package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
)

// RollAt says from when on all cohorts of a fleet are to be rolled, to free the
// list of its account.
type RollAt struct {
	Percent int           // of the largest claim in use; 0 for never
	Over    time.Duration // within which the old keys are retired
}

const tagRollAt = "roll-at:" // roll-at:<name>:<percent>:<over>

// RollAt returns when f is to be rolled, the zero RollAt for never.
func (f Fleet) RollAt(ac *jwt.AccountClaims) RollAt {
	for _, tag := range ac.Tags {
		text, ok := strings.CutPrefix(tag, tagRollAt+f.Name+":")
		percent, over, both := strings.Cut(text, ":")
		n, err := strconv.Atoi(percent)
		d, err2 := time.ParseDuration(over)
		at := RollAt{n, d}
		if ok && both && err == nil && err2 == nil && n > 0 && f.checkRollAt(at) == nil {
			return at
		}
	}
	return RollAt{}
}

func (f Fleet) checkRollAt(at RollAt) error {
	switch {
	case at.Percent == 0:
		return nil
	case at.Percent < 10 || at.Percent > 90:
		return invalid("roll-at", "a fleet is rolled when 10 to 90 percent of the claim are in use, not %d; 0 for never", at.Percent)
	case at.Over < MinTTL || at.Over > f.TTL+Skew || at.Over%time.Second != 0:
		return invalid("roll-at", "old keys are retired within %s to %s, not %s", Span(MinTTL), Span(f.TTL+Skew), at.Over)
	}
	return nil
}

// SetRollAt says when f is to be rolled.
func (f Fleet) SetRollAt(ac *jwt.AccountClaims, at RollAt) error {
	if err := f.checkRollAt(at); err != nil {
		return err
	}
	f.forgetRollAt(ac)
	if at.Percent > 0 {
		ac.Tags.Add(fmt.Sprintf("%s%s:%d:%s", tagRollAt, f.Name, at.Percent, Span(at.Over)))
	}
	return nil
}

func (f Fleet) forgetRollAt(ac *jwt.AccountClaims) {
	ac.Tags = slices.DeleteFunc(ac.Tags, func(tag string) bool { return strings.HasPrefix(tag, tagRollAt+f.Name+":") })
}

// NextRoll returns the fleet of ac that is to be rolled, and when: share is how much of the largest claim is in use, since is when that
// came about. A fleet is rolled only where that frees the list, and half of it at
// least, not while it rolls, and not again for an eighth of its lifetime.
func NextRoll(ac *jwt.AccountClaims, share float64, since int64) (f Fleet, due Compaction, ok bool) {
	all := All(ac)
	if len(all) != 1 {
		return f, due, false
	}
	f = all[0]
	policy := f.RollAt(ac)
	if policy.Percent == 0 || share*100 < float64(policy.Percent) || !f.rollFrees(ac) {
		return f, due, false
	}
	if _, rolling := f.Rolling(ac); rolling {
		return f, due, false
	}
	if last := f.rolledAt(ac); last > 0 {
		since = max(since, last+patience(f.TTL))
	}
	if n := len(ac.Revocations); n > 0 {
		times := slices.Sorted(maps.Values(ac.Revocations))
		since = max(since, times[n/2]+rollCovers+1)
	}
	return f, Compaction{At: since, By: since + patience(f.TTL)}, true
}

// rollFrees reports whether nothing but cohorts of f signs for ac, so that a roll
// of all retires every key.
func (f Fleet) rollFrees(ac *jwt.AccountClaims) bool {
	cohorts := map[string]bool{}
	for _, k := range f.Keys(ac) {
		cohorts[k.Public] = k.Station == ""
	}
	return EachSigner(ac, func(key string) bool { return cohorts[key] })
}
