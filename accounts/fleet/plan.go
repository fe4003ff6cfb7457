package fleet

import (
	"encoding/json"
	"maps"
	"math"
	"slices"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// Suspect is a device to be refused, as far as it is known: by its id, its key
// or both.
type Suspect struct {
	ID       string
	Key      string // its public key, "" if it is not known
	Issuer   string // that signed its credentials, "" if it is not known
	IssuedAt int64  // the latest of them, Unix seconds, 0 if it is not known
	Expires  int64  // the latest of them, Unix seconds, 0 if it is not known
}

// Way is how devices are refused that are too many to list.
type Way string

// The ways. Nobody but a person can choose between them.
const (
	Undecided Way = ""
	Now       Way = "now"      // the keys of their cohorts go at once, with healthy devices
	Graceful  Way = "graceful" // their cohorts get new keys, and the old ones go when they have expired
)

// Plan is what refuses devices, and what it costs.
type Plan struct {
	Entries revocation.List // to be listed
	Retire  []Key           // refused at once, whatever they signed
	Returns int64           // until then other devices may renew by what goes before it has expired, Unix seconds, 0 for not
	Renew   []int           // cohorts that get a new key
	Window  Window          // in which the old keys of a graceful plan go
	Exposed []Suspect       // that can still connect
	Last    int64           // until then at the latest, Unix seconds
}

// Budget is how many entries a list has room for.
type Budget struct {
	Size, Max int // bytes of the account's JWT, now and at most
}

// entrySize is the JSON of an entry, `"U…":1800000000,`, before base64.
const entrySize = 70

// Room returns how many more entries fit.
func (b Budget) Room() int { return max(0, ((b.Max-b.Size)*3/4-entrySize)/entrySize) }

// Share returns how much of the budget is used with n entries more, 0 to 1.
func (b Budget) Share(n int) float64 {
	return float64(b.Size+n*entrySize*4/3) / float64(b.Max)
}

// Plan says what refuses suspects. If they can be listed, they are. Else it
// takes the way that was chosen, a graceful one within w; fault.Usage without one. It is fault.NotFound
// where it cannot be known what would refuse a suspect.
func (f Fleet) Plan(ac *jwt.AccountClaims, suspects []Suspect, b Budget, way Way, w Window, now int64) (Plan, error) {
	p := Plan{Entries: revocation.List{}}
	var listed, unlisted []Suspect
	known := revocation.List(ac.Revocations)
	for _, s := range suspects {
		if s.Key == "" {
			unlisted = append(unlisted, s)
			continue
		}
		listed = append(listed, s)
		p.Entries[s.Key] = max(now, s.IssuedAt, p.Entries[s.Key])
	}
	fresh := 0
	for key := range p.Entries {
		if _, has := known[key]; !has {
			fresh++
		}
	}
	switch {
	case fresh <= b.Room() && len(unlisted) == 0:
		return p, nil
	case way == Now:
		p.Returns = f.Whole(now).To
		p.Window.Now = now
		return f.planNow(ac, append(unlisted, listed...), p, b)
	case way == Graceful:
		p.Window, p.Returns = w, w.Returns
		return f.planGraceful(ac, unlisted, listed, p, b)
	case len(unlisted) > 0:
		return p, fault.New(fault.NotFound, "the keys of %d of %d devices are not known here, such as that of %s, so that they cannot be listed one by one",
			len(unlisted), len(suspects), unlisted[0].ID).ByRule("unknown-key").About("device", unlisted[0].ID)
	}
	return p, fault.New(fault.Usage, "%d more revocations do not fit into the account's claim, which has room for %d", fresh, b.Room()).ByRule("budget")
}

// planNow retires every key that may have signed for a suspect. Those of whom
// that is not known are listed.
func (f Fleet) planNow(ac *jwt.AccountClaims, suspects []Suspect, p Plan, b Budget) (Plan, error) {
	entries := p.Entries
	p.Entries = revocation.List{}
	retire := map[string]bool{}
	r := f.ring(ac)
	for _, s := range suspects {
		signers, err := r.signersOf(s)
		if err != nil && (s.Key == "" || len(p.Entries) >= b.Room()) {
			return p, err
		}
		if err != nil {
			p.Entries[s.Key] = entries[s.Key]
		}
		for _, k := range signers {
			retire[k.Public] = true
		}
	}
	for _, k := range r.all {
		if retire[k.Public] {
			p.Retire = append(p.Retire, k)
		}
	}
	p.Renew = f.renewals(r.all, retire)
	return p, nil
}

// renewals returns the cohorts whose newest key is among those that go.
func (f Fleet) renewals(all []Key, going map[string]bool) []int {
	newest := map[int]string{}
	for _, k := range all { // by epoch
		if k.Station == "" && k.Cohort < f.Cohorts {
			newest[k.Cohort] = k.Public
		}
	}
	maps.DeleteFunc(newest, func(_ int, public string) bool { return !going[public] })
	return slices.Sorted(maps.Keys(newest))
}

// planGraceful lists as many as there is room for and gives the cohorts of the
// others new keys.
func (f Fleet) planGraceful(ac *jwt.AccountClaims, unlisted, listed []Suspect, p Plan, b Budget) (Plan, error) {
	cost, err := f.rollCost(ac)
	if err != nil {
		return p, err
	}
	b.Size += 2 * cost // this roll, and room for the next one
	p.Last = p.Window.To
	entries := p.Entries
	p.Entries = revocation.List{}
	room := b.Room()
	p.Exposed = unlisted
	for _, s := range listed {
		_, has := ac.Revocations[s.Key]
		_, twice := p.Entries[s.Key]
		if !has && !twice && room == 0 {
			p.Exposed = append(p.Exposed, s)
			continue
		}
		if !has && !twice {
			room--
		}
		p.Entries[s.Key] = entries[s.Key]
	}
	going := map[string]bool{}
	r := f.ring(ac)
	for _, s := range p.Exposed {
		signers, err := r.signersOf(s)
		if err != nil {
			return p, err
		}
		for _, k := range signers {
			if k.Station != "" {
				return p, fault.New(fault.Denied, "device %s was issued by station %q, whose key cannot be replaced", s.ID, k.Station).
					ByRule("station-key").About("station", k.Station).
					WithHint("retire the station: nsc revoke device --station %s --fleet %s -a %s", k.Station, f.Name, fault.Words(ac.Name))
			}
			going[k.Public] = true
		}
	}
	p.Renew = f.renewals(r.all, going)
	return p, nil
}

// rollCost is how many bytes of a JWT a roll of all cohorts takes at most: keys,
// and the tags of those that they replace.
func (f Fleet) rollCost(ac *jwt.AccountClaims) (int, error) {
	template, err := f.Newest(ac)
	if err != nil {
		return 0, err
	}
	with := jwt.NewAccountClaims(ac.Subject)
	setKey(with, ac.Subject, f.CohortRole(f.Cohorts, 1000), template)
	with.Tags.Add(retireTag(f.CohortRole(f.Cohorts, 1000), math.MaxInt32), timeTag(tagReturns, f.CohortRole(f.Cohorts, 1000), math.MaxInt32))
	size := 0
	for _, part := range []any{with.SigningKeys, with.Tags} {
		data, err := json.Marshal(part)
		if err != nil {
			return 0, fault.New(fault.Internal, "encode claims: %w", err)
		}
		size += len(data)
	}
	return f.Cohorts*size*4/3 + 4, nil
}

// ring is the keys of a fleet, found by what is known of a device.
type ring struct {
	Fleet
	ac       *jwt.AccountClaims
	all      []Key
	byPublic map[string]Key
	byCohort map[int][]Key
	station  string // one of them, "" without any
}

func (f Fleet) ring(ac *jwt.AccountClaims) ring {
	r := ring{Fleet: f, ac: ac, all: f.Keys(ac), byPublic: map[string]Key{}, byCohort: map[int][]Key{}}
	for _, k := range r.all {
		r.byPublic[k.Public] = k
		if k.Station != "" {
			r.station = k.Station
			continue
		}
		r.byCohort[k.Cohort] = append(r.byCohort[k.Cohort], k)
	}
	return r
}

// signersOf returns the keys that may have signed for s. What is known of its
// credentials need not be the last of them: it may have been issued anew, by any
// epoch of its cohort, under the same key.
func (r ring) signersOf(s Suspect) ([]Key, error) {
	unknown := func(format string, args ...any) ([]Key, error) {
		return nil, fault.New(fault.NotFound, format, args...).ByRule("unknown-signer").About("device", first(s.ID, s.Key))
	}
	k, ours := r.byPublic[s.Issuer]
	switch {
	case ours && k.Station == "":
		return r.byCohort[k.Cohort], nil
	case !ours && s.Issuer != "" && (s.Issuer == r.ac.Subject || r.ac.SigningKeys.Contains(s.Issuer)):
		return unknown("device %s was not issued by fleet %q", first(s.ID, s.Key), r.Name)
	case s.ID == "":
		return unknown("which key signed for %s is not known, since its id is not", s.Key)
	case ours:
		return append([]Key{k}, r.byCohort[r.Cohort(s.ID)]...), nil
	case s.Issuer == "" && r.station != "":
		return unknown("whether the key of a cohort signed for %s, or that of a station such as %q, is not known", s.ID, r.station)
	}
	return r.byCohort[r.Cohort(s.ID)], nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Apply makes ac refuse what p says. fresh has the new key of each cohort that
// gets one. Keys that the account has no more are passed by. Where devices may
// renew by what went, those that are to be refused are denied first: see Spare.
func (f Fleet) Apply(ac *jwt.AccountClaims, p Plan, fresh map[int]string) error {
	merged := revocation.List(ac.Revocations).Merge(p.Entries)
	ac.Revocations = jwt.RevocationList(merged)
	if len(fresh) > 0 {
		template, err := f.Newest(ac)
		if err != nil {
			return err
		}
		w := p.Window
		w.Returns = p.Returns
		if w.To == 0 {
			w.From, w.To = 1, 1 // they go below, with what p retires beside them
		}
		f.Roll(ac, template, fresh, w)
	}
	var gone []Key
	for _, k := range f.Keys(ac) {
		if slices.ContainsFunc(p.Retire, func(r Key) bool { return r.Public == k.Public }) {
			gone = append(gone, k)
		}
	}
	Retire(ac, gone)
	forgetReturns(ac, p.Window.Now)
	f.mark(ac, gone, p.Returns)
	return nil
}
