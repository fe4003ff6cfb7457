// Package storetest checks that an implementation of store.Store keeps the
// promises of package store, and injects the failures that a caller must bear.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/accountd/accountd/store"
)

// patience bounds every wait of the suite.
const patience = 30 * time.Second

// Open makes an empty store for one test and closes it at the end of t.
type Open func(t *testing.T) store.Store

// Run runs the suite on the stores that open makes. What must hold for a caller
// that repeats its conditional writes runs twice: on the plain store and on one
// with injected failures.
func Run(t *testing.T, open Open) {
	for name, f := range contract() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(newHarness(t, open(t)))
		})
	}
	for name, f := range underFaults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(newHarness(t, open(t)))
		})
		t.Run(name+"/faulty", func(t *testing.T) {
			t.Parallel()
			plan := Random(rand.New(rand.NewPCG(1, 2)), 3)
			f(newHarness(t, NewFaulty(open(t), plan)))
		})
	}
	t.Run("model", func(t *testing.T) {
		t.Parallel()
		testModel(t, open)
	})
}

func contract() map[string]func(*harness) {
	return map[string]func(*harness){
		"atomicity":          testAtomicity,
		"panic":              testPanic,
		"conditional put":    testConditionalPut,
		"refused input":      testRefusedInput,
		"round trip":         testRoundTrip,
		"own writes":         testOwnWrites,
		"several puts":       testSeveralPuts,
		"view isolation":     testViewIsolation,
		"scan":               testScan,
		"scan while writing": testScanWhileWriting,
		"changes":            testChanges,
		"tombstones":         testTombstones,
		"large records":      testLargeRecords,
		"nonces":             testNonces,
		"nonce burst":        testNonceBurst,
		"enrolments":         testEnrolments,
		"forgotten uses":     testForgetUses,
		"meta":               testMeta,
		"context":            testContext,
		"closed":             testClosed,
	}
}

func underFaults() map[string]func(*harness) {
	return map[string]func(*harness){
		"repeated put":       testRepeatedPut,
		"concurrent writers": testConcurrentWriters,
		"wakeups":            testWakeups,
		"uses of a token":    testConcurrentUses,
	}
}

// harness is one store under test.
type harness struct {
	*testing.T
	ctx context.Context
	s   store.Store
}

func newHarness(t *testing.T, s store.Store) *harness {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return &harness{T: t, ctx: ctx, s: s}
}

// update fails the test when f cannot be committed.
func (h *harness) update(f func(store.Tx) error) {
	h.Helper()
	if err := h.s.Update(h.ctx, f); err != nil {
		h.Fatalf("update: %v", err)
	}
}

func (h *harness) view(f func(store.Reader)) {
	h.Helper()
	err := h.s.View(h.ctx, func(r store.Reader) error {
		f(r)
		return nil
	})
	if err != nil {
		h.Fatalf("view: %v", err)
	}
}

// put replaces the record of key, whose revision is base, the way a careful
// caller does: it repeats the write while it is not known to be committed, and
// after a conflict looks whether an attempt of its own caused it. jwt must be
// unique in the test.
func (h *harness) put(key string, base uint64, jwt string) (store.Record, error) {
	unknown := false
	for {
		var got store.Record
		err := h.s.Update(h.ctx, func(tx store.Tx) (err error) {
			got, err = tx.Put(base, account(key, jwt), change(key))
			return err
		})
		switch {
		case errors.Is(err, store.ErrUnknown):
			unknown = true
		case errors.Is(err, store.ErrConflict) && unknown:
			if own, gerr := h.get(key); gerr == nil && own.JWT == jwt {
				return own, nil
			}
			return got, err
		case !errors.Is(err, ErrInjected):
			return got, err
		}
	}
}

func (h *harness) mustPut(key string, base uint64, jwt string) store.Record {
	h.Helper()
	rec, err := h.put(key, base, jwt)
	if err != nil {
		h.Fatalf("put %s on %d: %v", key, base, err)
	}
	return rec
}

func (h *harness) get(key string) (rec store.Record, err error) {
	verr := h.s.View(h.ctx, func(r store.Reader) error {
		rec, err = r.Get(store.Account, key)
		return nil
	})
	return rec, errors.Join(verr, err)
}

func (h *harness) head() (head uint64) {
	h.Helper()
	h.view(func(r store.Reader) { head = h.headOf(r) })
	return head
}

func (h *harness) headOf(r store.Reader) uint64 {
	h.Helper()
	head, err := r.Head()
	if err != nil {
		h.Fatalf("head: %v", err)
	}
	return head
}

func (h *harness) changesOf(r store.Reader, after uint64, limit int) []store.Change {
	h.Helper()
	got, err := r.Changes(after, limit)
	if err != nil {
		h.Fatalf("changes after %d: %v", after, err)
	}
	return got
}

// keysOf returns the keys that Scan visits, up to limit.
func (h *harness) keysOf(r store.Reader, kind store.Kind, after string, limit int) (keys []string) {
	h.Helper()
	err := r.Scan(kind, after, func(rec store.Record) bool {
		keys = append(keys, rec.Key)
		return len(keys) < limit
	})
	if err != nil {
		h.Fatalf("scan after %q: %v", after, err)
	}
	return keys
}

// wantErr fails the test unless err wraps want.
func (h *harness) wantErr(what string, err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Errorf("%s: got %v, want an error that wraps %q", what, err, want)
	}
}

// complete checks that the change sequence has no gap and agrees with the
// records, and returns it.
func (h *harness) complete() (all []store.Change) {
	h.Helper()
	h.view(func(r store.Reader) {
		all = h.changesOf(r, 0, 1<<20)
		last := map[string]store.Change{}
		for i, ch := range all {
			before := last[ch.Key]
			if ch.Seq != uint64(i+1) || ch.Revision != before.Revision+1 {
				h.Fatalf("change %d is %d, revision %d after %d", i+1, ch.Seq, ch.Revision, before.Revision)
			}
			last[ch.Key] = ch
		}
		if head := h.headOf(r); head != uint64(len(all)) {
			h.Fatalf("head is %d of %d changes", head, len(all))
		}
		for key, ch := range last {
			rec, err := r.Get(ch.Kind, key)
			if err != nil || rec.Seq != ch.Seq || rec.Revision != ch.Revision {
				h.Fatalf("record %s: %d/%d, %v; change: %d/%d", key, rec.Revision, rec.Seq, err, ch.Revision, ch.Seq)
			}
		}
	})
	return all
}

func account(key, jwt string) store.Record {
	return store.Record{Kind: store.Account, Key: key, Name: "n-" + key, ID: "id-" + jwt, JWT: jwt}
}

func change(key string) store.Change {
	return store.Change{Kind: store.Account, Key: key, Action: "put", Time: noon()}
}

// noon is a fixed time; the suite needs no clock.
func noon() time.Time { return time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC) }

func keyN(n int) string { return fmt.Sprintf("A%04d", n) }
