package nscstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// abandon runs a transaction as a process that dies does: it stages, writes the
// journal if journaled, makes the first moves, and lets go.
func (w *world) abandon(journaled bool, moves int, fn func(*Tx) error) {
	w.t.Helper()
	v := w.store.view("O")
	site, err := w.store.lockSite(w.ctx(), v.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	defer site.close()
	tx := newTx(v, w.store.keys)
	if err := fn(tx); err != nil {
		w.t.Fatal(err)
	}
	id := rand.Text()
	steps := plan(tx, id)
	if err := site.stage(id, steps, tx); err != nil {
		w.t.Fatal(err)
	}
	if !journaled {
		return
	}
	if err := site.writeJournal(steps); err != nil {
		w.t.Fatal(err)
	}
	if err := site.apply(steps[:min(moves, len(steps))]); err != nil {
		w.t.Fatal(err)
	}
}

func TestJournalIsFinishedFromEveryPoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const steps = 12 // account, publication, 2×3 of users, 2×2 removals
	for moves := range steps + 1 {
		gen := moves + 1
		w.abandon(true, moves, func(tx *Tx) error { return w.putGeneration(tx, gen) })
		if got := w.checkGeneration(); got != gen { // a reader finishes it
			t.Fatalf("after %d moves: generation %d, want %d", moves, got, gen)
		}
		w.requireNoTemps()
	}
	w.abandon(true, 3, func(tx *Tx) error { return w.putGeneration(tx, 100) })
	w.update(func(tx *Tx) error { // a writer finishes it
		if p, _, err := tx.Published(publicOf(w.account)); err != nil || p.Revision != 100 {
			t.Errorf("publication in the next transaction: %+v %v", p, err)
		}
		return nil
	})
}

func TestStagedWithoutJournalIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.abandon(false, 0, func(tx *Tx) error { return w.putGeneration(tx, 1) })
	if got := w.checkGeneration(); got != 0 {
		t.Errorf("generation %d", got)
	}
	w.update(func(*Tx) error { return nil })
	w.requireNoTemps()
}

// Two stores may share a keystore: neither takes away what the other staged.
func TestStagedFilesOfOtherStoresStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.abandon(true, 0, func(tx *Tx) error { return w.putGeneration(tx, 1) })
	dirs := w.dirs
	dirs.Stores += "2"
	other := must(Open(dirs))
	user := must(nkeys.CreateUser())
	err := other.Create(t.Context(), "O", false, func(tx *Tx) error {
		_, err := tx.AddSeed(seedOf(user))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Update(t.Context(), "O", func(tx *Tx) error { return tx.RemoveSeed(publicOf(user)) }); err != nil {
		t.Fatal(err)
	}
	if got := w.checkGeneration(); got != 1 {
		t.Errorf("generation %d", got)
	}
	w.requireNoTemps()
}

// The official tool does not know the lock: it may have removed a folder.
func TestJournalMakesFoldersAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.abandon(true, 0, func(tx *Tx) error { return w.putGeneration(tx, 1) })
	if err := os.RemoveAll(filepath.Join(w.dirs.Keys, "creds")); err != nil {
		t.Fatal(err)
	}
	if got := w.checkGeneration(); got != 1 {
		t.Errorf("generation %d", got)
	}
}

func TestJournalOfAnotherKeystore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.abandon(true, 0, func(tx *Tx) error { return w.putGeneration(tx, 1) })
	dirs := w.dirs
	dirs.Keys += "2"
	other := must(Open(dirs))
	_, err := other.Operator(t.Context(), "O")
	if f := fault.As(err); f == nil || f.Code != fault.Conflict || !strings.Contains(f.Hint, w.dirs.Keys) {
		t.Errorf("%v", err)
	}
	if got := w.checkGeneration(); got != 1 {
		t.Errorf("generation %d", got)
	}
}

func TestHostileJournalIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range []step{
		{From: "a.tmp", To: "../../x.jwt"},
		{From: "a.tmp", To: "/etc/x.jwt"},
		{From: "../../a.tmp", To: "O.jwt"},
		{From: "a.tmp", To: ".accountd/lock"},
		{From: "a.tmp", To: ".accountd/published/AA.json"},
		{From: "a.tmp", To: ".accountd/locks/AA.lock"},
		{From: "a.tmp", To: "accounts/A/../../../x.jwt"},
		{To: "accounts", Dir: true},
		{To: "accounts/A/users/sub/x.jwt"},
		{To: ".accountd/deleted/A/x.json"},
		{To: ".accountd/other/A/x.jwt"},
		{To: ".accountd/deleted", Dir: true},
		{To: "keys/keys/U/AA/x.nk"},
		{Keys: true, To: ".ssh/id/a/b"},
		{Keys: true, To: "keys/U/AA/x.jwt"},
		{Keys: true, To: "keys", Dir: true},
	} {
		data := must(json.Marshal(journal{Version: 1, Keystore: w.dirs.Keys, Steps: []step{s}}))
		writeFile(t, filepath.Join(w.dirs.Stores, "O", ".accountd", "tx", "journal.json"), string(data))
		_, err := w.store.Operator(t.Context(), "O")
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "journal.json") {
			t.Errorf("step %+v: %v", s, err)
		}
	}
}

func TestUnwritableStoreIsCompletedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	users := filepath.Join(w.dirs.Stores, "O", "accounts", "A", "users")
	w.abandon(true, 0, func(tx *Tx) error { return w.putGeneration(tx, 1) })
	if err := os.RemoveAll(users); err != nil {
		t.Fatal(err)
	}
	writeFile(t, users, "in the way")
	if _, err := w.store.Operator(t.Context(), "O"); err == nil {
		t.Fatal("no error")
	}
	if err := os.Remove(users); err != nil {
		t.Fatal(err)
	}
	if got := w.checkGeneration(); got != 1 {
		t.Errorf("generation %d", got)
	}
}

func TestUpdateWaitsForTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.update(func(*Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := w.store.Update(ctx, "O", func(*Tx) error { return nil })
		wantFault(t, err, fault.Unavailable, "")
		return nil
	})
}
