// Package pg keeps the state of the service in PostgreSQL 15 or newer, for any
// number of processes. It implements store.Store; the promises are those of
// package store.
//
// # Order
//
// Every Update locks the row of log_head before its function runs, so that
// writers follow each other: numbers are given and become visible in one order.
// (A sequence would be given out of commit order, and followers would skip.)
//
// # When a commit fails
//
// An answer of the server that names an error means that nothing was committed,
// but for one that it gives while it goes down. A connection that ends without
// an answer leaves the outcome open: Update returns store.ErrUnknown.
package pg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// statements bounds what a transaction does after its function began.
const statements = 30 * time.Second

// Store is a store.Store in a PostgreSQL database. Make it with Open.
type Store struct {
	pool *pgxpool.Pool
	conn *pgx.ConnConfig // for connections beside the pool
	name string          // of the database, for errors: no password

	closing chan struct{} // closed when Close begins
	close   func()
	stop    context.CancelFunc // ends the listener
	ended   chan struct{}      // closed when the listener has ended

	mu      sync.Mutex
	changed chan struct{}
}

var _ store.Store = (*Store)(nil)

// Open opens the database at the URL dsn. It refuses a schema that is newer
// than this program (store.ErrSchema) or older (hint: accountd migrate up).
func Open(ctx context.Context, dsn string) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil { // the library's error may show the password
		return nil, fault.New(fault.Usage, "the address of the database is not of the form postgres://user@host/database")
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open database: %w", err)
	}
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{
		pool: pool, conn: cfg.ConnConfig, name: nameOf(dsn), closing: make(chan struct{}), stop: stop,
		ended: make(chan struct{}), changed: make(chan struct{}),
	}
	s.close = sync.OnceFunc(s.shut)
	if err := s.checkSchema(ctx, dsn); err != nil {
		stop()
		pool.Close()
		return nil, err
	}
	go s.listen(listening)
	return s, nil
}

// nameOf shows a database without its password and options.
func nameOf(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme == "" {
		return "database"
	}
	return u.Host + u.Path
}

// View calls f with a Reader of one committed state.
func (s *Store) View(ctx context.Context, f func(store.Reader) error) error {
	// The first statement takes the snapshot.
	opts := pgx.TxOptions{BeginQuery: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1"}
	return s.run(ctx, opts, func(work context.Context, ptx pgx.Tx) error {
		return f(&reader{s: s, ctx: work, tx: ptx})
	})
}

// Update calls f in a transaction that follows all that came before it.
func (s *Store) Update(ctx context.Context, f func(store.Tx) error) error {
	return s.run(ctx, pgx.TxOptions{}, func(work context.Context, ptx pgx.Tx) error {
		var head int64
		if err := ptx.QueryRow(ctx, `SELECT seq FROM log_head FOR UPDATE`).Scan(&head); err != nil {
			return s.fail(ctx, "begin", err)
		}
		t := &txn{reader: reader{s: s, ctx: work, tx: ptx}, head: uint64(head), began: uint64(head)}
		if err := f(t); err != nil {
			return err
		}
		if t.failed != nil {
			return t.failed
		}
		return s.commit(work, t)
	})
}

// run begins a transaction, honouring ctx until then, and ends it after f.
func (s *Store) run(ctx context.Context, opts pgx.TxOptions, f func(context.Context, pgx.Tx) error) error {
	select {
	case <-s.closing:
		return s.closed()
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return s.fail(ctx, "connect", err)
	}
	defer conn.Release()
	ptx, err := conn.BeginTx(ctx, opts)
	if err != nil {
		return s.fail(ctx, "begin", err)
	}
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), statements)
	defer cancel()
	defer func() { _ = ptx.Rollback(work) }() // no-op after a commit
	return f(work, ptx)
}

// commit ends a transaction, and wakes followers if it appended a change or
// may have.
func (s *Store) commit(ctx context.Context, t *txn) error {
	if t.head > t.began {
		if _, err := t.tx.Exec(ctx, `UPDATE log_head SET seq = $1`, int64(t.head)); err != nil {
			return s.fail(ctx, "commit", err)
		}
		if _, err := t.tx.Exec(ctx, `SELECT pg_notify($1, '')`, channel); err != nil {
			return s.fail(ctx, "commit", err)
		}
	}
	err := t.tx.Commit(ctx)
	if err != nil {
		err = s.commitFailure(ctx, err)
	}
	if t.head > t.began && (err == nil || errors.Is(err, store.ErrUnknown)) {
		s.wake(make(chan struct{}))
	}
	return err
}

// commitFailure says what a failed COMMIT leaves. Errors of the classes for
// rollbacks and violated constraints come before anything is committed.
func (s *Store) commitFailure(ctx context.Context, err error) error {
	var answer *pgconn.PgError
	if errors.Is(err, pgx.ErrTxCommitRollback) ||
		errors.As(err, &answer) && (strings.HasPrefix(answer.Code, "40") || strings.HasPrefix(answer.Code, "23")) {
		return s.fail(ctx, "commit", err)
	}
	return s.fail(ctx, "commit", fmt.Errorf("%w: %w", store.ErrUnknown, err))
}

// Changed returns a channel that is closed at the next commit of any process
// that appends a change, and when the store is closed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// wake ends the wait of all followers; later ones wait for next.
func (s *Store) wake(next chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = next
}

// Close waits for the transactions that run, refuses new ones and wakes all
// followers. Closing again does nothing.
func (s *Store) Close() error {
	s.close()
	return nil
}

func (s *Store) shut() {
	close(s.closing)
	s.pool.Close()
	s.stop()
	<-s.ended
	gone := make(chan struct{})
	s.wake(gone)
	close(gone)
}

func (s *Store) closed() error {
	return fault.New(fault.Unavailable, "use store %s: %w", s.name, store.ErrClosed).About("store", s.name)
}

// fail names the operation and the store. An ended context is the caller's own.
func (s *Store) fail(ctx context.Context, op string, err error) error {
	if errors.Is(err, store.ErrUnknown) {
		return fault.New(fault.Unavailable, "%s in store %s: %w", op, s.name, err).About("store", s.name)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case <-s.closing:
		return s.closed()
	default:
	}
	return fault.New(fault.Unavailable, "%s in store %s: %w", op, s.name, err).About("store", s.name)
}
