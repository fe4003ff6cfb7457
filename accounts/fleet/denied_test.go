package fleet

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountd/accountd/fault"
)

func TestDenied(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := Denied(rapid.MapOf(rapid.Custom(func(rt *rapid.T) Mark { return Mark(rapid.Uint64().Draw(rt, "mark")) }), rapid.Int64Range(1, 1<<32-1)).Draw(rt, "denied"))
		again, err := DecodeDenied(d.Encode())
		if err != nil || !maps.Equal(d, again) {
			rt.Fatalf("%v, %v", again, err)
		}
	})
	f := sensors(1)
	d := Denied{}
	if n, err := d.Change(f.Marks(Suspect{ID: "a", Key: "UA"}), 100, 50, false); err != nil || n != 2 || len(d) != 2 {
		t.Fatalf("%v, %v", d, err)
	}
	if !d.Has(99, f.MarkID("a")) || !d.Has(99, MarkKey("UA")) || d.Has(100, MarkKey("UA")) || d.Has(50, MarkKey("a")) {
		t.Errorf("%v", d)
	}
	if other := (Fleet{Name: "other"}); d.Has(50, other.MarkID("a")) {
		t.Error("of another fleet")
	}
	_, _ = d.Change(nil, 0, 100, false)
	if len(d) != 0 {
		t.Errorf("kept %v", d)
	}
	_, _ = d.Change([]Mark{1, 2}, 200, 100, false)
	if n, err := d.Change([]Mark{1, 7}, 0, 100, true); err != nil || n != 1 || len(d) != 1 {
		t.Errorf("lifted: %v", d)
	}
	for _, bad := range []string{"x", "AAAA"} {
		if _, err := DecodeDenied(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	big := Denied{}
	for i := range MaxDenied {
		big[Mark(i)] = 200
	}
	if _, err := big.Change([]Mark{MaxDenied}, 200, 100, false); fault.RuleOf(err) != "denied" {
		t.Error(err)
	}
}
