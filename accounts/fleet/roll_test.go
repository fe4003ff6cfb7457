package fleet

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/revocation"
)

// rollState is one state of a fleet of two cohorts, with a healthy device and a
// bad one each, as far as the rolls of its keys can tell states apart.
type rollState struct {
	ac   *jwt.AccountClaims
	now  int64
	made int // keys so far
	// Credentials of the devices, healthy ones first. The bad one of cohort 0 is
	// revoked by a list, that of cohort 1 by a graceful plan that had no room.
	creds [4]rollCred

	hurry   bool  // a roll cuts who has no new credentials in time
	listed  bool  // bad 0 is
	exposed int64 // until then at the latest bad 1 can connect, 0: was not revoked
}

type rollCred struct {
	issuer   string
	iat, exp int64
}

const rollTick = 1200

func rollFleet() Fleet { return Fleet{Name: "s", Cohorts: 2, TTL: time.Hour, Confine: ByID} }

func (s *rollState) clone() *rollState {
	n, ac := *s, *s.ac
	ac.Tags, ac.SigningKeys, ac.Revocations = slices.Clone(ac.Tags), maps.Clone(ac.SigningKeys), maps.Clone(ac.Revocations)
	n.ac = &ac
	return &n
}

func (s *rollState) id() string {
	tags := slices.Clone(s.ac.Tags)
	slices.Sort(tags)
	var keys []string
	for _, k := range rollFleet().Keys(s.ac) {
		keys = append(keys, k.Role+"="+k.Public)
	}
	return fmt.Sprint(tags, keys, s.ac.Revocations, s.now, s.creds, s.hurry, s.listed, s.exposed)
}

func (s *rollState) key() string {
	s.made++
	return fmt.Sprintf("A%d", s.made)
}

// issue gives a device credentials of the newest key of its cohort.
func (s *rollState) issue(device int) {
	signers, err := rollFleet().Signers(s.ac)
	if err == nil {
		s.creds[device] = rollCred{signers[device%2].Public, s.now, s.now + 3600}
	}
}

func (s *rollState) roll(w Window, cohorts ...int) {
	f, public := rollFleet(), map[int]string{}
	for _, c := range cohorts {
		public[c] = s.key()
	}
	template, _ := f.Newest(s.ac)
	s.hurry = s.hurry || w.To < f.Whole(s.now).To
	f.Roll(s.ac, template, public, w)
}

// refused is what servers say to a device.
func (s *rollState) refused(device int) bool {
	c := s.creds[device]
	if !s.ac.SigningKeys.Contains(c.issuer) {
		return true
	}
	return revocation.List(s.ac.Revocations).Covers(fmt.Sprintf("U%d", device), c.iat)
}

// rollActions are everything that can happen to it. A command that was lost on
// its way did not happen; one that was sent again happens twice.
func rollActions() map[string]func(*rollState) {
	f := rollFleet()
	return map[string]func(*rollState){
		"roll 0":         func(s *rollState) { s.roll(f.Whole(s.now), 0) },
		"roll all":       func(s *rollState) { s.roll(f.Whole(s.now), 0, 1) },
		"roll all, soon": func(s *rollState) { s.roll(f.Within(s.now, s.now+2*rollTick), 0, 1) },
		"abort": func(s *rollState) {
			f.Abort(s.ac, s.now)
			s.hurry = false
			if s.exposed > 0 {
				s.exposed = max(s.exposed, f.Whole(s.now).To)
			}
		},
		"compact": func(s *rollState) { Compact(s.ac, time.Unix(s.now, 0), true) },
		"wait":    func(s *rollState) { s.now += rollTick },
		"renew":   func(s *rollState) { s.issue(0); s.issue(1) },
		"list bad 0": func(s *rollState) {
			s.ac.Revocations = jwt.RevocationList(revocation.List(s.ac.Revocations).Merge(revocation.List{"U2": s.now}))
			s.listed = true
		},
		"bad 1 gracefully": func(s *rollState) {
			p, err := f.Plan(s.ac, []Suspect{{ID: "b", Key: "U3", Issuer: s.creds[3].issuer}}, Budget{}, Graceful, f.Within(s.now, s.now+rollTick), s.now)
			if err != nil || len(p.Exposed) != 1 || s.exposed > 0 {
				return
			}
			if err := f.Apply(s.ac, p, map[int]string{p.Renew[0]: s.key()}); err != nil {
				panic(err)
			}
			s.exposed, s.hurry = p.Last, true
		},
	}
}

