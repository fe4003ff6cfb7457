package nscstore

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// tree returns the content of the files below dir that a backup brings back.
func treeBelow(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, "lock") {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		out[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// full is a world with a user, an unpublished edit, an offer, a kept user, fields that we do not know, and a
// key that is nobody's.
func full(t testing.TB) (*world, []byte) {
	t.Helper()
	w := newWorld(t)
	w.update(func(tx *Tx) error {
		return errors.Join(w.addUser(tx, "u"), w.addUser(tx, "gone"),
			tx.SetPublished(publicOf(w.account), Publication{ID: "X", Revision: 7, Unpublished: true, Base: w.accountJWT("A", w.account)}), tx.PutOffer(publicOf(w.account), "aa", "x"))
	})
	w.update(func(tx *Tx) error { return tx.DeleteUser("A", "gone") }) // its credentials stay
	deleted := must(nkeys.CreateAccount())
	w.update(func(tx *Tx) error { return tx.PutAccount("B", w.accountJWT("B", deleted)) })
	w.update(func(tx *Tx) error { return tx.PutUser("B", "kept", w.userJWT("kept", must(nkeys.CreateUser()))) })
	w.update(func(tx *Tx) error {
		return errors.Join(tx.KeepUsers(publicOf(deleted), "B"), tx.DeleteAccount("B"))
	})
	writeFile(t, filepath.Join(w.dirs.Stores, "O/.nsc"), `{"managed":true,"name":"O","kind":"operator","version":"1","x":[1]}`)
	foreign := must(nkeys.CreateAccount())
	must(w.store.Keystore().AddSeed(t.Context(), seedOf(foreign)))
	var b bytes.Buffer
	must(w.store.Backup(w.ctx(), "O", &b, time.Unix(1_800_000_000, 0)))
	if err := w.store.Keystore().RemoveSeed(w.ctx(), publicOf(foreign)); err != nil {
		t.Fatal(err)
	}
	return w, b.Bytes()
}

// elsewhere is another, empty store.
func elsewhere(t testing.TB) *Store {
	t.Helper()
	dir := t.TempDir()
	return must(Open(Dirs{Config: dir, Stores: filepath.Join(dir, "stores"), Keys: filepath.Join(dir, "keys")}))
}

// TestBackupAndRestore: a restored operator is file by file what it was.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	w, data := full(t)
	to := elsewhere(t)
	c := must(to.Restore(t.Context(), bytes.NewReader(data)))
	want := Contents{
		Version: 1, Operator: "O", Key: publicOf(w.operator), Made: 1_800_000_000, Accounts: 1, Users: 1, Seeds: 3, Creds: 2, Files: 13,
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, must(ReadBackup(bytes.NewReader(data)))); diff != "" {
		t.Error(diff)
	}
	was := treeBelow(t, w.dirs.Stores)
	if diff := cmp.Diff(was, treeBelow(t, to.Dirs().Stores)); diff != "" {
		t.Errorf("stores (-was +is):\n%s", diff)
	}
	keysWere, keysAre := treeBelow(t, w.dirs.Keys), treeBelow(t, to.Dirs().Keys)
	maps.DeleteFunc(keysWere, func(name, _ string) bool { // of the deleted user, which no claim names
		_, there := keysAre[name]
		return strings.HasPrefix(name, "keys/U/") && !there
	})
	if diff := cmp.Diff(keysWere, keysAre); diff != "" {
		t.Errorf("keystore (-was +is):\n%s", diff)
	}
	checkModes(t, filepath.Dir(to.Dirs().Stores))

	before := treeBelow(t, filepath.Dir(to.Dirs().Stores))
	_, err := to.Restore(t.Context(), bytes.NewReader(data))
	wantFault(t, err, fault.Conflict, "operator-exists")
	if diff := cmp.Diff(before, treeBelow(t, filepath.Dir(to.Dirs().Stores))); diff != "" {
		t.Errorf("a refused restore changed files:\n%s", diff)
	}
}

// TestBackupNamesMissingSeeds: an operator whose root key is elsewhere is backed
// up without it, and that is said.
func TestBackupNamesMissingSeeds(t *testing.T) {
	t.Parallel()
	w, _ := full(t)
	if err := w.store.Keystore().RemoveSeed(w.ctx(), publicOf(w.operator)); err != nil {
		t.Fatal(err)
	}
	c := must(w.store.Backup(w.ctx(), "O", io.Discard, time.Now()))
	if !slices.Equal(c.Missing, []string{publicOf(w.operator)}) || c.Seeds != 2 {
		t.Errorf("%+v", c)
	}
	writeFile(t, filepath.Join(w.dirs.Stores, "O/accounts/A/users/u.jwt"), "damaged")
	_, err := w.store.Backup(w.ctx(), "O", io.Discard, time.Now())
	wantFault(t, err, fault.Invalid, "file-damaged")
}

// retar lets edit change the entries of an archive.
func retar(t testing.TB, data []byte, edit func(head *tar.Header, content []byte) []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	tr, tw := tar.NewReader(bytes.NewReader(data)), tar.NewWriter(&out)
	for {
		head, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		content := edit(head, must(io.ReadAll(tr)))
		if content == nil {
			continue
		}
		if head.Size = int64(len(content)); head.Typeflag == tar.TypeSymlink {
			head.Size, content = 0, nil
		}
		if err := tw.WriteHeader(head); err != nil {
			t.Fatal(err)
		}
		must(tw.Write(content))
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestRestoreRefuses: an archive that is not one leaves nothing behind, and
// reaches no file outside of the store.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	w, data := full(t)
	for what, edit := range map[string]func(*tar.Header, []byte) []byte{
		"no manifest": func(h *tar.Header, b []byte) []byte {
			if h.Name == manifestFile {
				return nil
			}
			return b
		},
		"version": func(h *tar.Header, b []byte) []byte {
			return bytes.Replace(b, []byte(`"version":1,`), []byte(`"version":2,`), 1)
		},
		"operator": func(h *tar.Header, b []byte) []byte {
			return bytes.Replace(b, []byte(`"operator":"O"`), []byte(`"operator":".."`), 1)
		},
		"other operator": func(h *tar.Header, b []byte) []byte {
			h.Name = strings.Replace(h.Name, "stores/O/accounts", "stores/P/accounts", 1)
			return b
		},
		"path": func(h *tar.Header, b []byte) []byte {
			h.Name = strings.Replace(h.Name, "accounts/A/A.jwt", "accounts/../../../evil.jwt", 1)
			return b
		},
		"key path": func(h *tar.Header, b []byte) []byte {
			h.Name = strings.Replace(h.Name, "keys/keys/O/", "keys/../keys/", 1)
			return b
		},
		"journal": func(h *tar.Header, b []byte) []byte {
			h.Name = strings.Replace(h.Name, "O.jwt", ".accountd/tx/journal.json", 1)
			return b
		},
		"link": func(h *tar.Header, b []byte) []byte {
			if strings.HasSuffix(h.Name, "u.jwt") {
				h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc/passwd"
			}
			return b
		},
		"wrong seed": func(h *tar.Header, b []byte) []byte {
			if strings.HasPrefix(h.Name, "keys/keys/A/") {
				return seedOf(w.operator)
			}
			return b
		},
		"wrong name": func(h *tar.Header, b []byte) []byte {
			h.Name = strings.Replace(h.Name, "users/u.jwt", "users/v.jwt", 1)
			return b
		},
		"damaged JWT": func(h *tar.Header, b []byte) []byte {
			if strings.HasSuffix(h.Name, "A.jwt") {
				return []byte("x")
			}
			return b
		},
	} {
		to := elsewhere(t)
		_, err := to.Restore(t.Context(), bytes.NewReader(retar(t, data, edit)))
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
		if left := treeBelow(t, filepath.Dir(to.Dirs().Stores)); len(left) > 0 {
			t.Errorf("%s: left %v", what, slices.Sorted(maps.Keys(left)))
		}
	}
	for cut := 0; cut < len(data)-2048; cut += 517 {
		if _, err := ReadBackup(bytes.NewReader(data[:cut])); !fault.Is(err, fault.Invalid) {
			t.Fatalf("cut at %d of %d: %v", cut, len(data), err)
		}
	}
}

func FuzzReadBackup(f *testing.F) {
	_, data := full(f)
	f.Add(data)
	f.Add(data[:1024])
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ReadBackup(bytes.NewReader(data)); err == nil && c.Version != backupVersion {
			t.Fatalf("%+v", c)
		}
	})
}
