package nscstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator"
)

// newIdentity returns an identity and how a keystore is sealed to it.
func newIdentity(t *testing.T) (string, Sealing) {
	t.Helper()
	id := must(operator.NewIdentity())
	return id, Sealing{Recipient: must(operator.Recipient(id))}
}

// withIdentities opens the world's store with these identities.
func (w *world) withIdentities(ids ...string) *Keystore {
	w.store = must(Open(w.dirs))
	w.store.Keystore().Unlock(func() ([]string, error) { return ids, nil })
	return w.store.Keystore()
}

// plainSeeds returns the names of seed files that hold a seed as it is.
func (w *world) plainSeeds() []string {
	w.t.Helper()
	var out []string
	for _, pub := range must(w.store.Keystore().Seeds()) {
		file := must(w.store.Keystore().SeedPath(pub))
		if data, mode := readFile(w.t, file); !operator.IsSealed([]byte(data)) {
			out = append(out, pub)
		} else if mode != fileMode || bytes.Contains([]byte(data), []byte("SO")) && bytes.Contains([]byte(data), []byte(pub)) {
			w.t.Errorf("%s: mode %o", file, mode)
		}
	}
	return out
}

// TestSeal: sealed seeds are read with the identity and with nothing else, new
// ones are sealed without it, and unsealing brings every byte back.
func TestSeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, to := newIdentity(t)
	other, elsewhere := newIdentity(t)
	ks := w.store.Keystore()
	before := map[string]string{}
	for _, pub := range must(ks.Seeds()) {
		before[pub], _ = readFile(t, must(ks.SeedPath(pub)))
	}
	if done := must(ks.Seal(t.Context(), to)); len(done) != len(before) || len(w.plainSeeds()) > 0 {
		t.Fatalf("sealed %v, plain %v", done, w.plainSeeds())
	}
	if again := must(ks.Seal(t.Context(), to)); len(again) != 0 {
		t.Errorf("sealed again: %v", again)
	}
	_, err := ks.Seal(t.Context(), elsewhere)
	wantFault(t, err, fault.Conflict, "sealed")

	pub := publicOf(w.account)
	_, err = ks.Seed(pub)
	wantFault(t, err, fault.Denied, "sealed")
	_, err = w.withIdentities(other).Seed(pub)
	wantFault(t, err, fault.Invalid, "sealed")
	refused := fault.New(fault.NotFound, "no file")
	w.store.Keystore().Unlock(func() ([]string, error) { return nil, refused })
	if _, err = w.store.Keystore().Seed(pub); !errors.Is(err, refused) {
		t.Errorf("the error of the identity is %v", err)
	}

	w.withIdentities() // adding needs no identity
	w.update(func(tx *Tx) error { return w.addUser(tx, "u") })
	solo := must(nkeys.CreateAccount())
	if _, err := w.store.Keystore().AddSeed(t.Context(), seedOf(solo)); err != nil {
		t.Fatal(err)
	}
	if len(w.plainSeeds()) > 0 {
		t.Errorf("added seeds are not sealed: %v", w.plainSeeds())
	}
	_, err = w.store.Keystore().Unseal(t.Context())
	wantFault(t, err, fault.Denied, "sealed")
	if len(w.plainSeeds()) > 0 {
		t.Error("a refused command opened seeds")
	}
	ks = w.withIdentities(other, id)
	if seed := must(ks.Seed(publicOf(solo))); string(seed) != string(seedOf(solo)) {
		t.Error("the seed is another one")
	}
	if done := must(ks.Unseal(t.Context())); len(done) != len(before)+2 || len(w.plainSeeds()) != len(done) {
		t.Errorf("unsealed %v", done)
	}
	for pub, want := range before {
		if got, _ := readFile(t, must(ks.SeedPath(pub))); got != want {
			t.Errorf("seed of %s is not what it was", pub)
		}
	}
	if s := must(ks.Sealing()); s != nil {
		t.Errorf("still sealed: %+v", s)
	}
}

// TestRotate: the old identity opens nothing afterwards; half done, it is
// finished with both.
func TestRotate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, from := newIdentity(t)
	fresh, to := newIdentity(t)
	must(w.store.Keystore().Seal(t.Context(), from))
	pub := publicOf(w.operator)
	file := must(w.store.Keystore().SeedPath(pub))
	half, _ := readFile(t, file)
	ks := w.withIdentities(old)
	if done := must(ks.Rotate(t.Context(), to, to)); len(done) != 2 {
		t.Fatalf("rotated %v", done)
	}
	writeFile(t, file, half) // as a kill leaves it
	_, err := w.withIdentities(fresh).Rotate(t.Context(), to, to)
	wantFault(t, err, fault.Invalid, "sealed")
	must(w.withIdentities(fresh, old).Rotate(t.Context(), to, to))
	must(w.withIdentities(fresh).Seed(pub))
	_, err = w.withIdentities(old).Seed(pub)
	wantFault(t, err, fault.Invalid, "sealed")
}

// TestSealedFilesThatWereChanged: a changed file is named, never taken for a
// seed.
func TestSealedFilesThatWereChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, to := newIdentity(t)
	must(w.store.Keystore().Seal(t.Context(), to))
	ks := w.withIdentities(id)
	a, b := publicOf(w.operator), publicOf(w.account)
	data, _ := readFile(t, must(ks.SeedPath(a)))
	writeFile(t, must(ks.SeedPath(b)), data)
	_, err := ks.Seed(b)
	wantFault(t, err, fault.Invalid, "file-damaged")
	writeFile(t, must(ks.SeedPath(a)), data[:len(data)-1])
	_, err = ks.Seed(a)
	wantFault(t, err, fault.Invalid, "sealed")
	if err := os.WriteFile(filepath.Join(ks.Dir(), ".accountd/seal.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ks.AddSeed(t.Context(), seedOf(must(nkeys.CreateUser())))
	wantFault(t, err, fault.Invalid, "file-damaged")
}
