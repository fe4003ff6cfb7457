package nscstore

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

func TestLayoutAndModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.update(func(tx *Tx) error { return w.addUser(tx, "u") })
	user := publicOf(must(nkeys.FromSeed(onlyUserSeed(t, w))))
	op, acc := publicOf(w.operator), publicOf(w.account)

	want := []string{
		"keys", "keys/.accountd", "keys/.accountd/.gitignore", "keys/.gitignore",
		"keys/creds", "keys/creds/O", "keys/creds/O/A", "keys/creds/O/A/u.creds",
		"keys/keys",
		"keys/keys/A", "keys/keys/A/" + acc[1:3], "keys/keys/A/" + acc[1:3] + "/" + acc + ".nk",
		"keys/keys/O", "keys/keys/O/" + op[1:3], "keys/keys/O/" + op[1:3] + "/" + op + ".nk",
		"keys/keys/U", "keys/keys/U/" + user[1:3], "keys/keys/U/" + user[1:3] + "/" + user + ".nk",
		"stores", "stores/.accountd.lock", "stores/O", "stores/O/.accountd",
		"stores/O/.accountd/lock", "stores/O/.accountd/tx", "stores/O/.nsc", "stores/O/O.jwt",
		"stores/O/accounts", "stores/O/accounts/A", "stores/O/accounts/A/A.jwt",
		"stores/O/accounts/A/users", "stores/O/accounts/A/users/u.jwt",
	}
	slices.Sort(want)
	got := checkModes(t, filepath.Dir(w.dirs.Stores))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// checkModes lists the tree below dir and checks 0700 and 0600.
func checkModes(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		want := fileMode
		if d.IsDir() {
			want = dirMode
		}
		if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", p, fi.Mode().Perm(), want)
		}
		rel, err := filepath.Rel(dir, p)
		names = append(names, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func onlyUserSeed(t *testing.T, w *world) []byte {
	t.Helper()
	seeds, err := w.store.Keystore().Seeds()
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range seeds {
		if nkeys.IsValidPublicUserKey(pub) {
			return must(w.store.Keystore().Seed(pub))
		}
	}
	t.Fatal("no user seed")
	return nil
}

func TestFileFormats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kp := must(nkeys.CreateUser())
	token, seed := w.userJWT("u", kp), seedOf(kp)
	w.update(func(tx *Tx) error {
		if _, err := tx.AddSeed(seed); err != nil {
			return err
		}
		if err := tx.PutUser("A", "u", token); err != nil {
			return err
		}
		return tx.PutCreds("A", "u", must(FormatCreds(token, seed)))
	})
	pub := publicOf(kp)
	creds := "-----BEGIN NATS USER JWT-----\n" + token + "\n------END NATS USER JWT------\n\n" +
		"************************* IMPORTANT *************************\n" +
		"NKEY Seed printed below can be used to sign and prove identity.\n" +
		"NKEYs are sensitive and should be treated as secrets.\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + string(seed) + "\n------END USER NKEY SEED------\n\n" +
		"*************************************************************\n"
	for name, want := range map[string]string{
		"stores/O/.nsc":                               `{"managed":false,"name":"O","kind":"operator","version":"1"}`,
		"stores/O/accounts/A/users/u.jwt":             token,
		"keys/keys/U/" + pub[1:3] + "/" + pub + ".nk": string(seed),
		"keys/creds/O/A/u.creds":                      creds,
		"keys/.gitignore":                             "**/*.nk\n**/*.creds\n",
	} {
		got, _ := readFile(t, filepath.Join(filepath.Dir(w.dirs.Stores), name))
		if got != want {
			t.Errorf("%s is\n%q, want\n%q", name, got, want)
		}
	}
}

// A store that was laid out by hand, with what the official tool tolerates.
func TestReadsForeignStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := filepath.Join(w.dirs.Stores, "foreign")
	user := must(nkeys.CreateUser())
	operatorToken, accountToken := w.operatorJWT("Real"), w.accountJWT("odd", w.account)
	writeFile(t, root+"/.nsc", `{"managed":true,"name":"Real","kind":"operator","version":"1","new":[1]}`)
	writeFile(t, root+"/Real.jwt", operatorToken)
	writeFile(t, root+"/accounts/ odd /"+" odd .jwt", accountToken+"\n")
	writeFile(t, root+"/accounts/ odd /users/u.jwt", w.userJWT("u", user))
	writeFile(t, root+"/accounts/ odd /users/note.txt", "")
	writeFile(t, root+"/accounts/nojwt/other.jwt", "")
	writeFile(t, w.dirs.Stores+"/no operator/file", "")

	if got := must(w.store.Operators()); !slices.Equal(got, []string{"O", "foreign"}) {
		t.Errorf("operators %q", got)
	}
	o := must(w.store.Operator(t.Context(), "foreign"))
	if got := must(o.JWT()); got != operatorToken {
		t.Errorf("operator JWT %q", got)
	}
	if got := must(o.Accounts()); !slices.Equal(got, []string{" odd "}) {
		t.Errorf("accounts %q", got)
	}
	if got := must(o.Account(publicOf(w.account))); got != " odd " {
		t.Errorf("account by key %q", got)
	}
	if got := must(o.AccountJWT(" odd ")); got != accountToken {
		t.Errorf("account JWT %q", got)
	}
	if got := must(o.Users(" odd ")); !slices.Equal(got, []string{"u"}) {
		t.Errorf("users %q", got)
	}
	if got := must(o.User(" odd ", publicOf(user))); got != "u" {
		t.Errorf("user by key %q", got)
	}
	err := w.store.Update(t.Context(), "foreign", func(tx *Tx) error {
		return tx.PutInfo(Info{Managed: false, Name: "Real"})
	})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := readFile(t, root+"/.nsc")
	if want := `{"managed":false,"name":"Real","kind":"operator","version":"1","new":[1]}`; got != want {
		t.Errorf(".nsc is %s, want %s", got, want)
	}
	err = w.store.Update(t.Context(), "foreign", func(tx *Tx) error { return tx.DeleteAccount(" odd ") })
	if err != nil {
		t.Fatal(err)
	}
	// What is not ours stays, and is no account any more.
	if _, err := os.Stat(root + "/accounts/ odd /users/note.txt"); err != nil {
		t.Error(err)
	}
	if got := must(o.Accounts()); len(got) != 0 {
		t.Errorf("accounts %q", got)
	}
}

func TestOperatorByKeyAndSuggestion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if o := must(w.store.Operator(t.Context(), publicOf(w.operator))); o.Name() != "O" {
		t.Errorf("operator by key: %q", o.Name())
	}
	_, err := w.read().AccountJWT("a")
	if f := fault.As(err); f == nil || f.Code != fault.NotFound || f.Hint != `did you mean "A"?` {
		t.Errorf("AccountJWT(a): %#v", err)
	}
}
