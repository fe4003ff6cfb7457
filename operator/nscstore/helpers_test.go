package nscstore

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// world is a store in a folder of its own with the operator "O", its account
// "A", and the keys that sign for them.
type world struct {
	t        testing.TB
	dirs     Dirs
	store    *Store
	operator nkeys.KeyPair
	account  nkeys.KeyPair
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dirs: Dirs{
		Config: filepath.Join(dir, "config"),
		Stores: filepath.Join(dir, "stores"),
		Keys:   filepath.Join(dir, "keys"),
	}}
	w.operator = must(nkeys.CreateOperator())
	w.account = must(nkeys.CreateAccount())
	w.store = must(Open(w.dirs))
	err := w.store.Create(t.Context(), "O", false, func(tx *Tx) error {
		if err := tx.PutOperator(w.operatorJWT("O")); err != nil {
			return err
		}
		for _, kp := range []nkeys.KeyPair{w.operator, w.account} {
			if _, err := tx.AddSeed(seedOf(kp)); err != nil {
				return err
			}
		}
		return tx.PutAccount("A", w.accountJWT("A", w.account))
	})
	if err != nil {
		t.Fatalf("create operator: %v", err)
	}
	return w
}

func (w *world) update(fn func(*Tx) error) {
	w.t.Helper()
	if err := w.store.Update(w.ctx(), "O", fn); err != nil {
		w.t.Fatalf("update: %v", err)
	}
}

func (w *world) read() *Operator {
	w.t.Helper()
	o, err := w.store.Operator(w.ctx(), "O")
	if err != nil {
		w.t.Fatalf("open operator: %v", err)
	}
	return o
}

// ctx ends long before the test runner loses patience.
func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *world) operatorJWT(name string) string {
	c := jwt.NewOperatorClaims(publicOf(w.operator))
	c.Name = name
	return must(c.Encode(w.operator))
}

func (w *world) accountJWT(name string, kp nkeys.KeyPair, tags ...string) string {
	c := jwt.NewAccountClaims(publicOf(kp))
	c.Name = name
	c.Tags.Add(tags...)
	return must(c.Encode(w.operator))
}

func (w *world) userJWT(name string, kp nkeys.KeyPair) string {
	c := jwt.NewUserClaims(publicOf(kp))
	c.Name = name
	return must(c.Encode(w.account))
}

// addUser stages a user with its JWT, seed and credentials.
func (w *world) addUser(tx *Tx, name string) error {
	kp := must(nkeys.CreateUser())
	token, seed := w.userJWT(name, kp), seedOf(kp)
	if err := tx.PutUser("A", name, token); err != nil {
		return err
	}
	if _, err := tx.AddSeed(seed); err != nil {
		return err
	}
	return tx.PutCreds("A", name, must(FormatCreds(token, seed)))
}

func publicOf(kp nkeys.KeyPair) string { return must(kp.PublicKey()) }
func seedOf(kp nkeys.KeyPair) []byte   { return must(kp.Seed()) }

// must is for calls that fail only when the test itself is wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// readFile returns a file's content and mode.
func readFile(t testing.TB, name string) (string, os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), fi.Mode().Perm()
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
