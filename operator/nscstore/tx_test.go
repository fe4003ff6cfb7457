package nscstore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// wantFault checks the code and the rule of an error.
func wantFault(t *testing.T, err error, code fault.Code, rule string) {
	t.Helper()
	if fault.CodeOf(err) != code || fault.RuleOf(err) != rule || err == nil {
		t.Errorf("error %v is %q by %q, want %q by %q", err, fault.CodeOf(err), fault.RuleOf(err), code, rule)
	}
}

// tryUpdate is the error of a transaction, which must leave the store as it is.
func (w *world) tryUpdate(fn func(*Tx) error) error {
	w.t.Helper()
	before := w.snapshot()
	err := w.store.Update(w.ctx(), "O", fn)
	if after := w.snapshot(); err != nil && !slices.Equal(before, after) {
		w.t.Errorf("after %v the store changed:\n%q\n%q", err, before, after)
	}
	return err
}

// snapshot returns every file of the store and keystore with its content.
func (w *world) snapshot() []string {
	w.t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Dir(w.dirs.Stores), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		out = append(out, p+"="+string(data))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestNamesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.update(func(tx *Tx) error { return w.addUser(tx, "User") })
	for name, rule := range map[string]string{
		"":                       "name-empty",
		"..":                     "name-dots",
		".":                      "name-dots",
		"../../../../pwned":      "name-separator",
		"/etc/pwned":             "name-separator",
		`a\b`:                    "name-separator",
		"a\nb":                   "name-control",
		"a\x00b":                 "name-control",
		"\u0085":                 "name-control",
		" a":                     "name-space",
		"a ":                     "name-space",
		"\xff":                   "name-utf8",
		strings.Repeat("n", 241): "name-length",
		".accountd":              "name-reserved",
		".ACCOUNTD.lock":         "name-reserved",
	} {
		wantFault(t, ValidateName("account", name), fault.Invalid, rule)
		wantFault(t, w.tryUpdate(func(tx *Tx) error {
			return tx.PutAccount(name, w.accountJWT(name, must(nkeys.CreateAccount())))
		}), fault.Invalid, rule)
		wantFault(t, w.tryUpdate(func(tx *Tx) error { return w.addUser(tx, name) }), fault.Invalid, rule)
		wantFault(t, w.store.Create(t.Context(), name, false, nil), fault.Invalid, rule)
	}
	wantFault(t, w.tryUpdate(func(tx *Tx) error {
		return tx.PutAccount("a", w.accountJWT("a", must(nkeys.CreateAccount())))
	}), fault.Invalid, "name-collision")
	wantFault(t, w.tryUpdate(func(tx *Tx) error { return w.addUser(tx, "uSER") }), fault.Invalid, "name-collision")
	wantFault(t, w.store.Create(t.Context(), "o", false, nil), fault.Invalid, "name-collision")
	for _, ok := range []string{"a b", "-x", "ünï", "...", ".hidden", "adjective_surname", "a@b.c"} {
		if err := ValidateName("user", ok); err != nil {
			t.Error(err)
		}
	}
}

func TestReadsDoNotLeaveTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outside := filepath.Join(filepath.Dir(w.dirs.Stores), "secret.jwt")
	writeFile(t, outside, "secret")
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(w.dirs.Stores, "O", "accounts", "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(w.dirs.Stores, "O", "accounts", "A", "A2.jwt")); err != nil {
		t.Fatal(err)
	}
	o := w.read()
	for _, name := range []string{"../../../secret", "..", "a/b", `a\b`, ""} {
		_, err := o.AccountJWT(name)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("AccountJWT(%q): %v", name, err)
		}
		if _, err := o.UserJWT("A", name); !fault.Is(err, fault.Invalid) {
			t.Errorf("UserJWT(%q): %v", name, err)
		}
		if _, err := w.store.Operator(t.Context(), name); !fault.Is(err, fault.Invalid) {
			t.Errorf("Operator(%q): %v", name, err)
		}
		if _, err := w.store.Keystore().Creds(name, "A", "u"); !fault.Is(err, fault.Invalid) {
			t.Errorf("Creds(%q): %v", name, err)
		}
	}
	if names := must(o.Accounts()); !slices.Equal(names, []string{"A"}) {
		t.Errorf("accounts %q", names)
	}
}

