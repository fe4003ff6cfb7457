package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

var errGivenUp = errors.New("given up")

// state is all that a View shows of some accounts and of the changes.
type state struct {
	Records map[string]store.Record
	Changes []store.Change
}

func stateOf(r store.Reader, keys int) (state, error) {
	st := state{Records: map[string]store.Record{}}
	for i := range keys {
		rec, err := r.Get(store.Account, keyOf(i))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return st, err
		}
		st.Records[keyOf(i)] = rec
	}
	for {
		some, err := r.Changes(uint64(len(st.Changes)), 7)
		if err != nil || len(some) == 0 {
			return st, err
		}
		st.Changes = append(st.Changes, some...)
	}
}

func keyOf(i int) string { return fmt.Sprintf("A%d", i) }

// TestWhatIsHeldIsWhatTheFileHolds commits, gives up and fails to commit at
// random. What Views show, also those that began before, and what an Update sees
// of its own, is what another process reads from the file.
func TestWhatIsHeldIsWhatTheFileHolds(t *testing.T) {
	t.Parallel()
	const keys, rounds = 5, 120
	path := temp(t)
	s := open(t, path)
	random := rand.New(rand.NewPCG(1, 2))
	see := func() (st state) {
		t.Helper()
		if err := s.View(t.Context(), func(r store.Reader) (err error) {
			st, err = stateOf(r, keys)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return st
	}
	for round := range rounds {
		before := see()
		ways := []func(*bbolt.Tx) error{(*bbolt.Tx).Commit, (*bbolt.Tx).Commit, noCommit, commitThen}
		giveUp, list := random.IntN(5) == 0, random.Perm(keys)[:1+random.IntN(3)]
		// A View that lasts sees what it saw.
		began, ended, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			done <- s.View(context.Background(), func(r store.Reader) error {
				close(began)
				<-ended
				st, err := stateOf(r, keys)
				if err == nil && !cmp.Equal(st, before) {
					err = errors.New(cmp.Diff(before, st))
				}
				return err
			})
		}()
		<-began
		s.SetCommit(ways[random.IntN(len(ways))])
		err := s.Update(t.Context(), func(tx store.Tx) error {
			for _, i := range list {
				if err := putAgain(tx, keyOf(i), round); err != nil {
					return err
				}
			}
			if _, err := stateOf(tx, keys); err != nil || !giveUp {
				return err
			}
			return errGivenUp
		})
		s.SetCommit((*bbolt.Tx).Commit)
		if err != nil && !errors.Is(err, errGivenUp) && !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		close(ended)
		if err := <-done; err != nil {
			t.Fatalf("round %d: a view that began before: %v", round, err)
		}
		for _, rec := range see().Records { // what readers do to theirs changes no other's
			if rec.Revision > 0 {
				rec.Born["K"], rec.Findings[0] = -1, "changed"
			}
		}
	}
	held := see()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if diff := cmp.Diff(see(), held); diff != "" {
		t.Errorf("the file (-) and what was held (+):\n%s", diff)
	}
	if len(held.Changes) < rounds/2 {
		t.Errorf("%d changes in %d rounds", len(held.Changes), rounds)
	}
}

// putAgain writes the next version of a record and checks that the transaction
// sees it.
func putAgain(tx store.Tx, key string, round int) error {
	old, err := tx.Get(store.Account, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	rec := store.Record{
		Kind: store.Account, Key: key, JWT: fmt.Sprintf("%s-%d", key, round), Findings: []string{"f"},
		Born: map[string]int64{"K": int64(round)}, Dropped: []revocation.Dropped{}, Retired: map[string]int64{},
		Exports: []store.ExportList{{Type: "stream", Revoked: revocation.List{"U": 1}}},
	}
	rec, err = tx.Put(old.Revision, rec, store.Change{Action: "put", Time: time.Now()})
	if err != nil {
		return err
	}
	got, err := tx.Get(store.Account, key)
	if err != nil || got.JWT != rec.JWT {
		return errors.Join(err, fmt.Errorf("the transaction sees %q, it wrote %q", got.JWT, rec.JWT))
	}
	changes, err := tx.Changes(rec.Seq-1, 1)
	if err != nil || len(changes) != 1 || changes[0].Seq != rec.Seq {
		return errors.Join(err, fmt.Errorf("the transaction sees %v as its change %d", changes, rec.Seq))
	}
	return nil
}

// TestOlderThanHeld: what is given up for newer changes is read from the file.
func TestOlderThanHeld(t *testing.T) {
	t.Parallel()
	s := open(t, temp(t))
	const many = bolt.RecentChanges + 10
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		for i := range many {
			if err := putAgain(tx, keyOf(i), i); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), func(r store.Reader) error {
		st, err := stateOf(r, many)
		if err == nil && (len(st.Changes) != many || st.Records[keyOf(0)].JWT != "A0-0" || st.Records[keyOf(many-1)].Seq != many) {
			t.Errorf("%d changes, first %+v", len(st.Changes), st.Records[keyOf(0)])
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
