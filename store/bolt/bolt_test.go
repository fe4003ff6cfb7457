package bolt_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
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

func TestReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b", "store.db")
	s := open(t, path)
	ctx := context.Background()
	err := s.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Put(0, store.Record{Kind: store.Account, Key: "A1", JWT: "j"}, store.Change{})
		if err != nil || rec.Revision != 1 || rec.Seq != 1 {
			t.Errorf("put: %+v, %v", rec, err)
		}
		return errors.Join(err, tx.SetMeta("m", "v"), tx.UseNonce("n", time.Unix(1, 0), time.Unix(2, 0)))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	err = s.View(ctx, func(r store.Reader) error {
		rec, err := r.Get(store.Account, "A1")
		m, err2 := r.Meta("m")
		ch, err3 := r.Changes(0, 10)
		if rec.JWT != "j" || m != "v" || len(ch) != 1 || ch[0].Key != "A1" {
			t.Errorf("%+v %q %v", rec, m, ch)
		}
		return errors.Join(err, err2, err3)
	})
	if err != nil {
		t.Fatal(err)
	}
}
