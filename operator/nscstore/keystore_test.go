package nscstore

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

func TestKeystore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.store.Keystore()
	for _, kp := range []nkeys.KeyPair{must(nkeys.CreateUser()), must(nkeys.CreateCurveKeys()), must(nkeys.CreateAccount())} {
		pub, seed := publicOf(kp), seedOf(kp)
		if k.HasSeed(pub) {
			t.Errorf("%s is there before", pub)
		}
		_, err := k.Seed(pub)
		wantFault(t, err, fault.NotFound, "")
		if got, err := k.AddSeed(t.Context(), append(seed, '\n')); got != pub || err != nil {
			t.Errorf("AddSeed: %q %v", got, err)
		}
		file := must(k.SeedPath(pub))
		if want := filepath.Join(w.dirs.Keys, "keys", pub[:1], pub[1:3], pub+".nk"); file != want {
			t.Errorf("path %s, want %s", file, want)
		}
		if got, mode := readFile(t, file); got != string(seed) || mode != 0o600 {
			t.Errorf("file of %s: mode %o", pub, mode)
		}
		if got, err := k.Seed(pub); string(got) != string(seed) || err != nil {
			t.Errorf("Seed: %v", err)
		}
		if all := must(k.Seeds()); !slices.Contains(all, pub) {
			t.Errorf("seeds %q lack %s", all, pub)
		}
		for range 2 {
			if err := k.RemoveSeed(t.Context(), pub); err != nil || k.HasSeed(pub) {
				t.Errorf("RemoveSeed: %v", err)
			}
		}
	}
	checkModes(t, w.dirs.Keys)
	w.requireNoTemps()
}

func TestSeedsStayOutOfErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.store.Keystore()
	kp, other := must(nkeys.CreateUser()), must(nkeys.CreateUser())
	pub, secret := publicOf(kp), string(seedOf(other))
	token := w.userJWT("u", kp)
	file := must(k.SeedPath(pub))
	for _, content := range []string{secret, secret[:57], secret[:20] + "!" + secret[21:], ""} {
		writeFile(t, file, content)
		_, readErr := k.Seed(pub)
		wantFault(t, readErr, fault.Invalid, "file-damaged")
		_, addErr := k.AddSeed(t.Context(), []byte(content+"x"))
		wantFault(t, addErr, fault.Invalid, "seed-malformed")
		armour := "-----BEGIN NATS USER JWT-----\n" + token + "\n------END NATS USER JWT------\n" +
			"-----BEGIN USER NKEY SEED-----\n" + content + "\n------END USER NKEY SEED------\n"
		_, _, parseErr := ParseCreds([]byte(armour))
		wantFault(t, parseErr, fault.Invalid, "creds-malformed")
		_, formatErr := FormatCreds(token, []byte(content))
		wantFault(t, formatErr, fault.Invalid, "creds-malformed")
		putErr := w.tryUpdate(func(tx *Tx) error { return tx.PutCreds("A", "u", []byte(armour)) })
		wantFault(t, putErr, fault.Invalid, "creds-malformed")
		for _, err := range []error{readErr, addErr, parseErr, formatErr, putErr} {
			if err != nil && content != "" && strings.Contains(err.Error(), content[2:10]) {
				t.Errorf("error shows the seed: %v", err)
			}
		}
	}
	_, err := k.Seed("../../x")
	wantFault(t, err, fault.Invalid, "key-malformed")
}

func TestCredsRoundTrip(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kp := must(nkeys.CreateUser())
	token, seed := w.userJWT("u", kp), seedOf(kp)
	creds := must(FormatCreds(token, seed))
	for _, data := range [][]byte{creds, []byte(strings.ReplaceAll(string(creds), "\n", "\r\n"))} {
		gotToken, gotSeed, err := ParseCreds(data)
		if err != nil || gotToken != token || string(gotSeed) != string(seed) {
			t.Errorf("ParseCreds: %v", err)
		}
	}
	w.update(func(tx *Tx) error { return tx.PutCreds("A", "u", creds) })
	if got := must(w.store.Keystore().Creds("O", "A", "u")); string(got) != string(creds) {
		t.Error("credentials differ")
	}
	w.update(func(tx *Tx) error { return tx.RemoveCreds("A", "u") })
	_, err := w.store.Keystore().Creds("O", "A", "u")
	wantFault(t, err, fault.NotFound, "")
}

func TestOldKeystoreIsRefused(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"O/DU/ODU.nk", "U/AB/UAB.nk", "x.nk", "x.creds"} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, file), "")
		_, err := Open(Dirs{Keys: dir})
		wantFault(t, err, fault.Invalid, "keystore-layout")
		if f := fault.As(err); f == nil || f.Hint != "nsc keys migrate" {
			t.Errorf("hint of %v", err)
		}
	}
}

func TestNoGitIgnore(t *testing.T) {
	t.Parallel()
	dirs := Dirs{Keys: filepath.Join(t.TempDir(), "k"), NoGitIgnore: true}
	if _, err := must(Open(dirs)).Keystore().AddSeed(t.Context(), seedOf(must(nkeys.CreateUser()))); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dirs.Keys, ".gitignore")); err == nil {
		t.Error("there is a .gitignore")
	}
}

func TestGitIgnoreOfOthersStays(t *testing.T) {
	t.Parallel()
	dirs := Dirs{Keys: t.TempDir()}
	file := filepath.Join(dirs.Keys, ".gitignore")
	writeFile(t, file, "mine")
	if _, err := must(Open(dirs)).Keystore().AddSeed(t.Context(), seedOf(must(nkeys.CreateUser()))); err != nil {
		t.Fatal(err)
	}
	if got, _ := readFile(t, file); got != "mine" {
		t.Errorf(".gitignore is %q", got)
	}
}

// Many seeds are stored at once, each in its place; one that is none is refused
// before any is stored.
func TestAddSeeds(t *testing.T) {
	t.Parallel()
	k := must(Open(Dirs{Stores: t.TempDir(), Keys: t.TempDir()})).Keystore()
	var seeds [][]byte
	var pubs []string
	for range 20 {
		pair := must(nkeys.CreateAccount())
		seeds, pubs = append(seeds, seedOf(pair)), append(pubs, must(pair.PublicKey()))
	}
	if err := k.AddSeeds(t.Context(), append(slices.Clone(seeds), []byte("none"))...); !fault.Is(err, fault.Invalid) {
		t.Errorf("a text that is no seed: %v", err)
	}
	if got := must(k.Seeds()); len(got) != 0 {
		t.Errorf("%d seeds of a refused call are stored", len(got))
	}
	if err := k.AddSeeds(t.Context(), append(slices.Clone(seeds), seeds[0])...); err != nil {
		t.Fatal(err)
	}
	slices.Sort(pubs)
	if got := must(k.Seeds()); !slices.Equal(got, pubs) {
		t.Errorf("stored %q, want %q", got, pubs)
	}
	for i, pub := range pubs {
		if _, err := k.Seed(pub); err != nil {
			t.Errorf("seed %d: %v", i, err)
		}
	}
}
