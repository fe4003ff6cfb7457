package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/pgtest"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/storetest"
)

var server *pgtest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if server, err = pgtest.Start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = server.Close() }()
	ctx := context.Background()
	err = server.Exec(ctx, "CREATE DATABASE migrated")
	if err == nil {
		_, err = Migrate(ctx, server.URL("migrated"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// database makes a migrated database.
func database(t testing.TB) string {
	t.Helper()
	return server.Clone(t, "migrated")
}

func open(t testing.TB, dsn string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, database(t)) })
}

func TestSchema(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t)
	if _, err := Open(t.Context(), dsn); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.As(err).Hint, "migrate up") {
		t.Fatalf("a database without a schema: %v", err)
	}
	var wg sync.WaitGroup // many processes at once
	for range 4 {
		wg.Go(func() {
			if _, err := Migrate(context.Background(), dsn); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	steps, err := Status(t.Context(), dsn)
	if err != nil || len(steps) != 2 || !steps[0].Applied || !steps[1].Applied {
		t.Fatalf("%+v %v", steps, err)
	}
	s := open(t, dsn)
	if _, err := s.pool.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, true)`); err != nil {
		t.Fatal(err)
	}
	_, err1 := Open(t.Context(), dsn)
	_, err2 := Migrate(t.Context(), dsn)
	_, err3 := Status(t.Context(), dsn)
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, store.ErrSchema) || !fault.Is(err, fault.Invalid) {
			t.Errorf("a newer schema: %v", err)
		}
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"postgres://u:secret@%zz", "host=x port=secret"} {
		if _, err := Open(t.Context(), dsn); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := Open(ctx, "postgres://u:secret@127.0.0.1:1/db"); !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("nobody there: %v", err)
	}
}

// TestWakesOtherProcesses: a commit through one store wakes the followers of
// another on the same database, and so does its own commit.
func TestWakesOtherProcesses(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	a, b := open(t, dsn), open(t, dsn)
	for i := range uint64(20) {
		put(t, a, i)
		follow(t, b, i+1)
	}
}

func put(t *testing.T, s store.Store, base uint64) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Put(base, store.Record{Kind: store.Account, Key: "A1", JWT: "j"}, store.Change{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// follow waits until s shows change n.
func follow(t *testing.T, s store.Store, n uint64) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		changed := s.Changed()
		var head uint64
		err := s.View(t.Context(), func(r store.Reader) (err error) {
			head, err = r.Head()
			return err
		})
		if err == nil && head >= n {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("head %d, want %d: %v", head, n, err)
		}
	}
}

// TestFollowersNeverSkip: while many processes write, a follower sees every
// number once and in order.
func TestFollowersNeverSkip(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	const writers, each = 4, 25
	follower := open(t, dsn)
	var wg sync.WaitGroup
	for w := range writers {
		s := open(t, dsn)
		wg.Go(func() {
			for i := range uint64(each) {
				rec := store.Record{Kind: store.Account, Key: fmt.Sprintf("A%d", w), JWT: "j"}
				if err := s.Update(context.Background(), func(tx store.Tx) error {
					_, err := tx.Put(i, rec, store.Change{})
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var seen uint64
	for deadline := time.After(time.Minute); seen < writers*each; {
		changed := follower.Changed()
		if err := follower.View(t.Context(), func(r store.Reader) error {
			list, err := r.Changes(seen, 1000) // fails on a gap
			seen += uint64(len(list))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if seen == writers*each {
			break
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("saw %d changes", seen)
		}
	}
	wg.Wait()
}

// TestServerGoesAway: the database ends under a transaction, stays away and
// returns; nothing is half written, followers wake by themselves.
func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	own, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	dsn := own.Database(t)
	if _, err := Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	s := open(t, dsn)
	put(t, s, 0)
	err = s.Update(t.Context(), func(tx store.Tx) error {
		if _, err := tx.Put(1, store.Record{Kind: store.Account, Key: "A1", JWT: "lost"}, store.Change{}); err != nil {
			return err
		}
		own.Stop()
		return nil
	})
	if err == nil || !fault.Is(err, fault.Unavailable) {
		t.Fatalf("committed without a server: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	if err := s.View(ctx, func(store.Reader) error { return nil }); err == nil {
		t.Fatal("read without a server")
	}
	cancel()
	if err := own.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	follow(t, s, 1)
	put(t, s, 1)
	follow(t, s, 2)
}

// TestListenerIsCut: the listener's connection is ended by the server;
// commits of others still wake followers.
func TestListenerIsCut(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	a, b := open(t, dsn), open(t, dsn)
	put(t, a, 0)
	follow(t, b, 1)
	admin, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(context.WithoutCancel(t.Context())) }()
	if _, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE 'LISTEN%'`); err != nil {
		t.Fatal(err)
	}
	put(t, a, 1)
	follow(t, b, 2)
}
