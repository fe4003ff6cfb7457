package pg

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	holdEvery = 250 * time.Millisecond // between two attempts to get a lock
	heldEvery = time.Second            // between two looks whether it is still held
	heldWait  = 3 * time.Second        // for the answer
)

// Hold calls f whenever this process gets the lock called name, which one
// process on the database has at a time, until f returns by itself or ctx ends.
// The context of f ends when the lock is lost, since the database is away or
// the connection broke: another process may have it from then on.
func (s *Store) Hold(ctx context.Context, name string, f func(context.Context) error) error {
	for ctx.Err() == nil {
		done, err := s.holdOnce(ctx, name, f)
		if done {
			return err
		}
		pause(ctx, holdEvery)
	}
	return ctx.Err()
}

// holdOnce tries on one connection. It is done when f has returned by itself.
func (s *Store) holdOnce(ctx context.Context, name string, f func(context.Context) error) (done bool, err error) {
	cfg := s.conn.Copy()
	// The database notices within seconds when this machine vanishes.
	cfg.RuntimeParams = maps.Clone(cfg.RuntimeParams)
	maps.Copy(cfg.RuntimeParams, map[string]string{
		"application_name":    "accountd " + name,
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3",
	})
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := getLock(ctx, conn, name); err != nil {
		return false, err
	}
	held, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		lost(watchLock(held, conn))
	}()
	err = f(held)
	lost(nil)
	<-watched
	if errors.Is(context.Cause(held), errLost) || err != nil && ctx.Err() == nil && conn.Ping(ctx) != nil {
		return false, err // for want of the database
	}
	return true, err
}

// getLock asks for a lock until it is given. (To wait for it in one statement
// would hold up the clean-up of the database all the while.)
func getLock(ctx context.Context, conn *pgx.Conn, name string) error {
	for {
		var got bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended($1, 0))`, "accountd "+name).Scan(&got); err != nil || got {
			return err
		}
		if !pause(ctx, holdEvery) {
			return ctx.Err()
		}
	}
}

// errLost says that a lock is no longer held.
var errLost = errors.New("the lock is lost")

// watchLock returns errLost when the session of a lock ends, nil with ctx.
func watchLock(ctx context.Context, conn *pgx.Conn) error {
	for pause(ctx, heldEvery) {
		within, cancel := context.WithTimeout(ctx, heldWait)
		err := conn.Ping(within)
		cancel()
		if err != nil && ctx.Err() == nil {
			return errLost
		}
	}
	return nil
}

// pause waits for d and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
