package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

func newAccount(t *testing.T) *jwt.AccountClaims {
	t.Helper()
	ac := jwt.NewAccountClaims(publicKeys(t, 1)[0])
	ac.Name = "iot"
	return ac
}

func publicKeys(t *testing.T, n int) []string {
	t.Helper()
	out := make([]string, n)
	for i := range out {
		p, err := keys.NewAccount()
		if err != nil {
			t.Fatal(err)
		}
		out[i] = p.PublicKey()
	}
	return out
}

func sensors(cohorts int) Fleet {
	return Fleet{Name: "sensors", Cohorts: cohorts, TTL: 168 * time.Hour, Confine: ByID}
}

// add makes an account with the fleet.
func add(t *testing.T, f Fleet) *jwt.AccountClaims {
	t.Helper()
	ac := newAccount(t)
	template, err := f.Template(ac)
	if err == nil {
		err = Add(ac, f, template, publicKeys(t, f.Cohorts))
	}
	if err != nil {
		t.Fatal(err)
	}
	return ac
}

// TestFleetSurvivesTheOfficialLibrary: an account goes through the library
// that servers and the official tool use, and is the same fleet afterwards.
func TestFleetSurvivesTheOfficialLibrary(t *testing.T) {
	t.Parallel()
	f := Fleet{Name: "m_1", Cohorts: 3, TTL: 90 * time.Minute, Confine: ByKey}
	ac := add(t, f)
	if err := f.AddStation(ac, "line4", publicKeys(t, 1)[0], Scope(ac, f.Keys(ac)[0]), 1900000000); err != nil {
		t.Fatal(err)
	}
	if err := SetOnly(ac, 90*time.Minute); err != nil {
		t.Fatal(err)
	}
	op, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	data, err := ac.Encode(op)
	if err != nil {
		t.Fatal(err)
	}
	again, err := jwt.DecodeAccountClaims(data)
	if err != nil {
		t.Fatal(err)
	}
	if issues := accounts.Blocking(again); len(issues) > 0 {
		t.Fatalf("servers would refuse it: %v", issues)
	}
	got, err := Find(again, "")
	if err != nil || got != f {
		t.Fatalf("got %+v, %v", got, err)
	}
	if !slices.Equal(got.Keys(again), f.Keys(ac)) || len(got.Keys(again)) != 4 {
		t.Fatalf("keys %+v", got.Keys(again))
	}
	station, err := f.Station(again, "line4")
	if err != nil || station.Retires != 1900000000 {
		t.Fatalf("station %+v, %v", station, err)
	}
	if ttl, only := Only(again); !only || ttl != 90*time.Minute {
		t.Fatalf("fleet-only %s, %v", ttl, only)
	}
	template := Scope(again, f.Keys(again)[0])
	if want := (jwt.StringList{"iot.{{subject()}}.>", EnrollSubject}); !slices.Equal(template.Pub.Allow, want) {
		t.Fatalf("template %v", template.Pub.Allow)
	}
}

// TestRollKeepsDevices: a roll leaves every key that signed before in place,
// with its scope unchanged, since servers cut the users of a scope that changes.
func TestRollKeepsDevices(t *testing.T) {
	t.Parallel()
	f := sensors(4)
	rapid.Check(t, func(rt *rapid.T) {
		ac := add(t, f)
		want := map[int]int{0: 1, 1: 1, 2: 1, 3: 1}
		for range rapid.IntRange(1, 4).Draw(rt, "rolls") {
			cohorts := rapid.SliceOfDistinct(rapid.IntRange(0, 3), rapid.ID).Draw(rt, "cohorts")
			before := map[string]jwt.Scope{}
			for k, s := range ac.SigningKeys {
				us := *s.(*jwt.UserScope)
				before[k] = &us
			}
			public := map[int]string{}
			for i, key := range publicKeys(t, len(cohorts)) {
				public[cohorts[i]] = key
				want[cohorts[i]]++
			}
			template := jwt.NewUserScope().Template
			template.Sub.Allow.Add("iot.news")
			if gone := f.Roll(ac, template, public, Until(2000)); len(gone) != 0 {
				rt.Fatalf("retired %v", gone)
			}
			for k, s := range before {
				old, now := s.(*jwt.UserScope), ac.SigningKeys[k].(*jwt.UserScope)
				if old.Role != now.Role || old.Description != now.Description || !slices.Equal(old.Template.Sub.Allow, now.Template.Sub.Allow) {
					rt.Fatalf("scope of %s changed", k)
				}
			}
		}
		signers, err := f.Signers(ac)
		if err != nil {
			rt.Fatal(err)
		}
		for c, k := range signers {
			if k.Cohort != c || k.Epoch != want[c] || k.Retires != 0 {
				rt.Fatalf("cohort %d signs by %+v, want epoch %d", c, k, want[c])
			}
		}
		for _, k := range f.Keys(ac) {
			if k.Epoch < want[k.Cohort] && k.Retires != 2000 {
				rt.Fatalf("the old key %+v has no end", k)
			}
		}
	})
}

