package enroll

import (
	"testing"
	"time"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
)

// watching is a world whose service looks for clones.
func watching(t *testing.T) *world {
	w := newWorld(t)
	w.s.clones = &clones{known: lately[fleet.Mark, lineage]{most: 100}}
	return w
}

// next renews, half an hour later.
func (d *device) next() *device {
	d.w.clock = d.w.clock.Add(30 * time.Minute)
	return d.enrol()
}

func (w *world) clones() int { return w.counted["renew ok "+ruleClone] }

// TestClones: a device that has a copy is noticed once both have renewed, and
// both go on.
func TestClones(t *testing.T) {
	t.Parallel()
	w := watching(t)
	d := w.device("phone-1", fleet.Terms{}).enrol().next()
	copied := *d
	d = d.next()
	if w.clones() != 0 {
		t.Fatal("noticed before the copy was used")
	}
	d = d.next()
	thief := copied.next()
	if w.clones() != 1 {
		t.Errorf("the copy was noticed %d times", w.clones())
	}
	d.next()
	if w.clones() != 2 {
		t.Errorf("the device was noticed, %d in all", w.clones())
	}
	thief.next()
}

// TestNoClones: lost answers, other processes on the same store and new tokens
// are no clones.
func TestNoClones(t *testing.T) {
	t.Parallel()
	w := watching(t)
	d := w.device("phone-1", fleet.Terms{}).enrol()
	for range 3 {
		d.next() // the answer is lost
		d = d.next()
	}
	here, there := w.s, must(New(w.s.cfg))
	for _, s := range []*Service{there, here, there, there, here} {
		w.s = s
		d.next()
		w.s = here
		d = d.next()
	}
	anew := w.device("phone-1", fleet.Terms{})
	anew.pair = d.pair
	d = anew.enrol().next().next()
	if d.jwt == "" || w.clones() != 0 {
		t.Errorf("%d alarms: %v", w.clones(), w.counted)
	}
}

// TestClonesAreBounded: of more devices than are remembered, the oldest go.
func TestClonesAreBounded(t *testing.T) {
	t.Parallel()
	l := lately[int, int]{most: 10}
	for i := range 1000 {
		l.put(i, i)
		for j := max(0, i-9); j <= i; j++ {
			if v, ok := l.get(j); !ok || v != j {
				t.Fatalf("%d is forgotten at %d", j, i)
			}
		}
		if n := len(l.recent) + len(l.before); n > 20 {
			t.Fatalf("%d are remembered", n)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for o, good := range map[Options]bool{
		{}: true, {SourceRate: 500, Clones: 1_000_000}: true,
		{SourceRate: -1}: false, {SourceRate: maxRate + 1}: false, {Clones: -1}: false, {Clones: maxClones + 1}: false,
	} {
		if err := o.Check(); (err == nil) != good || err != nil && !fault.Is(err, fault.Usage) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
