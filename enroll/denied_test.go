package enroll

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// fate is a fleet whose devices are refused in all ways, as a person with nsc and
// accountd do it step by step, and what must come of it.
type fate struct {
	*world
	rt      *rapid.T
	devices []*fated

	retired map[string]int64
	pairs   map[string]keys.AccountPair
	denied  fleet.Denied
	spared  fleet.Spared
	copies  []copyOfStore
	stolen  map[string]bool // keys that went for another reason than single devices
}

// copyOfStore is what an older copy of the store knows of denials.
type copyOfStore struct {
	denied fleet.Denied
	spared fleet.Spared
}

// fated is a device, with all credentials that it ever got.
type fated struct {
	*device
	id     string
	all    []string
	cut    bool  // refused by --now, which was carried out
	denied int64 // by one that was not, until then
}

func newFate(t *testing.T, rt *rapid.T, w *world) *fate {
	w.clock = time.Unix(1_800_000_000, 0)
	w.claims = jwt.NewAccountClaims(w.account.PublicKey())
	w.claims.Name = "iot"
	f := &fate{world: w, rt: rt, retired: map[string]int64{}, pairs: map[string]keys.AccountPair{}, denied: fleet.Denied{}, spared: fleet.Spared{}, stolen: map[string]bool{}}
	fresh := f.fresh(0, 1)
	if err := fleet.Add(w.claims, w.fleet, must(w.fleet.Template(w.claims)), []string{fresh[0], fresh[1]}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		d := &fated{device: &device{w: w, pair: must(keys.NewUser())}, id: fmt.Sprint("d", i)}
		signer := f.pairs[must(w.fleet.Signers(w.claims))[w.fleet.Cohort(d.id)].Public]
		uc := jwt.NewUserClaims(d.pair.PublicKey())
		uc.Name, uc.IssuerAccount, uc.Expires = d.id, w.account.PublicKey(), w.clock.Add(time.Hour).Unix()
		d.all = []string{must(must(claims.New(uc)).Sign(signer, w.clock.Unix())).Token}
		f.devices = append(f.devices, d)
	}
	f.serve()
	return f
}

func (f *fate) fresh(cohorts ...int) map[int]string {
	out := map[int]string{}
	for _, c := range cohorts {
		pair := must(keys.NewAccount())
		f.pairs[pair.PublicKey()], out[c] = pair, pair.PublicKey()
	}
	return out
}

// publish makes an edit of the claims the ones that count: what they lack is
// retired.
func (f *fate) publish(edit func(*jwt.AccountClaims)) {
	before := slices.Clone(f.claims.SigningKeys.Keys())
	edit(f.claims)
	for _, key := range before {
		if !f.claims.SigningKeys.Contains(key) {
			f.retired[key] = f.clock.Unix()
		}
	}
}

// serve gives the service what is stored, as one that reads it does.
func (f *fate) serve() {
	ts := f.s.tenants
	doc := must(must(claims.New(f.claims)).Sign(f.signer, f.clock.Unix()))
	t, err := ts.build(store.Record{JWT: doc.Token, Retired: f.retired}, store.Record{},
		store.Record{JWT: f.denied.Encode()}, store.Record{JWT: must(f.spared.Encode())})
	if err != nil {
		f.rt.Fatal(err)
	}
	t.pairs = f.pairs
	ts.changed, ts.current[f.account.PublicKey()] = make(chan struct{}), t
}

// cut is revoke device --now of some devices, killed after a number of steps.
func (f *fate) cut(rt *rapid.T) {
	var suspects []fleet.Suspect
	var bad []*fated
	for _, d := range f.devices {
		if !rapid.Bool().Draw(rt, "suspect") {
			continue
		}
		s := fleet.Suspect{ID: d.id, Key: d.pair.PublicKey()}
		if rapid.Bool().Draw(rt, "only its id is known") {
			s.Key = ""
		}
		suspects, bad = append(suspects, s), append(bad, d)
	}
	if len(suspects) == 0 {
		return
	}
	f.clock = f.clock.Add(time.Second) // no copy is put back within the second
	now := f.clock.Unix()
	p, err := f.fleet.Plan(f.claims, suspects, fleet.Budget{}, fleet.Now, f.fleet.Whole(now), now)
	if err != nil {
		rt.Fatal(err)
	}
	steps := rapid.IntRange(1, 3).Draw(rt, "steps until it is killed")
	for i, s := range suspects {
		if steps == 1 && i == len(suspects)-1 {
			return
		}
		must(f.denied.Change(f.fleet.Marks(s), p.Returns, now, false))
		bad[i].denied = max(bad[i].denied, p.Returns)
	}
	roles := map[string]string{}
	for _, k := range p.Retire {
		roles[k.Public] = k.Role
	}
	f.spared.Change(roles, fleet.ReturnsOf(f.claims), p.Returns, now)
	f.denied.Extend(p.Returns)
	if steps == 2 {
		return
	}
	f.publish(func(ac *jwt.AccountClaims) {
		if err := f.fleet.Apply(ac, p, f.fresh(p.Renew...)); err != nil {
			rt.Fatal(err)
		}
	})
	for _, d := range bad {
		d.cut = true
	}
}