func TestRollAtOnceRetires(t *testing.T) {
	t.Parallel()
	f := sensors(3)
	ac := add(t, f)
	before := f.Keys(ac)
	gone := f.Roll(ac, Scope(ac, before[1]), map[int]string{1: publicKeys(t, 1)[0]}, Window{})
	if len(gone) != 1 || gone[0] != before[1] || ac.SigningKeys.Contains(before[1].Public) || len(f.Keys(ac)) != 3 {
		t.Fatalf("gone %+v", gone)
	}
}

func TestDeleteLeavesNothing(t *testing.T) {
	t.Parallel()
	f := sensors(2)
	ac := add(t, f)
	ac.Tags.Add("site:7")
	role := jwt.NewUserScope()
	role.Key, role.Role = publicKeys(t, 1)[0], "sensors"
	ac.SigningKeys.AddScopedSigner(role)
	f.Roll(ac, Scope(ac, f.Keys(ac)[0]), map[int]string{0: publicKeys(t, 1)[0]}, Until(2000))
	Delete(ac, f)
	if len(ac.SigningKeys) != 1 || !slices.Equal(ac.Tags, jwt.TagList{"site:7"}) {
		t.Fatalf("left %v and %v", ac.SigningKeys.Keys(), ac.Tags)
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Fleet, *jwt.AccountClaims)
		rule   string
	}{
		"capital name": {func(f *Fleet, _ *jwt.AccountClaims) { f.Name = "Sensors" }, "fleet-name"},
		"colon":        {func(f *Fleet, _ *jwt.AccountClaims) { f.Name = "a:b" }, "fleet-name"},
		"no cohort":    {func(f *Fleet, _ *jwt.AccountClaims) { f.Cohorts = 0 }, "cohorts"},
		"257 cohorts":  {func(f *Fleet, _ *jwt.AccountClaims) { f.Cohorts = 257 }, "cohorts"},
		"no lifetime":  {func(f *Fleet, _ *jwt.AccountClaims) { f.TTL = 0 }, "ttl"},
		"half second":  {func(f *Fleet, _ *jwt.AccountClaims) { f.TTL += time.Second / 2 }, "ttl"},
		"confine":      {func(f *Fleet, _ *jwt.AccountClaims) { f.Confine = "name" }, "confine"},
		"longer than the account allows": {func(_ *Fleet, ac *jwt.AccountClaims) {
			_ = SetOnly(ac, time.Hour)
		}, "ttl"},
		"twice": {func(f *Fleet, ac *jwt.AccountClaims) { ac.Tags.Add(f.tag()) }, "fleet-exists"},
	} {
		ac := newAccount(t)
		f := sensors(1)
		c.change(&f, ac)
		err := Add(ac, f, jwt.UserPermissionLimits{}, publicKeys(t, 1))
		if fault.RuleOf(err) != c.rule {
			t.Errorf("%s: %v, want rule %s", name, err, c.rule)
		}
	}
}

func TestCheckUser(t *testing.T) {
	t.Parallel()
	ac := newAccount(t)
	if err := CheckUser(ac, "x", 1000, 0); err != nil {
		t.Fatal(err)
	}
	if err := SetOnly(ac, time.Hour); err != nil {
		t.Fatal(err)
	}
	for expires, ok := range map[int64]bool{0: false, 4600: true, 4601: false, 900: true} {
		if err := CheckUser(ac, "x", 1000, expires); (err == nil) != ok || err != nil && fault.RuleOf(err) != "fleet-only" {
			t.Errorf("expires %d: %v", expires, err)
		}
	}
}

// TestCohortNeverChanges pins the hash: devices that were issued must be found
// in their cohort for ever.
func TestCohortNeverChanges(t *testing.T) {
	t.Parallel()
	f := sensors(64)
	for id, want := range map[string]int{"sensor-1": 28, "sensor-2": 24, "a": 10} {
		if got := f.Cohort(id); got != want {
			t.Errorf("%s is in cohort %d, want %d", id, got, want)
		}
	}
	counts := make([]int, 64)
	for i := range 64000 {
		counts[f.Cohort("sensor-"+strings.Repeat("x", i%7)+Span(time.Duration(i)*time.Second))]++
	}
	if slices.Min(counts) < 800 || slices.Max(counts) > 1200 {
		t.Errorf("cohorts of %d to %d devices of 64,000", slices.Min(counts), slices.Max(counts))
	}
}

// FuzzCheckID: an id that passes stays one literal token when a role's template
// takes it in.
func FuzzCheckID(f *testing.F) {
	for _, s := range []string{"sensor-1", "*", ">", "a.b", "a b", "", "ä", "{{name()}}", "a\x00", strings.Repeat("x", 129)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if CheckID(id) != nil {
			return
		}
		uc := jwt.NewUserClaims("U")
		uc.Name = id
		template := jwt.UserPermissionLimits{}
		template.Sub.Allow = jwt.StringList{"iot.{{name()}}.>"}
		may, err := accounts.Expand(template, uc, jwt.NewAccountClaims("A"))
		if err != nil || !slices.Equal(may.Sub.Allow, jwt.StringList{"iot." + id + ".>"}) || strings.ContainsAny(id, "*>. /\\\"<&") {
			t.Fatalf("%q may subscribe to %v, %v", id, may.Sub.Allow, err)
		}
	})
}
