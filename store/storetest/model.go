package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/store"
)

// state is the simplest store that keeps the promises.
type state struct {
	records map[string]store.Record
	changes []store.Change
	nonces  map[string]time.Time
	values  map[string]string
}

func (st state) clone() state {
	return state{
		records: maps.Clone(st.records), changes: slices.Clone(st.changes),
		nonces: maps.Clone(st.nonces), values: maps.Clone(st.values),
	}
}

// op is one step of a transaction and the error that it must meet.
type op struct {
	run  func(store.Tx) error
	want error
}

// model runs random transactions on a faulty store and on a state.
type model struct {
	s       store.Store
	fate    Outcome // of the next Update
	st      state
	now     time.Time
	counter int
}

var errFunction = errors.New("the function failed")

func testModel(t *testing.T, open Open) {
	rapid.Check(t, func(rt *rapid.T) {
		s := open(t)
		defer s.Close()
		m := &model{
			st:  state{records: map[string]store.Record{}, nonces: map[string]time.Time{}, values: map[string]string{}},
			now: noon(),
		}
		m.s = NewFaulty(s, func(int) Fault { return Fault{Outcome: m.fate} })
		rt.Repeat(map[string]func(*rapid.T){
			"update":  m.update,
			"changes": m.readChanges,
			"scan":    m.scan,
			"":        m.compare,
		})
	})
}

func (m *model) update(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
	m.fate = Outcome(rapid.IntRange(int(Pass), int(Twice)).Draw(t, "fate"))
	next := m.st.clone()
	var ops []op
	for range rapid.IntRange(1, 4).Draw(t, "ops") {
		o := m.draw(t, &next)
		ops = append(ops, o)
		if o.want != nil {
			break
		}
	}
	last := ops[len(ops)-1].want
	err := m.s.Update(context.Background(), func(tx store.Tx) error {
		for _, o := range ops {
			err := o.run(tx)
			if !errors.Is(err, o.want) {
				t.Fatalf("got %v, want %v", err, o.want)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	want := last
	if want == nil {
		want = map[Outcome]error{Failed: ErrInjected, Lost: store.ErrUnknown, Applied: store.ErrUnknown}[m.fate]
	}
	if !errors.Is(err, want) {
		t.Fatalf("update (%s): got %v, want %v", m.fate, err, want)
	}
	if last == nil && m.fate != Failed && m.fate != Lost {
		m.st = next
	}
}

// draw makes one step and applies it to next.
func (m *model) draw(t *rapid.T, next *state) op {
	switch rapid.SampledFrom([]string{"put", "put", "put", "nonce", "value", "fail"}).Draw(t, "op") {
	case "put":
		return m.drawPut(t, next)
	case "nonce":
		return m.drawNonce(t, next)
	case "value":
		name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")
		value := rapid.StringN(0, 5, -1).Draw(t, "value")
		next.values[name] = value
		return op{run: func(tx store.Tx) error { return tx.SetMeta(name, value) }}
	}
	return op{run: func(store.Tx) error { return errFunction }, want: errFunction}
}

func (m *model) drawPut(t *rapid.T, next *state) op {
	key := keyN(rapid.IntRange(0, 4).Draw(t, "key"))
	stored := next.records[key].Revision
	base := stored
	if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
		base = uint64(rapid.IntRange(0, 3).Draw(t, "base"))
	}
	m.counter++
	rec, ch := account(key, fmt.Sprint("v", m.counter)), change(key)
	rec.Deleted = rapid.Bool().Draw(t, "deleted")
	o := op{run: func(tx store.Tx) error {
		_, err := tx.Put(base, rec, ch)
		return err
	}}
	if base != stored {
		o.want = store.ErrConflict
		return o
	}
	done, line := rec, ch
	done.Revision, done.Seq = base+1, uint64(len(next.changes)+1)
	line.Revision, line.Seq = done.Revision, done.Seq
	next.records[key], next.changes = done, append(next.changes, line)
	return o
}

// drawNonce uses a new nonce or one that must be remembered; whether one whose
// time has passed is, is open.
func (m *model) drawNonce(t *rapid.T, next *state) op {
	m.counter++
	nonce, now := fmt.Sprint("n", m.counter), m.now
	until := now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "life")) * time.Second)
	o := op{run: func(tx store.Tx) error { return tx.UseNonce(nonce, now, until) }}
	var live []string
	for n, until := range next.nonces {
		if !until.Before(now) {
			live = append(live, n)
		}
	}
	if len(live) > 0 && rapid.Bool().Draw(t, "replay") {
		slices.Sort(live)
		nonce = rapid.SampledFrom(live).Draw(t, "nonce")
		o.want = store.ErrReplay
		return o
	}
	next.nonces[nonce] = until
	return o
}

func (m *model) view(t *rapid.T, f func(store.Reader) error) {
	if err := m.s.View(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func (m *model) readChanges(t *rapid.T) {
	after := rapid.IntRange(0, len(m.st.changes)+1).Draw(t, "after")
	limit := rapid.IntRange(0, 5).Draw(t, "limit")
	from := min(after, len(m.st.changes))
	want := m.st.changes[from:min(from+limit, len(m.st.changes))]
	m.view(t, func(r store.Reader) error {
		got, err := r.Changes(uint64(after), limit)
		if d := cmp.Diff(want, got); len(want)+len(got) > 0 && d != "" {
			t.Fatalf("changes after %d, limit %d (-want +got):\n%s", after, limit, d)
		}
		return err
	})
}

func (m *model) scan(t *rapid.T) {
	after := rapid.SampledFrom([]string{"", keyN(0), keyN(2), "A0002x", keyN(4)}).Draw(t, "after")
	limit := rapid.IntRange(1, 6).Draw(t, "limit")
	var want []store.Record
	for _, key := range slices.Sorted(maps.Keys(m.st.records)) {
		if key > after && len(want) < limit {
			want = append(want, m.st.records[key])
		}
	}
	m.view(t, func(r store.Reader) error {
		var got []store.Record
		err := r.Scan(store.Account, after, func(rec store.Record) bool {
			got = append(got, rec)
			return len(got) < limit
		})
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("scan after %q, limit %d (-want +got):\n%s", after, limit, d)
		}
		return err
	})
}

// compare checks what every step must leave alike.
func (m *model) compare(t *rapid.T) {
	m.view(t, func(r store.Reader) error {
		head, err := r.Head()
		if err != nil || head != uint64(len(m.st.changes)) {
			t.Fatalf("head %d, %v; want %d", head, err, len(m.st.changes))
		}
		for i := range 5 {
			want, ok := m.st.records[keyN(i)]
			got, err := r.Get(store.Account, keyN(i))
			if ok != (err == nil) || !ok && !errors.Is(err, store.ErrNotFound) || !cmp.Equal(want, got) {
				t.Fatalf("record %d: %+v, %v; want %+v", i, got, err, want)
			}
		}
		for name, want := range m.st.values {
			if got, err := r.Meta(name); err != nil || got != want {
				t.Fatalf("value %q: %q, %v; want %q", name, got, err, want)
			}
		}
		return nil
	})
}
