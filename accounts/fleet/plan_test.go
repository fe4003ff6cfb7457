package fleet

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
)

// signedSize is the length of the claim of ac in bytes, signed by an operator.
func signedSize(t *testing.T, ac *jwt.AccountClaims) int {
	t.Helper()
	op, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	draft, err := claims.New(ac)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := draft.Sign(op, 1_800_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return len(doc.Token)
}

// TestRoomIsExact: as many entries as there is room for fit into the signed
// claim, and not many more would.
func TestRoomIsExact(t *testing.T) {
	t.Parallel()
	f := sensors(64)
	ac := add(t, f)
	const most = 200_000
	room := Budget{Size: signedSize(t, ac), Max: most}.Room()
	ac.Revocations = jwt.RevocationList{}
	for i := range room {
		ac.Revocations[fmt.Sprintf("U%055d", i)] = 1_800_000_000
	}
	if size := signedSize(t, ac); size > most || size < most-300 {
		t.Errorf("%d entries make %d bytes of %d", room, size, most)
	}
}

// TestGracefulPlanFits: what a graceful plan lists has room beside the keys
// that it adds.
func TestGracefulPlanFits(t *testing.T) {
	t.Parallel()
	f := sensors(64)
	ac := add(t, f)
	var suspects []Suspect
	for i := range 3000 {
		suspects = append(suspects, Suspect{ID: fmt.Sprint(i), Key: fmt.Sprintf("U%055d", i)})
	}
	const most, now = 200_000, 1_800_000_000
	p, err := f.Plan(ac, suspects, Budget{signedSize(t, ac), most}, Graceful, f.Within(now, now+3600), now)
	if err != nil || len(p.Exposed) == 0 || len(p.Renew) != 64 {
		t.Fatalf("%d exposed, %v renewed, %v", len(p.Exposed), p.Renew, err)
	}
	fresh := map[int]string{}
	for i, key := range publicKeys(t, 64) {
		fresh[i] = key
	}
	if err := f.Apply(ac, p, fresh); err != nil {
		t.Fatal(err)
	}
	spare, err := f.rollCost(ac)
	if got := signedSize(t, ac); err != nil || got > most-spare || got < most-spare-8000 {
		t.Errorf("%d entries and 64 keys make %d bytes of %d", len(p.Entries), got, most)
	}
}

// sky is a fleet with devices that were really signed by its keys.
type sky struct {
	f       Fleet
	ac      *jwt.AccountClaims
	devices []Suspect
	anew    map[string]string // the key that signed once more, by that of the device
}

func newSky(t *testing.T, rt *rapid.T) *sky {
	s := &sky{f: sensors(3), anew: map[string]string{}}
	s.ac = add(t, s.f)
	template := Scope(s.ac, s.f.Keys(s.ac)[0])
	if rapid.Bool().Draw(rt, "rolled") {
		s.f.Roll(s.ac, template, map[int]string{1: publicKeys(t, 1)[0]}, Until(9_000_000))
	}
	stations := rapid.Bool().Draw(rt, "station")
	if stations {
		if err := s.f.AddStation(s.ac, "line4", publicKeys(t, 1)[0], template, 0); err != nil {
			rt.Fatal(err)
		}
	}
	all := s.f.Keys(s.ac)
	for i := range 30 {
		d := Suspect{ID: fmt.Sprintf("d%d", i), Key: fmt.Sprintf("U%055d", i), IssuedAt: 1_000_000, Expires: 1_000_000 + 3600}
		own := slices.DeleteFunc(slices.Clone(all), func(k Key) bool { return k.Station == "" && k.Cohort != s.f.Cohort(d.ID) })
		d.Issuer = own[rapid.IntRange(0, len(own)-1).Draw(rt, "signer")].Public
		if signers, err := s.f.Signers(s.ac); err == nil && rapid.Bool().Draw(rt, "issued anew") {
			s.anew[d.Key] = signers[s.f.Cohort(d.ID)].Public
		}
		s.devices = append(s.devices, d)
	}
	return s
}

// refused reports whether servers would refuse a device.
func (s *sky) refused(d Suspect) bool {
	if revocation.List(s.ac.Revocations).Covers(d.Key, d.IssuedAt) {
		return true
	}
	again, anew := s.anew[d.Key]
	return !s.ac.SigningKeys.Contains(d.Issuer) && (!anew || !s.ac.SigningKeys.Contains(again))
}

// suspects draws some devices, and what is known of them.
func (s *sky) suspects(rt *rapid.T) (known, real []Suspect) {
	for _, d := range s.devices {
		if !rapid.Bool().Draw(rt, "suspect") {
			continue
		}
		real = append(real, d)
		switch rapid.IntRange(0, 3).Draw(rt, "known") {
		case 0:
			d.Issuer = ""
		case 1:
			d.Issuer, d.Key = "", ""
		case 2:
			d.Issuer, d.ID = "", ""
		}
		known = append(known, d)
	}
	return known, real
}

// check compares who is refused with what a plan says.
func (s *sky) check(rt *rapid.T, p Plan, real []Suspect) {
	exposed := map[string]bool{}
	for _, e := range p.Exposed {
		exposed[e.ID] = true
	}
	for _, d := range s.devices {
		suspect := slices.Contains(real, d)
		gone := func(key string) bool {
			return slices.ContainsFunc(p.Retire, func(k Key) bool { return k.Public == key })
		}
		again, anew := s.anew[d.Key]
		cut := gone(d.Issuer) && (!anew || gone(again))
		if suspect && !s.refused(d) && !exposed[d.ID] {
			rt.Fatalf("%+v can still connect, and the plan %+v does not say so", d, p)
		}
		if !suspect && s.refused(d) != cut {
			rt.Fatalf("healthy %+v: refused %v by the plan %+v", d, s.refused(d), p)
		}
	}
}

// TestPlansAreHonest: whatever is known of the suspects, and however many there
// are, each of them is refused once the plan is applied, or is named as exposed;
// what is healthy is refused only by a key that the plan retires; and the
// fleet can issue afterwards.
func TestPlansAreHonest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := newSky(t, rt)
		suspects, real := s.suspects(rt)
		b := Budget{Size: 1000, Max: 1000 + rapid.IntRange(1, 70).Draw(rt, "room")*94 + 94}
		way := rapid.SampledFrom([]Way{Undecided, Now, Graceful}).Draw(rt, "way")
		p, err := s.f.Plan(s.ac, suspects, b, way, s.f.Whole(1_000_100), 1_000_100)
		if err != nil {
			if way == Now && fault.RuleOf(err) != "unknown-signer" || fault.RuleOf(err) == "" {
				rt.Fatalf("%v", err)
			}
			return
		}
		if way == Undecided && (len(p.Retire) > 0 || len(p.Exposed) > 0) || way == Now && len(p.Exposed) > 0 {
			rt.Fatalf("plan %+v by %q", p, way)
		}
		if len(p.Entries) > b.Room() {
			rt.Fatalf("%d entries, room for %d", len(p.Entries), b.Room())
		}
		fresh := map[int]string{}
		for i, key := range publicKeys(t, len(p.Renew)) {
			fresh[p.Renew[i]] = key
		}
		if err := s.f.Apply(s.ac, p, fresh); err != nil {
			rt.Fatal(err)
		}
		s.check(rt, p, real)
		if _, err := s.f.Signers(s.ac); err != nil {
			rt.Fatalf("the fleet cannot issue: %v", err)
		}
		if Compact(s.ac, time.Unix(p.Last, 0), false); p.Last > 0 {
			for _, d := range real {
				if !s.refused(d) {
					rt.Fatalf("%+v outlives the plan %+v", d, p)
				}
			}
		}
	})
}

// TestPlanOfWhoMayBeBack: that the key which signed is retired does not mean
// that the device is out, since it may have been issued anew.
func TestPlanOfWhoMayBeBack(t *testing.T) {
	t.Parallel()
	f := sensors(1)
	ac := add(t, f)
	gone := publicKeys(t, 1)[0]
	for issuer, at := range map[string]int64{gone: 5, ac.Subject: 9} {
		p, err := f.Plan(ac, []Suspect{{ID: "a", Key: "UA", Issuer: issuer, IssuedAt: at}}, Budget{0, 10000}, Undecided, f.Whole(5), 5)
		if err != nil || p.Entries["UA"] != at {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	p, err := f.Plan(ac, []Suspect{{ID: "a", Issuer: gone}}, Budget{0, 0}, Now, f.Whole(5), 5)
	if err != nil || len(p.Retire) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err = f.Plan(ac, []Suspect{{ID: "a", Issuer: ac.Subject}}, Budget{0, 0}, Now, f.Whole(5), 5); fault.RuleOf(err) != "unknown-signer" {
		t.Fatal(err)
	}
}
