package nscstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Users of a deleted account are kept beside the official files, the latest
// deletion's only, and nothing is left of them once they are forgotten.
func TestKeptUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := publicOf(w.account)
	kept := func(want int) {
		t.Helper()
		tokens, err := w.read().KeptUsers(key)
		if err != nil || len(tokens) != want {
			t.Fatalf("kept %d, want %d: %v", len(tokens), want, err)
		}
		for _, token := range tokens {
			if _, _, err := checkToken("user", token); err != nil {
				t.Error(err)
			}
		}
	}
	kept(0)
	for _, users := range [][]string{{"u1", "u2"}, {"u3"}} {
		w.update(func(tx *Tx) error {
			err := tx.PutAccount("A", w.accountJWT("A", w.account))
			for _, name := range users {
				err = errors.Join(err, w.addUser(tx, name))
			}
			return err
		})
		w.update(func(tx *Tx) error { return errors.Join(tx.KeepUsers(key, "A"), tx.DeleteAccount("A")) })
		kept(len(users))
		if names, err := w.read().Accounts(); err != nil || len(names) != 0 {
			t.Errorf("accounts %v, %v", names, err)
		}
	}
	w.update(func(tx *Tx) error { return tx.ForgetKept(key) })
	kept(0)
	if _, err := os.Stat(filepath.Join(w.dirs.Stores, "O", keptDir, key)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	if _, err := w.read().KeptUsers("../A"); err == nil {
		t.Error("a name that is no key was taken")
	}
}