func TestPutChecksJWT(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := must(nkeys.CreateUser())
	other := must(nkeys.CreateAccount())
	for _, c := range []struct {
		name, token string
		code        fault.Code
		rule        string
	}{
		{"B", "", fault.Invalid, "jwt-malformed"},
		{"B", "a.b", fault.Invalid, "jwt-malformed"},
		{"B", "a.!.c", fault.Invalid, "jwt-malformed"},
		{"B", "../../x.e30.x", fault.Invalid, "jwt-malformed"},
		{"B", strings.Repeat("x", maxToken+1), fault.Invalid, "jwt-malformed"},
		{"B", w.userJWT("B", user), fault.Invalid, "jwt-type"},
		{"B", w.operatorJWT("B"), fault.Invalid, "jwt-type"},
		{"B", w.accountJWT("C", other), fault.Invalid, "jwt-name"},
		{"A", w.accountJWT("A", other), fault.Conflict, "same-subject"},
	} {
		wantFault(t, w.tryUpdate(func(tx *Tx) error { return tx.PutAccount(c.name, c.token) }), c.code, c.rule)
	}
	wantFault(t, w.tryUpdate(func(tx *Tx) error { return tx.PutOperator(w.userJWT("O", user)) }), fault.Invalid, "jwt-type")
	wantFault(t, w.tryUpdate(func(tx *Tx) error { return tx.PutUser("B", "u", w.userJWT("u", user)) }), fault.NotFound, "")
	w.update(func(tx *Tx) error { // gone and come again under another key
		if err := tx.DeleteAccount("A"); err != nil {
			return err
		}
		return tx.PutAccount("A", w.accountJWT("A", other))
	})
	if got := must(w.read().Account(publicOf(other))); got != "A" {
		t.Errorf("account %q", got)
	}
}

func TestTxSeesWhatItStaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.update(func(tx *Tx) error { return w.addUser(tx, "old") })
	w.update(func(tx *Tx) error {
		if err := tx.DeleteUser("A", "old"); err != nil {
			return err
		}
		if err := w.addUser(tx, "new"); err != nil {
			return err
		}
		if err := tx.PutAccount("B", w.accountJWT("B", must(nkeys.CreateAccount()))); err != nil {
			return err
		}
		if got := must(tx.Users("A")); !slices.Equal(got, []string{"new"}) {
			t.Errorf("users in transaction %q", got)
		}
		if got := must(tx.Accounts()); !slices.Equal(got, []string{"A", "B"}) {
			t.Errorf("accounts in transaction %q", got)
		}
		if got := must(w.read().Users("A")); !slices.Equal(got, []string{"old"}) {
			t.Errorf("users outside of transaction %q", got)
		}
		if err := tx.DeleteAccount("A"); err != nil {
			return err
		}
		_, err := tx.Users("A")
		wantFault(t, err, fault.NotFound, "")
		return nil
	})
	if got := must(w.read().Accounts()); !slices.Equal(got, []string{"B"}) {
		t.Errorf("accounts %q", got)
	}
	if _, err := os.Stat(filepath.Join(w.dirs.Stores, "O", "accounts", "A")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of the deleted account: %v", err)
	}
}

func TestExpect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := must(w.read().AccountJWT("A"))
	w.update(func(tx *Tx) error { return tx.ExpectAccount("A", before) })
	w.update(func(tx *Tx) error { return w.tagAccount(tx, "x") })
	for _, fn := range []func(*Tx) error{
		func(tx *Tx) error { return tx.ExpectAccount("A", before) },
		func(tx *Tx) error { return tx.ExpectAccount("A", "") },
		func(tx *Tx) error { return tx.ExpectAccount("B", before) },
		func(tx *Tx) error { return tx.ExpectOperator("") },
		func(tx *Tx) error { return tx.ExpectUser("A", "u", before) },
	} {
		wantFault(t, w.tryUpdate(fn), fault.Conflict, "changed-meanwhile")
	}
	w.update(func(tx *Tx) error { return tx.ExpectUser("A", "u", "") })
}

func TestFailedFunctionChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	boom := errors.New("boom")
	err := w.tryUpdate(func(tx *Tx) error { return errors.Join(w.addUser(tx, "u"), boom) })
	if !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = w.store.Update(ctx, "O", func(tx *Tx) error { cancel(); return w.addUser(tx, "u") })
	if fault.CodeOf(err) != fault.Interrupted {
		t.Errorf("cancelled: %v", err)
	}
	if got := must(w.read().Users("A")); len(got) != 0 {
		t.Errorf("users %q", got)
	}
	w.requireNoTemps()
}

