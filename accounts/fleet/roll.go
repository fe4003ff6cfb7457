package fleet

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
)

// Window is when the keys that a roll replaces are retired: cohort by cohort, at
// even distances after From, the last at To, 0 for at once; Unix seconds. Now is
// when the roll begins, 0 if that is not known. Until Returns, 0 for never, devices
// renew by what those keys signed that are retired before.
type Window struct{ From, To, Now, Returns int64 }

// Until is the window in which all keys are retired at t.
func Until(t int64) Window { return Window{From: t, To: t} }

// Whole is the window after which everything that was signed until now has
// expired: nobody is cut.
func (f Fleet) Whole(now int64) Window {
	w := Until(now + int64((f.TTL+Skew)/time.Second))
	w.Now = now
	return w
}

// RetireTime is how long, in seconds, it takes at most until servers refuse what a
// key signed whose time has come, where accountd has a key to sign that with.
const RetireTime = 10

// Within is the window of a roll that ends at to. For half of that time all keys
// admit what they signed, so that devices can renew ahead; in the other half they
// are retired. Whoever is cut renews by proof of its key.
func (f Fleet) Within(now, to int64) Window {
	return Window{From: now + (to-now)/2, To: to, Now: now, Returns: f.Whole(now).To}
}

func (w Window) at(i, n int) int64 { return w.From + (w.To-w.From)*int64(i+1)/int64(n) }

// Roll gives cohorts a key of a new epoch, with the template. The keys they had
// go on to admit the credentials that they signed, as long as w says. At once,
// it returns the keys that were retired.
func (f Fleet) Roll(ac *jwt.AccountClaims, template jwt.UserPermissionLimits, public map[int]string, w Window) []Key {
	epochs := map[int]int{}
	var old []Key
	for _, k := range f.Keys(ac) {
		if _, rolls := public[k.Cohort]; rolls && k.Station == "" {
			epochs[k.Cohort] = max(epochs[k.Cohort], k.Epoch)
			old = append(old, k)
		}
	}
	cohorts := slices.Sorted(maps.Keys(public))
	for _, cohort := range cohorts {
		setKey(ac, public[cohort], f.CohortRole(cohort, epochs[cohort]+1), template)
	}
	if len(public) == f.Cohorts && w.Now > 0 {
		f.setRolled(ac, w.Now)
	}
	if w.To == 0 {
		Retire(ac, old)
		return old
	}
	var soon []Key
	for _, k := range old {
		i, _ := slices.BinarySearch(cohorts, k.Cohort)
		at := w.at(i, len(cohorts))
		if k.Retires == 0 || at < k.Retires {
			setRetires(ac, k, at)
		}
		if at < w.Returns {
			soon = append(soon, k)
		}
	}
	if len(soon) > 0 {
		f.mark(ac, soon, w.Returns)
	}
	return nil
}

// Abort ends the roll of a fleet with nobody cut: the keys that it replaced go on
// to admit what they signed until the last of it has expired. It returns those
// keys whose time it put off.
func (f Fleet) Abort(ac *jwt.AccountClaims, now int64) []Key {
	var out []Key
	at := f.Whole(now).To
	for _, k := range f.Keys(ac) {
		if k.Station == "" && k.Retires > 0 && k.Retires < at {
			setRetires(ac, k, at)
			out = append(out, k)
		}
	}
	return out
}

// Rolling is a fleet with keys that were replaced and are not retired yet.
type Rolling struct {
	Old  int   `json:"old_keys"` // that admit what they signed
	Next int64 `json:"next"`     // when the first of them is retired, Unix seconds
	Last int64 `json:"last"`     // when the last is
}

// Rolling reports the roll of f, false if there is none.
func (f Fleet) Rolling(ac *jwt.AccountClaims) (Rolling, bool) {
	var r Rolling
	for _, k := range f.Keys(ac) {
		if k.Station != "" || k.Retires == 0 {
			continue
		}
		if r.Old++; r.Next == 0 || k.Retires < r.Next {
			r.Next = k.Retires
		}
		r.Last = max(r.Last, k.Retires)
	}
	return r, r.Old > 0
}

// rolledAt returns when all cohorts of f were last rolled at once, Unix seconds, 0
// for never.
func (f Fleet) rolledAt(ac *jwt.AccountClaims) int64 {
	var at int64
	for _, tag := range ac.Tags {
		if text, ok := strings.CutPrefix(tag, tagRolled+f.Name+":"); ok {
			n, _ := strconv.ParseInt(text, 10, 64)
			at = max(at, n)
		}
	}
	return at
}

func (f Fleet) setRolled(ac *jwt.AccountClaims, now int64) {
	f.forgetRolled(ac)
	ac.Tags.Add(tagRolled + f.Name + ":" + strconv.FormatInt(now, 10))
}

func (f Fleet) forgetRolled(ac *jwt.AccountClaims) {
	ac.Tags = slices.DeleteFunc(ac.Tags, func(tag string) bool { return strings.HasPrefix(tag, tagRolled+f.Name+":") })
}

func setRetires(ac *jwt.AccountClaims, k Key, at int64) {
	if k.Retires > 0 {
		ac.Tags.Remove(retireTag(k.Role, k.Retires))
	}
	ac.Tags.Add(retireTag(k.Role, at))
}
