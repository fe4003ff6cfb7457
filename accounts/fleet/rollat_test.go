package fleet

import (
	"testing"
	"time"

	"github.com/accountd/accountd/fault"
)

func TestNextRoll(t *testing.T) {
	t.Parallel()
	f := sensors(2)
	ac := add(t, f)
	due := func(share float64) (int64, bool) {
		_, due, ok := NextRoll(ac, share, 1000)
		return due.At, ok
	}
	if _, ok := due(1); ok {
		t.Fatal("nobody asked for it")
	}
	for _, bad := range []RollAt{{5, time.Hour}, {95, time.Hour}, {70, time.Second}, {70, 1000 * time.Hour}} {
		if err := f.SetRollAt(ac, bad); fault.RuleOf(err) != "roll-at" {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, percent := range []int{30, 70} {
		if err := f.SetRollAt(ac, RollAt{percent, time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.RollAt(ac); got != (RollAt{70, time.Hour}) {
		t.Fatalf("%+v", got)
	}
	if _, ok := due(0.69); ok {
		t.Error("too early")
	}
	if at, ok := due(0.7); !ok || at != 1000 {
		t.Error("not due", at)
	}
	template := Scope(ac, f.Keys(ac)[0])
	station := publicKeys(t, 1)[0]
	if err := f.AddStation(ac, "line4", station, template, 0); err != nil {
		t.Fatal(err)
	}
	if _, ok := due(1); ok {
		t.Error("a roll leaves the station, and so frees nothing")
	}
	ac.SigningKeys.Remove(station)
	next := publicKeys(t, 2)
	f.Roll(ac, template, map[int]string{0: next[0], 1: next[1]}, Window{From: 2000, To: 2060, Now: 2000})
	if _, ok := due(1); ok {
		t.Error("it rolls already")
	}
	Compact(ac, time.Unix(2060, 0), true)
	if at, ok := due(1); !ok || at <= 2060 {
		t.Error("rolled again at once", at)
	}
	if err := f.SetRollAt(ac, RollAt{}); err != nil || f.RollAt(ac).Percent != 0 {
		t.Error(err)
	}
}
