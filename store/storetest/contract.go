package storetest

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
)

func testAtomicity(h *harness) {
	h.mustPut("A1", 0, "one")
	boom := errors.New("boom")
	err := h.s.Update(h.ctx, func(tx store.Tx) error {
		_, err1 := tx.Put(1, account("A1", "two"), change("A1"))
		_, err2 := tx.Put(0, account("A2", "new"), change("A2"))
		err3 := tx.SetMeta("m", "v")
		err4 := tx.UseNonce("n", noon(), noon().Add(time.Hour))
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			h.Errorf("writes: %v", err)
		}
		return boom
	})
	if err != boom {
		h.Errorf("error of the function came back as %v", err)
	}
	if rec, err := h.get("A1"); err != nil || rec.JWT != "one" || rec.Revision != 1 {
		h.Errorf("A1 after a rollback: %+v, %v", rec, err)
	}
	_, err = h.get("A2")
	h.wantErr("A2 after a rollback", err, store.ErrNotFound)
	h.view(func(r store.Reader) {
		if m, err := r.Meta("m"); m != "" || err != nil {
			h.Errorf("value after a rollback: %q, %v", m, err)
		}
	})
	h.update(func(tx store.Tx) error { return tx.UseNonce("n", noon(), noon().Add(time.Hour)) })
	if all := h.complete(); len(all) != 1 {
		h.Errorf("%d changes after a rollback", len(all))
	}
	if rec := h.mustPut("A2", 0, "new"); rec.Seq != 2 {
		h.Errorf("a rollback used up a sequence number: next is %d", rec.Seq)
	}
}

func testPanic(h *harness) {
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				h.Errorf("panic of the function came out as %v", p)
			}
		}()
		_ = h.s.Update(h.ctx, func(tx store.Tx) error {
			_, _ = tx.Put(0, account("A1", "one"), change("A1"))
			panic("boom")
		})
	}()
	_, err := h.get("A1")
	h.wantErr("record after a panic", err, store.ErrNotFound)
	h.mustPut("A1", 0, "two")
}

func testConditionalPut(h *harness) {
	h.mustPut("A1", 0, "one")
	h.mustPut("A1", 1, "two")
	for _, c := range []struct {
		key  string
		base uint64
	}{{"A1", 0}, {"A1", 1}, {"A1", 3}, {"A2", 1}, {"A2", math.MaxUint64}} {
		_, err := h.put(c.key, c.base, "refused")
		h.wantErr("put on another revision", err, store.ErrConflict)
	}
	// A conflict writes nothing and does not spoil the transaction.
	h.update(func(tx store.Tx) error {
		_, err := tx.Put(1, account("A1", "refused"), change("A1"))
		h.wantErr("put on an older revision", err, store.ErrConflict)
		_, err = tx.Put(0, account("A2", "other"), change("A2"))
		return err
	})
	if rec, err := h.get("A1"); err != nil || rec.JWT != "two" {
		h.Errorf("record after conflicts: %+v, %v", rec, err)
	}
	if all := h.complete(); len(all) != 3 {
		h.Errorf("%d changes, want 3", len(all))
	}
}

func testRefusedInput(h *harness) {
	h.update(func(tx store.Tx) error {
		for name, err := range map[string]error{
			"put without a key":         putErr(tx, account("", "j"), store.Change{}),
			"put with a long key":       putErr(tx, account(strings.Repeat("A", 2000), "j"), store.Change{}),
			"put without a kind":        putErr(tx, store.Record{Key: "A1"}, store.Change{}),
			"put with another's change": putErr(tx, account("A1", "j"), change("A2")),
			"put with another kind":     putErr(tx, account("A1", "j"), store.Change{Kind: store.Operator}),
			"nonce without text":        tx.UseNonce("", noon(), noon()),
			"nonce of 2,000 bytes":      tx.UseNonce(strings.Repeat("n", 2000), noon(), noon()),
			"value without a name":      tx.SetMeta("", "v"),
		} {
			if err == nil {
				h.Errorf("%s: admitted", name)
			}
		}
		return nil
	})
	if all := h.complete(); len(all) != 0 {
		h.Errorf("%d changes of refused input", len(all))
	}
}

