// Package bolt keeps the state of the service in one bbolt file, for one
// process, without set-up. It implements store.Store; the promises are those of
// package store.
//
// # Layout
//
// The file has mode 0600 and holds six buckets:
//
//	accountd     what the file is: the schema number
//	records      one bucket a kind: key -> record
//	changes      sequence number, 8 bytes big-endian -> change
//	nonces       nonce -> until, 8 bytes big-endian, Unix milliseconds
//	nonce_times  until + nonce -> nothing: the order in which nonces are forgotten
//	values       name -> small named value
//
// A record or change is a CRC-32C, a number and JSON (codec.go). Nothing is
// read at open but the two ends of the change sequence, so that opening does
// not depend on the number of records.
//
// # When a commit fails
//
// bbolt writes and syncs the data pages, then one meta page, then syncs again.
// A failure before the meta page is in the file commits nothing. A failure
// after it leaves a state that this process would see and a power loss could
// take back: Update returns store.ErrUnknown, and the store lets nobody read
// until another commit has made that state durable. For the same reason no
// View begins while a commit is on its way to the disk.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"go.etcd.io/bbolt"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// Errors of this implementation; wrapped with the operation and the path.
var (
	ErrForeign = errors.New("not a store of accountd")
	ErrDamaged = errors.New("store is damaged")
)

// Store is a store.Store in one file. Make it with Open.
type Store struct {
	db     *bbolt.DB
	path   string
	commit func(*bbolt.Tx) error // (*bbolt.Tx).Commit; tests make it fail

	writer  chan struct{} // holds one token: the right to write
	closing chan struct{} // closed when Close begins
	close   func() error  // closes once

	// mu is held for a commit, and shared to begin a View.
	mu        sync.RWMutex
	unsettled bool  // the last commit is in the file, perhaps not on the disk
	broken    error // a commit panicked: the state in memory cannot be trusted

	wakeMu  sync.Mutex
	changed chan struct{}

	recent recent
}

var _ store.Store = (*Store)(nil)

func newStore(db *bbolt.DB, path string) *Store {
	s := &Store{
		db:      db,
		path:    path,
		commit:  (*bbolt.Tx).Commit,
		writer:  make(chan struct{}, 1),
		closing: make(chan struct{}),
		changed: make(chan struct{}),
	}
	s.writer <- struct{}{}
	s.close = sync.OnceValue(s.shut)
	return s
}

// View calls f with a Reader of one committed and durable state. It honours ctx
// until f begins. An error of f is returned as it is. A View must not call
// Update or Close, which may wait for it; one that lasts keeps the space of
// replaced records from being used again.
func (s *Store) View(ctx context.Context, f func(store.Reader) error) error {
	btx, err := s.beginView(ctx)
	if err != nil {
		return err
	}
	defer s.rollback(btx)
	return f(&reader{s: s, tx: btx})
}

// Update calls f once in a transaction, one Update at a time, and commits.
// It honours ctx until f begins. A function that wrote nothing costs no disk
// access.
func (s *Store) Update(ctx context.Context, f func(store.Tx) error) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	if err := s.settle(); err != nil {
		return err
	}
	btx, err := s.db.Begin(true)
	if err != nil {
		return s.fail("begin", err)
	}
	defer s.rollback(btx)
	t := &txn{reader: reader{s: s, tx: btx}}
	if err := f(t); err != nil {
		return err
	}
	if t.failed != nil || !t.wrote {
		return t.failed
	}
	err = s.finish(btx)
	if err == nil && len(t.put) > 0 {
		s.recent.add(t.put)
	}
	if len(t.put) > 0 && (err == nil || errors.Is(err, store.ErrUnknown)) {
		s.wake(make(chan struct{}))
	}
	return err
}

// Changed returns a channel that is closed at the next commit that appends a
// change, and when the store is closed.
func (s *Store) Changed() <-chan struct{} {
	s.wakeMu.Lock()
	defer s.wakeMu.Unlock()
	return s.changed
}

// Hold calls f: the process that has the file is the only one.
func (s *Store) Hold(ctx context.Context, _ string, f func(context.Context) error) error {
	return f(ctx)
}

