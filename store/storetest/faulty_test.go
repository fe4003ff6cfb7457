package storetest_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
	"github.com/accountd/accountd/store/storetest"
)

func newStore(t *testing.T) store.Store {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, c := range []struct {
		outcome storetest.Outcome
		want    error
		runs    int
		applied bool
	}{
		{storetest.Pass, nil, 1, true},
		{storetest.Failed, storetest.ErrInjected, 1, false},
		{storetest.Lost, store.ErrUnknown, 1, false},
		{storetest.Applied, store.ErrUnknown, 1, true},
		{storetest.Twice, nil, 2, true},
	} {
		t.Run(c.outcome.String(), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			s := storetest.NewFaulty(newStore(t), storetest.Script(c.outcome, c.outcome))
			runs := 0
			err := s.Update(ctx, func(tx store.Tx) error {
				runs++
				return tx.SetMeta("m", "v")
			})
			if !errors.Is(err, c.want) || runs != c.runs {
				t.Errorf("got %v after %d runs, want %v after %d", err, runs, c.want, c.runs)
			}
			err = s.View(ctx, func(r store.Reader) error {
				if m, _ := r.Meta("m"); (m == "v") != c.applied {
					t.Errorf("value %q, applied should be %t", m, c.applied)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if err := s.Update(ctx, func(store.Tx) error { return boom }); err != boom {
				t.Errorf("error of the function: got %v", err)
			}
			if err := s.Update(ctx, func(tx store.Tx) error { return nil }); err != nil {
				t.Errorf("after the script: %v", err)
			}
			if s.Updates() != 3 {
				t.Errorf("%d updates counted", s.Updates())
			}
		})
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	s := storetest.NewFaulty(newStore(t), func(int) storetest.Fault { return storetest.Fault{Gate: gate} })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	update := func(ctx context.Context) {
		done <- s.Update(ctx, func(tx store.Tx) error { return tx.SetMeta("m", "v") })
	}
	go update(ctx)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a held update whose context ends: %v", err)
	}
	go update(context.Background())
	close(gate)
	if err := <-done; err != nil {
		t.Errorf("a released update: %v", err)
	}
}
