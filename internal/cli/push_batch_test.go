package cli

import (
	"path/filepath"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/operator/nscstore"
)

// TestRecorderLeavesWhatOthersRecorded: what a push records later, without the
// lock of the account, does not replace what another command recorded meanwhile.
func TestRecorderLeavesWhatOthersRecorded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := nscstore.Open(nscstore.Dirs{Config: dir, Stores: filepath.Join(dir, "stores"), Keys: filepath.Join(dir, "keys")})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for range 3 {
		kp, err := nkeys.CreateAccount()
		if err != nil {
			t.Fatal(err)
		}
		pub, err := kp.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, pub)
	}
	first, theirs := nscstore.Publication{ID: "first", Revision: 1}, nscstore.Publication{ID: "theirs", Revision: 3}
	err = store.Create(t.Context(), "O", false, func(tx *nscstore.Tx) error {
		return tx.SetPublished(keys[1], first)
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{app: &app{}, store: store}
	op, err := store.Operator(t.Context(), "O")
	if err != nil {
		t.Fatal(err)
	}
	rec := s.recordPublications(t.Context(), &root{Operator: op})
	err = store.Update(t.Context(), "O", func(tx *nscstore.Tx) error { return tx.SetPublished(keys[2], theirs) })
	if err != nil {
		t.Fatal(err)
	}
	ours := &receipt{ID: "ours", Revision: 2}
	rec.took(&work{key: keys[0]}, ours)
	rec.took(&work{key: keys[1], pub: first}, ours)
	rec.took(&work{key: keys[2], pub: first}, ours)
	if err := rec.finish(); err != nil {
		t.Fatal(err)
	}
	want := nscstore.Publication{ID: "ours", Revision: 2}
	for i, p := range []nscstore.Publication{want, want, theirs} {
		if got, _, err := op.Published(keys[i]); got != p || err != nil {
			t.Errorf("account %d: %+v %v, want %+v", i, got, err, p)
		}
	}
}
