package nscstore

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountd/accountd/fault"
)

// TestManyNames: in a folder of many users a new name is compared with a list,
// which is as good as the folder, whoever else writes there.
func TestManyNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	users := filepath.Join(w.dirs.Stores, "O", "accounts", "A", "users")
	list := filepath.Join(w.dirs.Stores, "O", ".accountd", "names", "A.users")
	for i := range manyNames {
		writeFile(t, filepath.Join(users, fmt.Sprintf("u%d.jwt", i)), "a user")
	}
	add := func(name string) error {
		return w.store.Update(w.ctx(), "O", func(tx *Tx) error { return w.addUser(tx, name) })
	}
	refused := func(name string) {
		t.Helper()
		wantFault(t, add(name), fault.Invalid, "name-collision")
		wantFault(t, w.read().RequireFreeUser("A", name), fault.Invalid, "name-collision")
	}
	isComplete := func() {
		t.Helper()
		want, err := disk{dir: users}.list(".")
		data, _ := readFile(t, list)
		got := strings.Split(strings.TrimSuffix(data[stampSize:], "\x00"), "\x00")
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: %d names in the list, %d in the folder", err, len(got), len(want))
		}
		folder, err := disk{dir: w.read().dir}.folder("accounts/A/users")
		if err != nil || !folder.listed {
			t.Errorf("the list is not believed: %v", err)
		}
	}
	for _, name := range []string{"First", "Second"} { // made, then continued
		if err := add(name); err != nil {
			t.Fatal(err)
		}
		isComplete()
		refused(strings.ToLower(name))
		refused("U7")
	}
	// Another program adds a user.
	writeFile(t, filepath.Join(users, "Third.jwt"), "a user")
	past := time.Now().Add(-time.Hour) // its time of change need not be later
	if err := os.Chtimes(users, past, past); err != nil {
		t.Fatal(err)
	}
	refused("third")
	// What is only in the list is no user.
	if err := os.Remove(filepath.Join(users, "u7.jwt")); err != nil {
		t.Fatal(err)
	}
	if err := add("Fourth"); err != nil {
		t.Fatal(err)
	}
	isComplete()
	w.update(func(tx *Tx) error { return tx.DeleteUser("A", "Fourth") })
	if err := add("fourth"); err != nil {
		t.Error(err)
	}
	// Half a list, as a kill leaves it.
	writeFile(t, list, strings.Repeat("\x00", stampSize)+"x.jwt\x00")
	refused("Fourth")
	if err := add("Fifth"); err != nil {
		t.Fatal(err)
	}
	isComplete()
	w.update(func(tx *Tx) error { return tx.DeleteAccount("A") })
	if _, err := os.Stat(list); !os.IsNotExist(err) {
		t.Errorf("the list of an account that was deleted: %v", err)
	}
}