// check is what holds in every state.
func (s *rollState) check() string {
	f := rollFleet()
	signers, err := f.Signers(s.ac)
	switch {
	case err != nil || slices.ContainsFunc(signers, func(k Key) bool { return k.Retires > 0 }):
		return fmt.Sprintf("a cohort cannot issue for good: %+v, %v", signers, err)
	case s.listed && s.now < s.creds[2].exp && !s.refused(2):
		return "who is listed can connect"
	}
	if r, rolling := f.Rolling(s.ac); rolling != (len(f.Keys(s.ac)) > 2) || rolling && r.Old != len(f.Keys(s.ac))-2 {
		return fmt.Sprintf("shown is %+v of %d keys", r, len(f.Keys(s.ac)))
	}
	for device := range 2 {
		if !s.hurry && s.now < s.creds[device].exp && s.refused(device) && s.ac.SigningKeys.Contains(s.creds[device].issuer) {
			return "who is healthy is refused by a list"
		}
	}
	for name, again := range map[string]func(*rollState){"compact": rollActions()["compact"], "abort": rollActions()["abort"]} {
		once := s.clone()
		again(once)
		twice := once.clone()
		again(twice)
		if once.id() != twice.id() {
			return name + " twice is not once"
		}
	}
	end := s.clone() // accountd looks when it is due, however late
	end.now = max(end.now, end.exposed)
	Compact(end.ac, time.Unix(end.now, 0), true)
	if s.exposed > 0 && !end.refused(3) && end.now < s.creds[3].exp {
		return fmt.Sprintf("who was exposed can connect beyond %d", s.exposed)
	}
	if r, rolling := f.Rolling(s.ac); rolling {
		end.now = r.Last
		if Compact(end.ac, time.Unix(r.Last, 0), true); len(f.Keys(end.ac)) != 2 {
			return "the roll does not end when it says"
		}
	}
	return ""
}

// cut tells whether an action refused a healthy device, though no roll was to.
func cut(before, after *rollState) bool {
	for device := range 2 {
		if !before.hurry && !after.hurry && !before.refused(device) && after.refused(device) &&
			before.creds[device] == after.creds[device] && after.now < after.creds[device].exp {
			return true
		}
	}
	return false
}

// TestEveryRoll walks through all states that a fleet can get into within some
// steps: rolled, rolled again, aborted, compacted late or twice, with devices
// that are healthy, listed and exposed. FLEET_STEPS is for more steps than CI has
// time for.
func TestEveryRoll(t *testing.T) {
	t.Parallel()
	f := rollFleet()
	ac := jwt.NewAccountClaims("A")
	ac.Name = "iot"
	if err := SetOnly(ac, f.TTL); err != nil {
		t.Fatal(err)
	}
	template, _ := f.Template(ac)
	first := &rollState{ac: ac, now: 1_000_000, made: 2}
	if err := Add(ac, f, template, []string{"A1", "A2"}); err != nil {
		t.Fatal(err)
	}
	Compact(ac, time.Unix(first.now, 0), true)
	for device := range 4 {
		first.issue(device)
	}
	first.now++
	depth := 4
	if n, err := strconv.Atoi(os.Getenv("FLEET_STEPS")); err == nil {
		depth = n
	}
	type step struct {
		*rollState
		path []string
	}
	seen, states := map[string]bool{first.id(): true}, []step{{first, nil}}
	for range depth {
		var next []step
		for _, s := range states {
			for name, act := range rollActions() {
				n := s.clone()
				act(n)
				path := append(slices.Clone(s.path), name)
				why := n.check()
				if cut(s.rollState, n) {
					why = "who is healthy was cut"
				}
				if why != "" {
					t.Fatalf("%s\n%s\n%s", why, strings.Join(path, ", "), n.id())
				}
				if id := n.id(); !seen[id] {
					seen[id] = true
					next = append(next, step{n, path})
				}
			}
		}
		states = next
	}
	if len(seen) < 200 {
		t.Fatalf("only %d states", len(seen))
	}
	t.Logf("%d states", len(seen))
}
