package bolt_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
	"github.com/accountd/accountd/store/storetest"
)

func open(t testing.TB, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{})
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

func temp(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "store.db")
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, temp(t)) })
}

// fill writes one of everything.
func fill(t testing.TB, s store.Store) {
	t.Helper()
	err := s.Update(context.Background(), func(tx store.Tx) error {
		_, err := tx.Put(0, store.Record{Kind: store.Account, Key: "A1", JWT: "j"}, store.Change{})
		return errors.Join(err, tx.SetMeta("m", "v"), tx.UseNonce("n", time.Unix(1, 0), time.Unix(2, 0)),
			tx.Enroll(store.Enrolment{Token: "t", Uses: 2, Device: "d", Key: "U1", Until: time.Unix(2, 0)}, time.Unix(1, 0)))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// filled checks that everything of fill is there.
func filled(t testing.TB, s *bolt.Store) {
	t.Helper()
	ctx := context.Background()
	err := s.View(ctx, func(r store.Reader) error {
		rec, err := r.Get(store.Account, "A1")
		m, err2 := r.Meta("m")
		ch, err3 := r.Changes(0, 10)
		if rec.JWT != "j" || m != "v" || len(ch) != 1 || ch[0].Key != "A1" {
			t.Errorf("got %+v %q %v", rec, m, ch)
		}
		return errors.Join(err, err2, err3)
	})
	if err := errors.Join(err, s.Check(ctx)); err != nil {
		t.Error(err)
	}
	err = s.Update(ctx, func(tx store.Tx) error { return tx.UseNonce("n", time.Unix(1, 0), time.Unix(2, 0)) })
	if !errors.Is(err, store.ErrReplay) {
		t.Errorf("nonce: got %v, want a replay", err)
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	path := temp(t)
	s := open(t, path)
	fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	filled(t, open(t, path))
}