// Close waits for the transactions that run, refuses new ones with
// store.ErrClosed, wakes all followers and releases the file. Further calls
// return what the first did.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	close(s.closing)
	<-s.writer // for ever
	s.mu.Lock()
	defer s.mu.Unlock()
	err := guard(s.db.Close)
	gone := make(chan struct{})
	s.wake(gone)
	close(gone)
	if err != nil {
		return s.fail("close", err)
	}
	return nil
}

// wake ends the wait of all followers; later ones wait for next.
func (s *Store) wake(next chan struct{}) {
	s.wakeMu.Lock()
	defer s.wakeMu.Unlock()
	close(s.changed)
	s.changed = next
}

// acquire waits for the right to write, for ctx, or for Close.
func (s *Store) acquire(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	select {
	case <-s.writer:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return s.closed()
	}
	if err := s.open(ctx); err != nil {
		s.release()
		return err
	}
	return nil
}

func (s *Store) release() { s.writer <- struct{}{} }

// open refuses a context that has ended and a store that is closed.
func (s *Store) open(ctx context.Context) error {
	select {
	case <-s.closing:
		return s.closed()
	default:
		return ctx.Err()
	}
}

func (s *Store) closed() error {
	return fault.New(fault.Unavailable, "use store %q: %w", s.path, store.ErrClosed).About("store", s.path)
}

// beginView begins to read as soon as the last commit is durable.
func (s *Store) beginView(ctx context.Context) (*bbolt.Tx, error) {
	for {
		s.mu.RLock()
		if err := s.open(ctx); err != nil || !s.unsettled {
			defer s.mu.RUnlock()
			if err = errors.Join(err, s.broken); err != nil {
				return nil, err
			}
			btx, err := s.db.Begin(false)
			if err != nil {
				return nil, s.fail("begin", err)
			}
			return btx, nil
		}
		s.mu.RUnlock()
		if err := s.acquire(ctx); err != nil {
			return nil, err
		}
		err := s.settle()
		s.release()
		if err != nil {
			return nil, err
		}
	}
}

// finish commits btx and says whether a failure left it uncommitted or unknown.
func (s *Store) finish(btx *bbolt.Tx) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := btx.ID()
	err := guard(func() error { return s.commit(btx) })
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrDamaged) {
		s.broken = s.fail("commit", err)
	}
	if s.visible(id) {
		s.unsettled = true
		return s.fail("commit", fmt.Errorf("%w: %w", store.ErrUnknown, err))
	}
	return s.fail("commit", err)
}

// visible reports whether the state of transaction id is in the file, or
// cannot be excluded to be.
func (s *Store) visible(id int) bool {
	seen := true
	err := guard(func() error {
		btx, err := s.db.Begin(false)
		if err != nil {
			return err
		}
		seen = btx.ID() >= id
		return btx.Rollback()
	})
	return err != nil || seen
}

// settle makes the state after an unknown commit durable with another commit.
// The caller has the right to write.
func (s *Store) settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil || !s.unsettled {
		return s.broken
	}
	err := guard(func() error {
		btx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		defer s.rollback(btx)
		if err := writeSchema(btx); err != nil {
			return err
		}
		return s.commit(btx)
	})
	if err != nil {
		return s.fail("make the last commit durable", err)
	}
	s.unsettled = false
	return nil
}

// rollback ends btx unless it is committed.
func (s *Store) rollback(btx *bbolt.Tx) {
	_ = guard(func() error { return btx.Rollback() }) // fails only when it has ended
}

// fail names the operation and the store, and classifies err.
func (s *Store) fail(op string, err error) error { return fail(op, s.path, err) }

func fail(op, path string, err error) error {
	f := fault.New(fault.Unavailable, "%s in store %q: %w", op, path, err).About("store", path)
	switch {
	case errors.Is(err, ErrDamaged):
		f.Code = fault.Invalid
		return f.WithHint("stop accountd and put a backup in the place of %s", path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return f.WithHint("make room on the disk of %s", path)
	}
	return f
}
