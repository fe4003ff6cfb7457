package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/store"
)

func openTest(t *testing.T, path string) *local {
	t.Helper()
	l, err := openLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What is staged is read at once, and is lost with the process until it is
// flushed; nothing older ever replaces what is held.
func TestCopyIsMonotonicAndDurable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "claims.db")
	l := openTest(t, path)
	rec := func(revision uint64, token string) store.Record {
		return store.Record{Kind: store.Account, Key: "A", Revision: revision, Seq: revision, ID: token, JWT: token}
	}
	stage := func(r store.Record) (accepted []entry, older []stale) {
		t.Helper()
		accepted, older, err := l.stage([]store.Record{r}, false)
		if err != nil {
			t.Fatal(err)
		}
		return accepted, older
	}
	held := func() string {
		t.Helper()
		e, err := l.get(store.Account, "A")
		if err != nil && !errors.Is(err, errNotHeld) {
			t.Fatal(err)
		}
		return e.JWT
	}
	two, _ := stage(rec(2, "two"))
	if held() != "two" {
		t.Error("staged and not read")
	}
	if err := l.flush(two, position{2, "m"}); err != nil {
		t.Fatal(err)
	}
	if accepted, older := stage(rec(1, "one")); len(accepted) != 0 || len(older) != 1 || held() != "two" {
		t.Error("an older revision was taken")
	}
	if accepted, older := stage(rec(2, "other")); len(accepted) != 0 || len(older) != 1 || held() != "two" {
		t.Error("another version of the same revision was taken")
	}
	if accepted, older := stage(rec(2, "two")); len(accepted) != 0 || len(older) != 0 {
		t.Error("the same version is not nothing")
	}
	three, _ := stage(rec(3, "three"))
	l.unstage(three)
	if held() != "two" {
		t.Error("given up and still read")
	}
	stage(rec(3, "three"))
	if err := l.close(); err != nil { // as a crash: never flushed
		t.Fatal(err)
	}
	l = openTest(t, path)
	defer l.close()
	if pos, err := l.position(); err != nil || pos != (position{2, "m"}) || held() != "two" {
		t.Errorf("after a crash: %v, %v, %q", pos, err, held())
	}
}

func TestResultsAreBounded(t *testing.T) {
	t.Parallel()
	var r results
	for i := range 3 * maxResults {
		key := fmt.Sprint(i)
		for revision := uint64(1); revision <= 5; revision++ {
			o := r.add(key, revision, "n")
			o.proof.State = api.InForce
			r.finish(key, o)
		}
		if len(r.byKey[key]) != 1 {
			t.Fatalf("%d outcomes of one account", len(r.byKey[key]))
		}
	}
	if len(r.byKey) != maxResults || len(r.order) != maxResults {
		t.Errorf("%d accounts, %d in order", len(r.byKey), len(r.order))
	}
	key := "x"
	first, second, third := r.add(key, 1, "n"), r.add(key, 2, "n"), r.add(key, 3, "n")
	r.finish(key, second)
	if r.find(key, 1) != second || r.find(key, 2) != second || r.find(key, 3) != third || r.find(key, 4) != nil {
		t.Error("not the best outcome")
	}
	r.finish(key, first)
	if r.find(key, 1) == nil || !r.find(key, 2).done {
		t.Error("an older outcome replaced a newer one")
	}
	r.drop(key, third)
	if r.find(key, 3) != nil {
		t.Error("dropped and still there")
	}
}