func putErr(tx store.Tx, rec store.Record, ch store.Change) error {
	_, err := tx.Put(0, rec, ch)
	return err
}

func testRoundTrip(h *harness) {
	rec := store.Record{
		Kind: store.Operator, Key: "O1", Name: "op <&> \u2028 é", ID: "jti", IssuedAt: 1_900_000_000, JWT: "a.b.c", Deleted: true,
		Dropped:  []revocation.Dropped{{Entry: revocation.Entry{Key: "U1", At: 5}, Because: revocation.Covered}},
		Retired:  map[string]int64{"K1": 9},
		Exports:  []store.ExportList{{Type: "stream", Subject: "a.>", Revoked: revocation.List{"A2": 1}}},
		Findings: []string{"unresolved import"},
	}
	ch := store.Change{
		Time: noon().Add(123 * time.Nanosecond).In(time.FixedZone("", 3600)), Actor: "O1", Via: "nats",
		Action: "operator.put", Name: rec.Name, Base: "none", ID: "jti", Before: "00", After: "ff", Request: "r1",
		Host: "h", Summary: []string{"first", "second"},
	}
	var put store.Record
	h.update(func(tx store.Tx) (err error) {
		put, err = tx.Put(0, rec, ch)
		return err
	})
	rec.Revision, rec.Seq = 1, 1
	ch.Kind, ch.Key, ch.Revision, ch.Seq, ch.Time = rec.Kind, rec.Key, 1, 1, ch.Time.UTC()
	h.view(func(r store.Reader) {
		got, err := r.Get(store.Operator, "O1")
		if err != nil {
			h.Fatal(err)
		}
		all := h.changesOf(r, 0, 10)
		for _, d := range []string{cmp.Diff(rec, put), cmp.Diff(rec, got), cmp.Diff([]store.Change{ch}, all)} {
			if d != "" {
				h.Errorf("differs (-want +got):\n%s", d)
			}
		}
		if zone := all[0].Time.Location(); zone != time.UTC {
			h.Errorf("the log has times in zone %q", zone)
		}
		_, err = r.Get(store.Account, "O1")
		h.wantErr("get of another kind", err, store.ErrNotFound)
	})
}

func testOwnWrites(h *harness) {
	h.update(func(tx store.Tx) error {
		_, err := tx.Put(0, account("A1", "one"), change("A1"))
		if err := errors.Join(err, tx.SetMeta("m", "v")); err != nil {
			return err
		}
		rec, err := tx.Get(store.Account, "A1")
		if err != nil || rec.Revision != 1 {
			h.Errorf("own record: %+v, %v", rec, err)
		}
		m, err := tx.Meta("m")
		if err != nil || m != "v" {
			h.Errorf("own value: %q, %v", m, err)
		}
		if h.headOf(tx) != 1 || len(h.changesOf(tx, 0, 9)) != 1 || len(h.keysOf(tx, store.Account, "", 9)) != 1 {
			h.Error("own change or record not seen")
		}
		err = tx.UseNonce("n", noon(), noon().Add(time.Hour))
		h.wantErr("own nonce", errors.Join(err, tx.UseNonce("n", noon(), noon().Add(time.Hour))), store.ErrReplay)
		return nil
	})
}

func testSeveralPuts(h *harness) {
	h.update(func(tx store.Tx) error {
		for i := range uint64(3) {
			a, err1 := tx.Put(i, account("A1", "j"), change("A1"))
			b, err2 := tx.Put(i, account("A2", "j"), change("A2"))
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if a.Revision != i+1 || a.Seq != 2*i+1 || b.Seq != 2*i+2 {
				h.Errorf("puts %d: %d/%d and %d/%d", i, a.Revision, a.Seq, b.Revision, b.Seq)
			}
		}
		return nil
	})
	if all := h.complete(); len(all) != 6 {
		h.Errorf("%d changes, want 6", len(all))
	}
}

