package revocation

import (
	"strconv"
	"strings"

	"github.com/accountd/accountd/fault"
)

// Drop names an entry that may leave a list, and why it is no longer needed:
//
//	covered         the list's * refuses everything that the entry refused;
//	                the key * stands for all such entries
//	retired:<key>   every signing key that could have signed for it is retired
//	expired:<exp>   every JWT for it has expired by exp, Unix seconds
type Drop struct {
	Key     string `json:"key"`
	Because string `json:"because"`
}

// Dropped is an entry that left a list by a Drop. It is remembered, since it
// must return when its reason goes.
type Dropped struct {
	Entry
	Because string `json:"because"`
}

// Covered is the reason of a Drop that * makes superfluous.
const Covered = "covered"

const (
	retiredPrefix = "retired:"
	expiredPrefix = "expired:"
)

// Drops is a set of drops, found by the key of an entry.
type Drops map[string]Drop

// ByKey indexes drops.
func ByKey(drops []Drop) Drops {
	out := make(Drops, len(drops))
	for _, d := range drops {
		out[d.Key] = d
	}
	return out
}

// For returns the drop that names an entry, by its key or as one of all that *
// covers.
func (ds Drops) For(key string) (Drop, bool) {
	if d, ok := ds[key]; ok {
		return d, true
	}
	d, ok := ds[All]
	return Drop{Key: key, Because: d.Because}, ok && d.Because == Covered
}

// Check reports whether e may leave the list for the reason of d: l is the list
// that is to hold without e, retired tells which signing keys are retired, and
// now is in Unix seconds.
func (d Drop) Check(e Entry, l List, retired func(key string) bool, now int64) error {
	switch {
	case d.Because == Covered:
		if l[All] < e.At || e.Key == All {
			return dropRefused(e, "no * of the new list covers its time %d", e.At)
		}
	case strings.HasPrefix(d.Because, retiredPrefix):
		if key := strings.TrimPrefix(d.Because, retiredPrefix); !retired(key) {
			return dropRefused(e, "signing key %s is not retired", key)
		}
	case strings.HasPrefix(d.Because, expiredPrefix):
		exp, err := strconv.ParseInt(strings.TrimPrefix(d.Because, expiredPrefix), 10, 64)
		if err != nil || exp <= 0 || exp >= now {
			return dropRefused(e, "%q names no time in the past", d.Because)
		}
	default:
		return dropRefused(e, "unknown reason %q; known are covered, retired:<key> and expired:<exp>", d.Because)
	}
	return nil
}

func dropRefused(e Entry, format string, args ...any) error {
	return fault.New(fault.Denied, "the revocation of "+e.Key+" may not be dropped: "+format, args...).ByRule("drop")
}

// MustReturn reports whether a dropped entry is needed again in l, since its
// key is no longer retired or * no longer covers it, and l does not hold it.
func (d Dropped) MustReturn(l List, retired func(key string) bool) bool {
	if l[d.Key] >= d.At && l[d.Key] > 0 {
		return false
	}
	switch {
	case d.Because == Covered:
		return l[All] < d.At
	case strings.HasPrefix(d.Because, retiredPrefix):
		return !retired(strings.TrimPrefix(d.Because, retiredPrefix))
	}
	return false
}
