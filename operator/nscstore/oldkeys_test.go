package nscstore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// TestMigrateKeystore: seeds and credentials of both old layouts end where they
// belong, the old files are kept, and a second run finds nothing to do.
func TestMigrateKeystore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "old keys")
	user, loose := must(nkeys.CreateUser()), must(nkeys.CreateAccount())
	creds := string(must(FormatCreds(w.userJWT("u", user), seedOf(user))))
	writeFile(t, filepath.Join(dir, "O/O.nk"), string(seedOf(w.operator))+"\n")
	writeFile(t, filepath.Join(dir, "O/accounts/A/A.nk"), string(seedOf(w.account)))
	writeFile(t, filepath.Join(dir, "O/accounts/A/users/u.nk"), string(seedOf(user)))
	writeFile(t, filepath.Join(dir, "O/accounts/A/users/u.creds"), creds)
	writeFile(t, filepath.Join(dir, "A/XX", publicOf(loose)+".nk"), string(seedOf(loose)))
	d := Dirs{Keys: dir, Stores: w.dirs.Stores}

	if _, err := Open(d); !fault.Is(err, fault.Invalid) {
		t.Fatalf("an old keystore opens: %v", err)
	}
	plan := must(PlanKeystoreMigration(t.Context(), d))
	if _, err := os.Stat(plan.Old); err == nil || len(plan.Keys) != 4 || plan.Creds != 1 {
		t.Fatalf("plan %+v", plan)
	}
	m := must(MigrateKeystore(t.Context(), d))
	ks := must(Open(d)).Keystore()
	for _, kp := range []nkeys.KeyPair{w.operator, w.account, user, loose} {
		if seed := must(ks.Seed(publicOf(kp))); string(seed) != string(seedOf(kp)) {
			t.Errorf("seed of %s", publicOf(kp))
		}
	}
	if got := must(ks.Creds("O", "A", "u")); string(got) != creds {
		t.Error("the credentials differ")
	}
	if got, _ := readFile(t, filepath.Join(m.Old, "O/accounts/A/users/u.creds")); got != creds {
		t.Error("the old credentials are not kept")
	}
	checkModes(t, filepath.Join(dir, "keys"))
	if again := must(MigrateKeystore(t.Context(), d)); again.Old != "" {
		t.Errorf("a second run found %+v", again)
	}
}

// TestMigrateKeystoreRefuses: what cannot be placed is named before anything is
// changed.
func TestMigrateKeystoreRefuses(t *testing.T) {
	t.Parallel()
	good := must(nkeys.CreateUser())
	for name, content := range map[string]string{
		"O/O.nk":      "no seed",
		"u.creds":     "x", // of whom?
		"O/A/../x.nk": "",
	} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "a.nk"), string(seedOf(good)))
		writeFile(t, filepath.Join(dir, name), content)
		_, err := MigrateKeystore(t.Context(), Dirs{Keys: dir})
		wantFault(t, err, fault.Invalid, "file-damaged")
		if _, err := os.Stat(filepath.Join(dir, "keys")); err == nil {
			t.Errorf("%s: something was changed", name)
		}
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.nk"), string(seedOf(good)))
	place := must((&Keystore{dirs: Dirs{Keys: dir}}).SeedPath(publicOf(good)))
	writeFile(t, place, "another seed")
	_, err := MigrateKeystore(t.Context(), Dirs{Keys: dir})
	wantFault(t, err, fault.Conflict, "keystore-layout")
}
