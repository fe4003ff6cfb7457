package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

var errDisk = errors.New("disk on fire")

// commitThen commits and then fails, as a failing sync of the meta page does.
func commitThen(btx *bbolt.Tx) error { return errors.Join(btx.Commit(), errDisk) }

// noCommit fails before the meta page is written.
func noCommit(*bbolt.Tx) error { return errDisk }

func put(s store.Store, base uint64) error {
	return s.Update(context.Background(), func(tx store.Tx) error {
		_, err := tx.Put(base, store.Record{Kind: store.Account, Key: "A1", JWT: "j"}, store.Change{})
		return err
	})
}

func headOf(s store.Store) (head uint64, err error) {
	err = s.View(context.Background(), func(r store.Reader) error {
		head, err = r.Head()
		return err
	})
	return head, err
}

func TestCommitFailsBefore(t *testing.T) {
	t.Parallel()
	s := open(t, temp(t))
	s.SetCommit(noCommit)
	err := put(s, 0)
	if !errors.Is(err, errDisk) || errors.Is(err, store.ErrUnknown) || !fault.Is(err, fault.Unavailable) {
		t.Errorf("put: %v", err)
	}
	if head, err := headOf(s); head != 0 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
	s.SetCommit((*bbolt.Tx).Commit)
	if err := put(s, 0); err != nil {
		t.Error(err)
	}
}

// TestCommitFailsAfter loses the outcome of a commit: nobody reads its state
// before another commit has made it durable.
func TestCommitFailsAfter(t *testing.T) {
	t.Parallel()
	path := temp(t)
	s := open(t, path)
	changed := s.Changed()
	s.SetCommit(commitThen)
	if err := put(s, 0); !errors.Is(err, store.ErrUnknown) || !errors.Is(err, errDisk) || !fault.Is(err, fault.Unavailable) {
		t.Errorf("put: %v", err)
	}
	select {
	case <-changed:
	default:
		t.Error("followers were not woken")
	}
	s.SetCommit(noCommit)
	if _, err := headOf(s); !errors.Is(err, errDisk) {
		t.Errorf("a state that may vanish was read: %v", err)
	}
	if err := put(s, 1); !errors.Is(err, errDisk) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("put on it: %v", err)
	}
	if err := s.Check(context.Background()); !errors.Is(err, errDisk) {
		t.Errorf("check of it: %v", err)
	}
	s.SetCommit((*bbolt.Tx).Commit)
	if head, err := headOf(s); head != 1 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
	if err := put(s, 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("repeated put: %v", err)
	}
	if err := errors.Join(put(s, 1), s.Check(context.Background())); err != nil {
		t.Error(err)
	}
}

// TestCommitPanics leaves a state in memory that cannot be trusted.
func TestCommitPanics(t *testing.T) {
	t.Parallel()
	path := temp(t)
	s := open(t, path)
	fill(t, s)
	s.SetCommit(func(*bbolt.Tx) error { panic("page 7 is no page") })
	if err := put(s, 1); !errors.Is(err, bolt.ErrDamaged) || !fault.Is(err, fault.Invalid) {
		t.Errorf("put: %v", err)
	}
	s.SetCommit((*bbolt.Tx).Commit)
	if _, err := headOf(s); !errors.Is(err, bolt.ErrDamaged) {
		t.Errorf("view: %v", err)
	}
	if err := put(s, 1); !errors.Is(err, bolt.ErrDamaged) {
		t.Errorf("put: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	filled(t, open(t, path))
}

// TestViewWaitsForTheDisk begins no View between the write of a commit and its
// sync.
func TestViewWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	s := open(t, temp(t))
	written, sync := make(chan struct{}), make(chan struct{})
	s.SetCommit(func(btx *bbolt.Tx) error {
		err := btx.Commit()
		close(written)
		<-sync
		return err
	})
	done, seen := make(chan error), make(chan uint64, 1)
	go func() { done <- put(s, 0) }()
	<-written
	go func() {
		head, err := headOf(s)
		seen <- head
		done <- err
	}()
	select {
	case head := <-seen:
		t.Errorf("a view saw head %d before it was durable", head)
	case <-time.After(20 * time.Millisecond): // a view takes microseconds
	}
	close(sync)
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
}

// TestSwallowedFailure commits nothing when the function hides that a write
// failed half-way.
func TestSwallowedFailure(t *testing.T) {
	t.Parallel()
	s := open(t, temp(t))
	err := s.Update(context.Background(), func(tx store.Tx) error {
		year := time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC) // JSON knows four digits
		_, err := tx.Put(0, store.Record{Kind: store.Account, Key: "A1"}, store.Change{Time: year})
		if err == nil {
			t.Error("a change that cannot be encoded was admitted")
		}
		return tx.SetMeta("m", "v")
	})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
	if head, err := headOf(s); head != 0 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
}

// TestUseAfterEnd uses a transaction that has ended.
func TestUseAfterEnd(t *testing.T) {
	t.Parallel()
	s := open(t, temp(t))
	fill(t, s)
	var kept store.Tx
	if err := s.Update(context.Background(), func(tx store.Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	_, err := kept.Get(store.Account, "A1")
	_, err2 := kept.Put(1, store.Record{Kind: store.Account, Key: "A1"}, store.Change{})
	for _, err := range []error{err, err2, kept.SetMeta("m", "w"), kept.UseNonce("x", time.Unix(1, 0), time.Unix(2, 0))} {
		if !fault.Is(err, fault.Internal) {
			t.Errorf("got %v", err)
		}
	}
	filled(t, s)
}

// TestCloseWaits closes a store under a View and an Update.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	s := open(t, temp(t))
	closed := make(chan error, 1)
	err := s.Update(context.Background(), func(tx store.Tx) error {
		return s.View(context.Background(), func(r store.Reader) error {
			go func() { closed <- s.Close() }()
			select {
			case err := <-closed:
				t.Errorf("closed under transactions: %v", err)
			case <-time.After(10 * time.Millisecond):
			}
			_, err := r.Head()
			return errors.Join(err, tx.SetMeta("m", "v"))
		})
	})
	if err := errors.Join(err, <-closed); err != nil {
		t.Error(err)
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	s := open(t, temp(t))
	fill(t, s)
	w := &busyWriter{t: t, s: s, base: 1}
	if err := s.Backup(context.Background(), w); err != nil {
		t.Fatal(err)
	}
	if w.base < 3 {
		t.Error("nothing was written during the backup")
	}
	path := temp(t)
	if err := os.WriteFile(path, w.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	filled(t, open(t, path))

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Backup(ctx, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled backup: %v", err)
	}
	full := func(p []byte) (int, error) { return 0, errDisk }
	if err := s.Backup(context.Background(), writer(full)); !errors.Is(err, errDisk) {
		t.Errorf("backup to a full disk: %v", err)
	}
}

// busyWriter puts a record whenever the backup hands it a piece.
type busyWriter struct {
	bytes.Buffer
	t    *testing.T
	s    *bolt.Store
	base uint64
}

func (w *busyWriter) Write(p []byte) (int, error) {
	mustPut(w.t, w.s, w.base, store.Record{Kind: store.Account, Key: "A1", JWT: "later"})
	w.base++
	return w.Buffer.Write(p)
}

type writer func([]byte) (int, error)

func (f writer) Write(p []byte) (int, error) { return f(p) }
