package pg

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// holder is one process that holds the lock called name whenever it can.
type holder struct {
	held, lost chan struct{} // one token each time
	stop       func() error
}

func hold(t *testing.T, s *Store, name string) *holder {
	t.Helper()
	h := &holder{held: make(chan struct{}, 10), lost: make(chan struct{}, 10)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Hold(ctx, name, func(ctx context.Context) error {
			h.held <- struct{}{}
			<-ctx.Done()
			h.lost <- struct{}{}
			return ctx.Err()
		})
	}()
	h.stop = func() error { cancel(); return <-ended }
	t.Cleanup(cancel)
	return h
}

func token(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatal(what)
	}
}

// TestHold: one process at a time holds a lock; the next one gets it when the
// first ends, and when the database ends the session of the first, which then
// is told.
func TestHold(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	a, b := open(t, dsn), open(t, dsn)
	first := hold(t, a, "one")
	token(t, "nobody holds the lock", first.held)
	second := hold(t, b, "one")
	token(t, "another lock is not free", hold(t, b, "two").held)
	if len(second.held) > 0 {
		t.Fatal("two hold the same lock")
	}
	admin, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(context.WithoutCancel(t.Context())) }()
	for range 2 { // whoever of the two has it
		if _, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'accountd one' AND pid IN
			(SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)`); err != nil {
			t.Fatal(err)
		}
		select {
		case <-first.lost:
		case <-second.lost:
		case <-time.After(30 * time.Second):
			t.Fatal("the holder is not told")
		}
		select {
		case <-first.held:
		case <-second.held:
		case <-time.After(30 * time.Second):
			t.Fatal("nobody takes over")
		}
	}
	if err := errors.Join(first.stop(), second.stop()); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	third := hold(t, a, "one")
	token(t, "the lock is not free at the end", third.held)
}

// TestHoldEndsWithItsFunction: what f says by itself is what Hold says.
func TestHoldEndsWithItsFunction(t *testing.T) {
	t.Parallel()
	s, want := open(t, database(t)), errors.New("done")
	if err := s.Hold(t.Context(), "one", func(context.Context) error { return want }); !errors.Is(err, want) {
		t.Fatal(err)
	}
}