func testViewIsolation(h *harness) {
	h.mustPut("A1", 0, "one")
	h.view(func(r store.Reader) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.mustPutAsync("A1", 1, "two")
			h.mustPutAsync("A2", 0, "new")
		}()
		<-done
		rec, err := r.Get(store.Account, "A1")
		if err != nil || rec.JWT != "one" || h.headOf(r) != 1 {
			h.Errorf("a view saw a later state: %+v, %v", rec, err)
		}
		if keys := h.keysOf(r, store.Account, "", 9); len(keys) != 1 {
			h.Errorf("a view saw %v", keys)
		}
	})
	h.update(func(tx store.Tx) error {
		_, err := tx.Put(2, account("A1", "three"), change("A1"))
		if rec, gerr := h.get("A1"); gerr != nil || rec.JWT != "two" {
			h.Errorf("a view saw an uncommitted state: %+v, %v", rec, gerr)
		}
		return err
	})
}

// mustPutAsync is mustPut for another goroutine than the test's.
func (h *harness) mustPutAsync(key string, base uint64, jwt string) {
	if _, err := h.put(key, base, jwt); err != nil {
		h.Errorf("put %s on %d: %v", key, base, err)
	}
}

func testLargeRecords(h *harness) {
	jwt := strings.Repeat("x", 1<<20)
	rec := account("A1", jwt)
	for i := range 11_000 {
		e := revocation.Entry{Key: "U" + strings.Repeat("K", 50) + keyN(i), At: int64(i)}
		rec.Dropped = append(rec.Dropped, revocation.Dropped{Entry: e, Because: revocation.Covered})
	}
	for base := range uint64(3) {
		h.update(func(tx store.Tx) error {
			_, err := tx.Put(base, rec, change("A1"))
			return err
		})
	}
	got, err := h.get("A1")
	if err != nil || got.JWT != jwt || len(got.Dropped) != len(rec.Dropped) || got.Revision != 3 {
		h.Errorf("large record: %d bytes, %d entries, revision %d, %v", len(got.JWT), len(got.Dropped), got.Revision, err)
	}
}

func testMeta(h *harness) {
	for _, value := range []string{"one", "", "two", strings.Repeat("v", 10_000)} {
		h.update(func(tx store.Tx) error { return tx.SetMeta("m", value) })
		h.view(func(r store.Reader) {
			got, err := r.Meta("m")
			other, err2 := r.Meta("other")
			if got != value || other != "" || err != nil || err2 != nil {
				h.Errorf("values: %q %q, %v %v", got, other, err, err2)
			}
		})
	}
	if h.head() != 0 {
		h.Error("a value appended a change")
	}
}

func testContext(h *harness) {
	never := func() { h.Error("the function ran") }
	ctx, cancel := context.WithCancel(h.ctx)
	cancel()
	h.wantErr("update", h.s.Update(ctx, func(store.Tx) error { never(); return nil }), context.Canceled)
	h.wantErr("view", h.s.View(ctx, func(store.Reader) error { never(); return nil }), context.Canceled)

	// A writer that waits for another gives up with its context.
	h.update(func(store.Tx) error {
		ctx, cancel := context.WithTimeout(h.ctx, 10*time.Millisecond)
		defer cancel()
		done := make(chan error)
		go func() {
			done <- h.s.Update(ctx, func(store.Tx) error { return nil })
		}()
		// A store that lets both write at once may also return nil.
		if err := <-done; err != nil {
			h.wantErr("waiting update", err, context.DeadlineExceeded)
		}
		return nil
	})
}

func testClosed(h *harness) {
	h.mustPut("A1", 0, "one")
	changed := h.s.Changed()
	if err := errors.Join(h.s.Close(), h.s.Close()); err != nil {
		h.Errorf("close: %v", err)
	}
	h.wait("followers to wake", changed)
	h.wait("later followers to wake", h.s.Changed())
	h.wantErr("update", h.s.Update(h.ctx, func(store.Tx) error { return nil }), store.ErrClosed)
	h.wantErr("view", h.s.View(h.ctx, func(store.Reader) error { return nil }), store.ErrClosed)
}

func (h *harness) wait(what string, ch <-chan struct{}) {
	h.Helper()
	select {
	case <-ch:
	case <-h.ctx.Done():
		h.Fatalf("waited in vain for %s", what)
	}
}
