package revocation

import (
	"strconv"
	"strings"

	"github.com/accountd/accountd/fault"
)

// Drop names an entry that may leave a list, and why it is no longer needed:
//
//	covered         the list's * refuses everything that the entry refused
//	retired:<key>   that is the only signing key that could have signed for it,
//	                and it is retired
//	retired:*       every signing key that could have signed for it is retired:
//	                those that there are were made after its time
//	expired:<exp>   every JWT for it has expired by exp, Unix seconds
//
// The key * stands for all entries of which covered or retired:* holds.
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

// Reasons of drops that may stand for many entries.
const (
	Covered    = "covered"
	AllRetired = retiredPrefix + All
)

const (
	retiredPrefix = "retired:"
	expiredPrefix = "expired:"
)

// Drops is a set of drops, found by the key of an entry.
type Drops map[string][]Drop

// ByKey indexes drops.
func ByKey(drops []Drop) Drops {
	out := make(Drops, len(drops))
	for _, d := range drops {
		out[d.Key] = append(out[d.Key], d)
	}
	return out
}

// Find returns the drop by which e may leave the list, false if none names it. If
// none of those that do holds, the error says why the last does not; see Check.
func (ds Drops) Find(e Entry, l List, retired Retired, now int64) (found Drop, named bool, err error) {
	list := ds[e.Key]
	for _, d := range ds[All] {
		if e.Key != All && (d.Because == Covered || d.Because == AllRetired) {
			list = append(list[:len(list):len(list)], Drop{Key: e.Key, Because: d.Because})
		}
	}
	for _, d := range list {
		if err = d.Check(e, l, retired, now); err == nil {
			return d, true, nil
		}
	}
	return found, len(list) > 0, err
}

// Retired tells whether a signing key is retired; of All, whether every key is
// that can have signed what was issued at a time.
type Retired func(key string, at int64) bool

// Check reports whether e may leave the list for the reason of d: l is the list
// that is to hold without e, retired tells which signing keys are retired, and
// now is in Unix seconds.
func (d Drop) Check(e Entry, l List, retired Retired, now int64) error {
	switch {
	case d.Because == Covered:
		if l[All] < e.At || e.Key == All {
			return dropRefused(e, "no * of the new list covers its time %d", e.At)
		}
	case strings.HasPrefix(d.Because, retiredPrefix):
		key := strings.TrimPrefix(d.Because, retiredPrefix)
		switch {
		case retired(key, e.At) && e.Key != All:
		case key == All:
			return dropRefused(e, "a key that can have signed for it at %d is not retired", e.At)
		default:
			return dropRefused(e, "signing key %s is not retired", key)
		}
	case strings.HasPrefix(d.Because, expiredPrefix):
		exp, err := strconv.ParseInt(strings.TrimPrefix(d.Because, expiredPrefix), 10, 64)
		if err != nil || exp <= 0 || exp >= now {
			return dropRefused(e, "%q names no time in the past", d.Because)
		}
	default:
		return dropRefused(e, "unknown reason %q; known are covered, retired:<key>, retired:* and expired:<exp>", d.Because)
	}
	return nil
}

func dropRefused(e Entry, format string, args ...any) error {
	return fault.New(fault.Denied, "the revocation of "+e.Key+" may not be dropped: "+format, args...).ByRule("drop")
}

// MustReturn reports whether a dropped entry is needed again in l, since its
// key is no longer retired or * no longer covers it, and l does not hold it.
func (d Dropped) MustReturn(l List, retired Retired) bool {
	if l[d.Key] >= d.At && l[d.Key] > 0 {
		return false
	}
	switch {
	case d.Because == Covered:
		return l[All] < d.At
	case strings.HasPrefix(d.Because, retiredPrefix):
		return !retired(strings.TrimPrefix(d.Because, retiredPrefix), d.At)
	}
	return false
}