// rollSoon is edit fleet --roll --over, killed after a number of steps.
func (f *fate) rollSoon(rt *rapid.T) {
	now := f.clock.Unix()
	w := f.fleet.Within(now, now+int64(rapid.IntRange(60, 3600).Draw(rt, "within")))
	roles := map[string]string{}
	for _, k := range f.fleet.Keys(f.claims) {
		roles[k.Public] = k.Role
	}
	f.spared.Change(roles, fleet.ReturnsOf(f.claims), w.Returns, now)
	f.denied.Extend(w.Returns)
	if rapid.Bool().Draw(rt, "killed") {
		return
	}
	f.publish(func(ac *jwt.AccountClaims) { f.fleet.Roll(ac, must(f.fleet.Newest(ac)), f.fresh(0, 1), w) })
}

// takeOut is edit account --rm-sk, of this tool or another: the key may be stolen.
func (f *fate) takeOut(rt *rapid.T) {
	key := rapid.SampledFrom(f.fleet.Keys(f.claims)).Draw(rt, "key")
	for _, signs := range must(f.fleet.Signers(f.claims)) {
		if signs.Public == key.Public {
			return
		}
	}
	f.stolen[key.Public] = true
	f.publish(func(ac *jwt.AccountClaims) { ac.SigningKeys.Remove(key.Public) })
}

// steal is revoke device --cohort: whatever its keys signed is worth nothing.
func (f *fate) steal(rt *rapid.T) {
	c := rapid.IntRange(0, 1).Draw(rt, "cohort")
	var p fleet.Plan
	for _, k := range f.fleet.Keys(f.claims) {
		if k.Cohort == c {
			p.Retire, p.Renew = append(p.Retire, k), []int{c}
			f.stolen[k.Public] = true
		}
	}
	for key, s := range f.spared {
		if s.Role[:len("devices/c00")] == fmt.Sprintf("devices/c%02d", c) {
			f.stolen[key] = true
		}
	}
	f.publish(func(ac *jwt.AccountClaims) {
		if err := f.fleet.Apply(ac, p, f.fresh(c)); err != nil {
			rt.Fatal(err)
		}
	})
}

// renew asks by any of the credentials that a device ever got.
func (f *fate) renew(rt *rapid.T) {
	d := rapid.SampledFrom(f.devices).Draw(rt, "device")
	d.jwt = rapid.SampledFrom(d.all).Draw(rt, "credentials")
	f.serve()
	reply, err := d.ask()
	if code := fault.CodeOf(err); err != nil && code != fault.Denied && code != fault.Expired && fault.RuleOf(err) != RuleRate {
		rt.Fatal(err)
	}
	if err != nil {
		return
	}
	issuer := must(claims.Decode(d.jwt)).Issuer
	switch {
	case d.cut:
		rt.Fatalf("%s was cut and has new credentials", d.id)
	case d.denied > f.clock.Unix():
		rt.Fatalf("%s is denied until %d and has new credentials", d.id, d.denied)
	case f.stolen[issuer]:
		rt.Fatalf("%s renewed by what a stolen key signed", d.id)
	case f.retired[must(claims.Decode(reply.JWT)).Issuer] != 0:
		rt.Fatalf("%s has credentials of a retired key", d.id)
	}
	d.all = append(d.all, reply.JWT)
}

// TestDeniedNeverRenew: whatever else happens to the fleet, who was cut by --now
// never renews by what it has, nor does anybody by what a stolen key signed: not
// when nsc is killed half-way, not by an older copy of the store.
func TestDeniedNeverRenew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.s.perDevice = newLimiter(0, 1<<30, 1<<10)
	rapid.Check(t, func(rt *rapid.T) {
		f := newFate(t, rt, w)
		rt.Repeat(map[string]func(*rapid.T){
			"cut":   f.cut,
			"steal": f.steal,
			"rm-sk": f.takeOut,
			"renew": f.renew,
			"roll": func(rt *rapid.T) {
				f.publish(func(ac *jwt.AccountClaims) {
					f.fleet.Roll(ac, must(f.fleet.Newest(ac)), f.fresh(rapid.IntRange(0, 1).Draw(rt, "cohort")), f.fleet.Whole(f.clock.Unix()))
				})
			},
			"roll soon": f.rollSoon,
			"compact": func(*rapid.T) {
				f.publish(func(ac *jwt.AccountClaims) { fleet.Compact(ac, f.clock, true) })
			},
			"wait": func(rt *rapid.T) {
				f.clock = f.clock.Add(time.Duration(rapid.IntRange(1, 3000).Draw(rt, "seconds")) * time.Second)
			},
			"copy the store": func(*rapid.T) {
				f.copies = append(f.copies, copyOfStore{maps.Clone(f.denied), maps.Clone(f.spared)})
			},
			"an older copy": func(rt *rapid.T) {
				if len(f.copies) > 0 {
					old := rapid.SampledFrom(f.copies).Draw(rt, "copy")
					f.denied, f.spared = maps.Clone(old.denied), maps.Clone(old.spared)
					for _, d := range f.devices {
						d.denied = 0 // what a cut that was not carried out has denied is lost
					}
				}
			},
			"unrevoke": func(rt *rapid.T) {
				d := rapid.SampledFrom(f.devices).Draw(rt, "device")
				must(f.denied.Change(f.fleet.Marks(fleet.Suspect{ID: d.id, Key: d.pair.PublicKey()}), 0, f.clock.Unix(), true))
				d.cut, d.denied = false, 0
			},
		})
	})
}
