package storetest

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/accountd/accountd/store"
)

func testScan(h *harness) {
	h.view(func(r store.Reader) {
		if keys := h.keysOf(r, store.Account, "", 9); keys != nil {
			h.Errorf("an empty store has %v", keys)
		}
	})
	var want []string
	h.update(func(tx store.Tx) error {
		for _, n := range []int{7, 3, 9, 1, 5, 8, 2, 6, 4, 0} {
			rec := account(keyN(n), "j")
			rec.Deleted = n == 5
			if _, err := tx.Put(0, rec, change(rec.Key)); err != nil {
				return err
			}
			want = append(want, rec.Key)
		}
		_, err := tx.Put(0, store.Record{Kind: store.Operator, Key: "O1"}, store.Change{})
		return err
	})
	slices.Sort(want)
	h.view(func(r store.Reader) {
		h.same("all", want, h.keysOf(r, store.Account, "", 99))
		h.same("three", want[:3], h.keysOf(r, store.Account, "", 3))
		h.same("next", want[3:7], h.keysOf(r, store.Account, want[2], 4))
		h.same("after a key that is not there", want[3:4], h.keysOf(r, store.Account, want[2]+"x", 1))
		h.same("after the last", nil, h.keysOf(r, store.Account, want[9], 9))
		h.same("another kind", []string{"O1"}, h.keysOf(r, store.Operator, "", 9))
		h.same("unknown kind", nil, h.keysOf(r, "other", "", 9))
	})
}

func (h *harness) same(what string, want, got []string) {
	h.Helper()
	if d := cmp.Diff(want, got); d != "" {
		h.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// testScanWhileWriting replaces each record that a scan visits.
func testScanWhileWriting(h *harness) {
	const n = 50
	h.update(func(tx store.Tx) error {
		for i := range n {
			if _, err := tx.Put(0, account(keyN(i), "j"), change(keyN(i))); err != nil {
				return err
			}
		}
		return nil
	})
	h.update(func(tx store.Tx) error {
		seen := 0
		err := tx.Scan(store.Account, "", func(rec store.Record) bool {
			if rec.Key != keyN(seen) || rec.Revision != 1 {
				h.Errorf("visit %d: %s, revision %d", seen, rec.Key, rec.Revision)
			}
			seen++
			rec.JWT = fmt.Sprintf("%0*d", 100*seen, seen)
			if _, err := tx.Put(rec.Revision, rec, change(rec.Key)); err != nil {
				h.Errorf("put in a scan: %v", err)
			}
			return true
		})
		if seen != n {
			h.Errorf("visited %d of %d", seen, n)
		}
		return err
	})
	h.complete()
}

func testChanges(h *harness) {
	h.view(func(r store.Reader) {
		if got := h.changesOf(r, 0, 9); len(got) != 0 || h.headOf(r) != 0 {
			h.Errorf("an empty store has changes: %v", got)
		}
	})
	const n = 300
	h.update(func(tx store.Tx) error {
		for i := range n {
			if _, err := tx.Put(0, account(keyN(i), "j"), change(keyN(i))); err != nil {
				return err
			}
		}
		return nil
	})
	h.view(func(r store.Reader) {
		for _, c := range []struct {
			after uint64
			limit int
			want  int
		}{
			{0, 10, 10}, {0, n, n}, {0, n + 1, n}, {255, 10, 10}, {n - 3, 10, 3}, {n, 10, 0}, {n + 50, 10, 0},
			{math.MaxUint64, 10, 0}, {0, 0, 0},
		} {
			got := h.changesOf(r, c.after, c.limit)
			if len(got) != c.want {
				h.Errorf("changes after %d, limit %d: %d, want %d", c.after, c.limit, len(got), c.want)
			}
			for i, ch := range got {
				if ch.Seq != c.after+uint64(i)+1 {
					h.Errorf("changes after %d: place %d has %d", c.after, i, ch.Seq)
				}
			}
		}
	})
}

func testTombstones(h *harness) {
	h.mustPut("A1", 0, "one")
	tomb := account("A1", "one")
	tomb.Deleted, tomb.Retired = true, map[string]int64{"K": 1}
	h.update(func(tx store.Tx) error {
		_, err := tx.Put(1, tomb, change("A1"))
		return err
	})
	rec, err := h.get("A1")
	if err != nil || !rec.Deleted || rec.JWT != "one" || rec.Retired["K"] != 1 || rec.Revision != 2 {
		h.Errorf("tombstone: %+v, %v", rec, err)
	}
	_, err = h.put("A1", 0, "two")
	h.wantErr("put over a tombstone as if there were none", err, store.ErrConflict)
	h.mustPut("A1", 2, "three")
}

func testNonces(h *harness) {
	until := noon().Add(time.Minute)
	use := func(nonce string, now time.Time) error {
		return h.s.Update(h.ctx, func(tx store.Tx) error { return tx.UseNonce(nonce, now, now.Add(time.Minute)) })
	}
	if err := use("n", noon()); err != nil {
		h.Fatal(err)
	}
	h.wantErr("at once", use("n", noon()), store.ErrReplay)
	h.wantErr("before its time", use("n", until.Add(-time.Millisecond)), store.ErrReplay)
	h.wantErr("at its time", use("n", until), store.ErrReplay)
	if err := use("N", noon()); err != nil {
		h.Errorf("another nonce: %v", err)
	}
	if h.head() != 0 {
		h.Error("a nonce appended a change")
	}
}

// testNonceBurst forgets many old nonces and none that lives.
func testNonceBurst(h *harness) {
	const n = 200
	later := noon().Add(time.Hour)
	h.update(func(tx store.Tx) error {
		for i := range n {
			until := noon().Add(time.Duration(i) * time.Second)
			if i%2 == 0 {
				until = later.Add(time.Hour)
			}
			if err := tx.UseNonce(keyN(i), noon(), until); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range n {
		h.update(func(tx store.Tx) error { return tx.UseNonce("later"+keyN(i), later, later.Add(time.Minute)) })
	}
	for i := range n {
		err := h.s.Update(h.ctx, func(tx store.Tx) error { return tx.UseNonce(keyN(i), later, later.Add(time.Minute)) })
		if i%2 == 0 {
			h.wantErr("a nonce that lives", err, store.ErrReplay)
		}
	}
}
