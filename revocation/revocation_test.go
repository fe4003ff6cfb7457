package revocation

import (
	"maps"
	"testing"

	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"time"

	"github.com/accountd/accountd/fault"
)

func drawList(t *rapid.T, name string) List {
	return List(rapid.MapOf(rapid.SampledFrom([]string{All, "UA", "UB", "UC"}), rapid.Int64Range(1, 5)).Draw(t, name))
}

// TestMergeIsAJoin: idempotent, commutative, associative, and never refuses
// less than either list.
func TestMergeIsAJoin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawList(t, "a"), drawList(t, "b"), drawList(t, "c")
		m := a.Merge(b)
		if !maps.Equal(m, b.Merge(a)) || !maps.Equal(m.Merge(b), m) ||
			!maps.Equal(a.Merge(b.Merge(c)), m.Merge(c)) {
			t.Fatal("merge is not a join")
		}
		if len(m.Missing(a))+len(m.Missing(b)) != 0 {
			t.Fatal("the merge lacks an entry")
		}
		key := rapid.SampledFrom([]string{"UA", "UB", "UX"}).Draw(t, "key")
		iat := rapid.Int64Range(0, 6).Draw(t, "iat")
		if (a.Covers(key, iat) || b.Covers(key, iat)) != m.Covers(key, iat) {
			t.Fatal("the merge refuses something else than the two lists together")
		}
	})
}

// TestCoversAgreesWithServersLibrary pins our reading of a list to the one
// that servers use.
func TestCoversAgreesWithServersLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := drawList(t, "list")
		key := rapid.SampledFrom([]string{"UA", "UB", "UX"}).Draw(t, "key")
		iat := rapid.Int64Range(0, 6).Draw(t, "iat")
		if want := jwt.RevocationList(l).IsRevoked(key, time.Unix(iat, 0)); l.Covers(key, iat) != want {
			t.Fatalf("Covers(%s, %d) of %v is %v, the library says %v", key, iat, l, !want, want)
		}
	})
}

func TestMissing(t *testing.T) {
	t.Parallel()
	got := List{"UA": 3}.Missing(List{"UC": 1, "UA": 4, "UB": 2})
	want := []Entry{{"UA", 4}, {"UB", 2}, {"UC", 1}}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Fatalf("got %v", got)
	}
	if miss := (List{All: 9}).Missing(List{"UA": 1}); len(miss) != 1 {
		t.Fatalf("* makes an entry dispensable only by a named drop, got %v", miss)
	}
}

func TestDropReasons(t *testing.T) {
	t.Parallel()
	retired := func(k string, at int64) bool { return k == "AK" || k == All && at < 20 }
	for _, c := range []struct {
		name string
		drop Drop
		list List
		ok   bool
	}{
		{"covered", Drop{"U", "covered"}, List{All: 10}, true},
		{"covered at a later time", Drop{"U", "covered"}, List{All: 9}, false},
		{"covered without *", Drop{"U", "covered"}, List{}, false},
		{"retired", Drop{"U", "retired:AK"}, List{}, true},
		{"retired, living key", Drop{"U", "retired:AL"}, List{}, false},
		{"all retired", Drop{"U", "retired:*"}, List{}, true},
		{"expired", Drop{"U", "expired:99"}, List{}, true},
		{"expired now", Drop{"U", "expired:100"}, List{}, false},
		{"expired, no time", Drop{"U", "expired:"}, List{}, false},
		{"expired, zero", Drop{"U", "expired:0"}, List{}, false},
		{"unknown", Drop{"U", "because"}, List{All: 10}, false},
	} {
		err := c.drop.Check(Entry{"U", 10}, c.list, retired, 100)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && fault.RuleOf(err) != "drop" {
			t.Errorf("%s: rule %q", c.name, fault.RuleOf(err))
		}
	}
}

func TestDroppedReturns(t *testing.T) {
	t.Parallel()
	retired := func(k string, at int64) bool { return k == "AK" || k == All && at < 20 }
	covered := Dropped{Entry{"U", 10}, Covered}
	if covered.MustReturn(List{All: 10}, retired) || !covered.MustReturn(List{All: 9}, retired) ||
		!covered.MustReturn(nil, retired) || covered.MustReturn(List{"U": 10}, retired) {
		t.Error("covered")
	}
	byKey := Dropped{Entry{"U", 10}, "retired:AK"}
	if byKey.MustReturn(nil, retired) || !byKey.MustReturn(nil, func(string, int64) bool { return false }) {
		t.Error("retired")
	}
}

// TestDropsOfMany: a drop of * stands for the entries of which its reason holds,
// and for no others.
func TestDropsOfMany(t *testing.T) {
	t.Parallel()
	retired := func(k string, at int64) bool { return k == All && at < 5 }
	ds := ByKey([]Drop{{All, Covered}, {All, AllRetired}, {"UC", "expired:1"}, {"UD", "expired:1"}})
	list := List{All: 2}
	for _, c := range []struct {
		e       Entry
		because string
		named   bool
	}{
		{Entry{"UA", 2}, Covered, true},
		{Entry{"UA", 4}, AllRetired, true},
		{Entry{"UA", 5}, "", true},
		{Entry{"UC", 9}, "expired:1", true},
		{Entry{All, 2}, "", true},
	} {
		d, named, err := ds.Find(c.e, list, retired, 10)
		if named != c.named || d.Because != c.because || (err == nil) != (c.because != "") {
			t.Errorf("%+v: %+v, %v, %v", c.e, d, named, err)
		}
	}
	if _, named, _ := ByKey([]Drop{{All, "expired:1"}}).Find(Entry{"UA", 1}, list, retired, 10); named {
		t.Error("expired of * stands for others")
	}
	d := Dropped{Entry{"UA", 4}, AllRetired}
	if d.MustReturn(nil, retired) || !d.MustReturn(nil, func(string, int64) bool { return false }) || d.MustReturn(List{"UA": 4}, func(string, int64) bool { return false }) {
		t.Error("must return")
	}
}