func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wantFault(t, w.store.Create(t.Context(), "O", false, nil), fault.Conflict, "operator-exists")
	boom := errors.New("boom")
	if err := w.store.Create(t.Context(), "P", false, func(*Tx) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("failed create: %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.dirs.Stores, "P")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("failed create left its folder: %v", err)
	}
	writeFile(t, filepath.Join(w.dirs.Stores, "Q", "file"), "")
	wantFault(t, w.store.Create(t.Context(), "Q", false, nil), fault.Conflict, "operator-folder")
	err := w.store.Create(t.Context(), "P", true, func(tx *Tx) error { return tx.PutOperator(w.operatorJWT("P")) })
	if err != nil {
		t.Fatal(err)
	}
	info := must(must(w.store.Operator(t.Context(), "P")).Info())
	if want := (Info{Managed: true, Name: "P", Kind: "operator", Version: "1"}); info != want {
		t.Errorf("info %+v, want %+v", info, want)
	}
}

func TestDamagedFilesAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(w.dirs.Stores, "O", "accounts", "A", "A.jwt")
	for _, content := range []string{"", "a.b", "x.e30.x", strings.Repeat("x", maxFile+1)} {
		writeFile(t, file, content)
		_, err := w.read().AccountJWT("A")
		if err == nil || !strings.Contains(err.Error(), "A.jwt") {
			t.Errorf("content of %d bytes: %v", len(content), err)
		}
		if len(content) < 10 && (!fault.Is(err, fault.Invalid) || fault.As(err).Hint == "") {
			t.Errorf("%q: %v has code %s and hint %q", content, err, fault.CodeOf(err), fault.As(err).Hint)
		}
	}
	w.update(func(tx *Tx) error { return tx.PutAccount("A", w.accountJWT("A", w.account)) }) // repairs it
	must(w.read().AccountJWT("A"))
	writeFile(t, filepath.Join(w.dirs.Stores, "O", ".nsc"), "{")
	_, err := w.store.Operator(t.Context(), "O")
	wantFault(t, err, fault.Invalid, "file-damaged")
}

func TestPublication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := publicOf(w.account)
	if _, ok, err := w.read().Published(key); ok || err != nil {
		t.Errorf("published before: %v %v", ok, err)
	}
	want := Publication{ID: "J", Revision: 3, Unpublished: true}
	w.update(func(tx *Tx) error { return tx.SetPublished(key, want) })
	if got, ok, err := w.read().Published(key); got != want || !ok || err != nil {
		t.Errorf("published %+v %v %v", got, ok, err)
	}
	file := filepath.Join(w.dirs.Stores, "O", ".accountd", "published", key[1:3]+".lines")
	if got, mode := readFile(t, file); got != key+` {"jti":"J","revision":3,"unpublished":true}`+"\n" || mode != 0o600 {
		t.Errorf("file %s, mode %o", got, mode)
	}
	// By the rules of the layout it is neither an account nor an operator.
	if got := must(w.read().Accounts()); !slices.Equal(got, []string{"A"}) {
		t.Errorf("accounts %q", got)
	}
	if got := (DiskTree{}).Operators(filepath.Join(w.dirs.Stores, "O")); len(got) != 0 {
		t.Errorf("operators below the operator %q", got)
	}
	writeFile(t, file, key+" {}")
	_, _, err := w.read().Published(key)
	wantFault(t, err, fault.Invalid, "file-damaged")
	wantFault(t, w.tryUpdate(func(tx *Tx) error { return tx.SetPublished(key, Publication{}) }), fault.Invalid, "publication")
	wantFault(t, w.tryUpdate(func(tx *Tx) error { return tx.SetPublished("../x", want) }), fault.Invalid, "account-key")
	w.update(func(tx *Tx) error { return tx.ForgetPublished(key) })
	if _, ok, err := w.read().Published(key); ok || err != nil {
		t.Errorf("published after: %v %v", ok, err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty file is left: %v", err)
	}
}

// TestPublicationsShareFiles: what is recorded of one account leaves the others
// as they are, whatever the order, and whatever a damaged file holds.
func TestPublicationsShareFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want := map[string]Publication{}
	keys := make([]string, 300)
	for i := range keys {
		keys[i] = publicOf(must(nkeys.CreateAccount()))
	}
	for round := range 3 {
		w.update(func(tx *Tx) error {
			for i, key := range keys {
				if i%3 == round {
					if err := tx.ForgetPublished(key); err != nil {
						return err
					}
					delete(want, key)
					continue
				}
				p := Publication{ID: key[:5+i%7], Revision: uint64(i * round)}
				if err := tx.SetPublished(key, p); err != nil {
					return err
				}
				want[key] = p
			}
			return nil
		})
		for _, key := range keys {
			got, ok, err := w.read().Published(key)
			if p, known := want[key]; got != p || ok != known || err != nil {
				t.Fatalf("round %d: %+v %v %v, want %+v %v", round, got, ok, err, p, known)
			}
		}
	}
	files := must(os.ReadDir(filepath.Join(w.dirs.Stores, "O", ".accountd", "published")))
	if len(files) == 0 || len(files) > 128 {
		t.Errorf("%d files", len(files))
	}

	key := keys[1]
	other := key[:20] + "OTHER"
	file := filepath.Join(w.dirs.Stores, "O", ".accountd", "published", key[1:3]+".lines")
	writeFile(t, file, other+" broken")
	w.update(func(tx *Tx) error { return tx.SetPublished(key, want[key]) })
	if got, ok, err := w.read().Published(key); got != want[key] || !ok || err != nil {
		t.Errorf("behind a damaged line: %+v %v %v", got, ok, err)
	}
	if got, _ := readFile(t, file); !strings.HasPrefix(got, other+" broken\n") {
		t.Errorf("file %q", got)
	}
}

func TestLockAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.read()
	key := publicOf(w.account)
	far := publicOf(must(nkeys.CreateAccount()))
	for far[1:3] == key[1:3] {
		far = publicOf(must(nkeys.CreateAccount()))
	}
	unlock, err := o.LockAccounts(t.Context(), key, key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = o.LockAccounts(ctx, far, key)
	wantFault(t, err, fault.Unavailable, "")
	if f := fault.As(err); f == nil || !strings.HasSuffix(f.Key, "locks/"+key[1:3]+".lock") {
		t.Errorf("%v does not name the lock file", err)
	}
	// Transactions and other accounts go on meanwhile.
	w.update(func(tx *Tx) error { return w.addUser(tx, "u") })
	other, err := o.LockAccounts(w.ctx(), far) // which the refused one gave back
	if err != nil {
		t.Fatal(err)
	}
	other()
	got := make(chan error, 1)
	go func() {
		again, err := o.LockAccounts(w.ctx(), key)
		if err == nil {
			again()
		}
		got <- err
	}()
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
	_, err = o.LockAccounts(t.Context(), "../../x")
	wantFault(t, err, fault.Invalid, "account-key")
}

// TestAccountsNaming: the accounts that import from another one are found, be
// some file damaged or not.
func TestAccountsNaming(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"B", "C"} {
		kp := must(nkeys.CreateAccount())
		tag := "of:" + publicOf(w.account)
		if name == "C" {
			tag = "of:nobody"
		}
		w.update(func(tx *Tx) error { return tx.PutAccount(name, w.accountJWT(name, kp, tag)) })
	}
	for name, content := range map[string]string{"torn": "eyJ.", "empty": "", "odd": "a.&&&.c"} {
		writeFile(t, filepath.Join(w.dirs.Stores, "O", "accounts", name, name+".jwt"), content)
	}
	names, err := w.read().AccountsNaming(strings.ToLower(publicOf(w.account)))
	if want := []string{"B"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%v, %v, want %v", names, err, want)
	}
}

// TestAccountJWTs: what is on the disk counts, whatever was known of it.
func TestAccountJWTs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := must(nkeys.CreateAccount())
	w.update(func(tx *Tx) error {
		if err := tx.PutAccount("B", w.accountJWT("B", other)); err != nil {
			return err
		}
		if names := must(tx.Accounts()); !slices.Equal(names, []string{"A", "B"}) {
			t.Errorf("accounts in the transaction: %q", names)
		}
		return nil
	})
	names := []string{"B", "A"}
	known := must(w.read().AccountJWTs(names, nil))
	want := must(w.read().AccountJWT("A"))
	if len(known) != 2 || known[1] != want {
		t.Fatalf("read %q", known)
	}
	w.update(func(tx *Tx) error { return w.tagAccount(tx, "new") })
	got := must(w.read().AccountJWTs(names, known))
	if got[0] != known[0] || got[1] == want || got[1] != must(w.read().AccountJWT("A")) {
		t.Errorf("read %q", got)
	}
	writeFile(t, filepath.Join(w.dirs.Stores, "O", "accounts", "A", "A.jwt"), "damaged")
	_, err := w.read().AccountJWTs(names, got)
	wantFault(t, err, fault.Invalid, "file-damaged")
	_, err = w.read().AccountJWTs([]string{"C"}, []string{got[0]})
	wantFault(t, err, fault.NotFound, "")
	w.update(func(tx *Tx) error {
		if err := tx.DeleteAccount("A"); err != nil {
			return err
		}
		if names := must(tx.Accounts()); !slices.Equal(names, []string{"B"}) {
			t.Errorf("accounts in the transaction: %q", names)
		}
		return nil
	})
}
