package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/accountd/accountd/store"
)

// testRepeatedPut repeats every write that is not known to be committed, and
// finds each of them once.
func testRepeatedPut(h *harness) {
	const n = 60
	for i := range uint64(n) {
		rec := h.mustPut("A1", i, fmt.Sprint("v", i))
		if rec.Revision != i+1 || rec.Seq != i+1 {
			h.Fatalf("write %d: revision %d, sequence %d", i, rec.Revision, rec.Seq)
		}
	}
	if all := h.complete(); len(all) != n {
		h.Errorf("%d changes of %d writes", len(all), n)
	}
	_, err := h.put("A1", n-1, "stale")
	h.wantErr("a stale write", err, store.ErrConflict)
}

// testConcurrentWriters lets writers contend for the same records.
func testConcurrentWriters(h *harness) {
	const writers, puts, keys = 6, 20, 3
	acked := make(chan store.Record, writers*puts)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range puts {
				acked <- h.insist(keyN((w+i)%keys), fmt.Sprint(w, ".", i))
			}
		})
	}
	wg.Wait()
	close(acked)
	all := h.complete()
	if len(all) != writers*puts {
		h.Fatalf("%d changes of %d writes", len(all), writers*puts)
	}
	for rec := range acked {
		if rec.Seq == 0 {
			continue // reported by insist
		}
		ch := all[rec.Seq-1]
		if ch.Key != rec.Key || ch.Revision != rec.Revision || ch.Request != rec.JWT {
			h.Errorf("acknowledged %s/%d as change %d, which is %s/%d", rec.Key, rec.Revision, rec.Seq, ch.Key, ch.Revision)
		}
	}
}

// insist puts jwt on whatever is there: it reads and writes in one transaction,
// and repeats that until the change sequence shows that it was done.
func (h *harness) insist(key, jwt string) store.Record {
	for {
		var got store.Record
		err := h.s.Update(h.ctx, func(tx store.Tx) error {
			cur, err := tx.Get(store.Account, key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			ch := change(key)
			ch.Request = jwt
			got, err = tx.Put(cur.Revision, account(key, jwt), ch)
			return err
		})
		if errors.Is(err, store.ErrUnknown) {
			if done, ok := h.find(jwt); ok {
				return done
			}
			continue
		}
		if err == nil {
			return got
		}
		if !errors.Is(err, ErrInjected) {
			h.Errorf("put %s: %v", key, err)
			return store.Record{}
		}
	}
}

// find looks in the change sequence for the write that carried request.
func (h *harness) find(request string) (rec store.Record, ok bool) {
	err := h.s.View(h.ctx, func(r store.Reader) error {
		all, err := r.Changes(0, 1<<20)
		for _, ch := range all {
			if ch.Request == request {
				rec = store.Record{Key: ch.Key, Revision: ch.Revision, Seq: ch.Seq, JWT: request}
				ok = true
			}
		}
		return err
	})
	if err != nil {
		h.Errorf("changes: %v", err)
	}
	return rec, ok
}

// testWakeups lets followers that read only when they are woken follow writers
// to the end. A lost wakeup leaves one waiting.
func testWakeups(h *harness) {
	const writers, puts, followers = 4, 25, 4
	var wg sync.WaitGroup
	for range followers {
		wg.Go(func() { h.follow(writers * puts) })
	}
	for w := range writers {
		wg.Go(func() {
			for i := range uint64(puts) {
				h.mustPutAsync(keyN(w), i, fmt.Sprint(w, ".", i))
			}
		})
	}
	wg.Wait()
}

// follow reads the changes in order up to the given one.
func (h *harness) follow(last uint64) {
	for at := uint64(0); at < last; {
		changed := h.s.Changed()
		var some []store.Change
		err := h.s.View(h.ctx, func(r store.Reader) (err error) {
			some, err = r.Changes(at, 7)
			return err
		})
		if err != nil {
			h.Errorf("follow from %d: %v", at, err)
			return
		}
		for _, ch := range some {
			if at++; ch.Seq != at {
				h.Errorf("change %d came as number %d", ch.Seq, at)
				return
			}
		}
		if len(some) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-h.ctx.Done():
			h.Errorf("a follower waits at %d of %d", at, last)
			return
		}
	}
}
