package bolt_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

func TestModes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b", "store.db")
	s := open(t, path)
	fill(t, s)
	for name, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): fs.ModeDir | 0o700, filepath.Dir(filepath.Dir(path)): fs.ModeDir | 0o700} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode is not narrowed: %v, %v", info.Mode(), err)
	}
	if names, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(names) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestMustExist(t *testing.T) {
	t.Parallel()
	path := temp(t)
	_, err := bolt.Open(path, bolt.Options{MustExist: true})
	if !errors.Is(err, fs.ErrNotExist) || !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file was created")
	}
}

func TestSecondOpenerIsRefused(t *testing.T) {
	t.Parallel()
	path := temp(t)
	s := open(t, path)
	fill(t, s)
	begin := time.Now()
	_, err := bolt.Open(path, bolt.Options{})
	wantRefusal(t, err, store.ErrLocked, fault.Unavailable)
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("the refusal took %v", d)
	}
	filled(t, s)
}

func TestOtherProcessIsRefused(t *testing.T) {
	t.Parallel()
	path := temp(t)
	c := startChild(t, "hold", path)
	if line := c.line(t); line != "ready" {
		t.Fatalf("child says %q", line)
	}
	_, err := bolt.Open(path, bolt.Options{})
	wantRefusal(t, err, store.ErrLocked, fault.Unavailable)
	c.kill(t)
	open(t, path)
}

// TestManyCreators lets openers race for a file that does not exist: all who
// get it see one store.
func TestManyCreators(t *testing.T) {
	t.Parallel()
	path := temp(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := bolt.Open(path, bolt.Options{LockTimeout: 10 * time.Second})
			if err != nil {
				t.Error(err)
				return
			}
			err = s.Update(context.Background(), func(tx store.Tx) error {
				head, err := tx.Head()
				if err != nil {
					return err
				}
				_, err = tx.Put(head, store.Record{Kind: store.Account, Key: "A1"}, store.Change{})
				return err
			})
			if err := errors.Join(err, s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := open(t, path)
	err := s.View(context.Background(), func(r store.Reader) error {
		head, err := r.Head()
		if head != 8 {
			t.Errorf("head %d after 8 openers", head)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func wantRefusal(t *testing.T, err, want error, code fault.Code) {
	t.Helper()
	f := fault.As(err)
	if !errors.Is(err, want) || f == nil || f.Code != code || f.Hint == "" || f.Entity != "store" {
		t.Errorf("got %v (%+v), want %v as %s with a hint", err, f, want, code)
	}
}

// TestRefusedFiles opens what is no store, or none that this version can use.
func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  error
	}{
		"empty":        {func(t *testing.T, path string) { overwrite(t, path, nil) }, bolt.ErrForeign},
		"text":         {func(t *testing.T, path string) { overwrite(t, path, []byte("# hello\n")) }, bolt.ErrForeign},
		"long text":    {func(t *testing.T, path string) { overwrite(t, path, []byte(strings.Repeat("x", 1<<14))) }, bolt.ErrForeign},
		"zeros":        {func(t *testing.T, path string) { overwrite(t, path, make([]byte, 1<<14)) }, bolt.ErrForeign},
		"folder":       {func(t *testing.T, path string) { remake(t, path) }, bolt.ErrForeign},
		"other bbolt":  {otherBolt, bolt.ErrForeign},
		"newer schema": {setSchema("2"), store.ErrSchema},
		"no schema":    {setSchema("x"), bolt.ErrDamaged},
		"lost bucket":  {dropBucket, bolt.ErrDamaged},
		"cut short":    {cut(20_000), bolt.ErrDamaged},
		"cut to metas": {cut(8192), bolt.ErrDamaged},
		"both metas":   {smash(0, 8192), bolt.ErrForeign},
		"meta sums":    {smash(70, 4096+90), bolt.ErrDamaged},
		"pages":        {smash(8192, -1), bolt.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := temp(t)
			s := open(t, path)
			fill(t, s)
			big := store.Record{Kind: store.Account, Key: "A2", JWT: strings.Repeat("j", 50_000)}
			err := s.Update(context.Background(), func(tx store.Tx) error {
				_, err := tx.Put(0, big, store.Change{})
				return err
			})
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, path)
			before, _ := os.ReadFile(path)
			_, err = bolt.Open(path, bolt.Options{})
			wantRefusal(t, err, c.want, fault.Invalid)
			if after, _ := os.ReadFile(path); string(before) != string(after) {
				t.Error("the refused file was changed")
			}
			// A refusal leaves no lock behind.
			_, err = bolt.Open(path, bolt.Options{})
			wantRefusal(t, err, c.want, fault.Invalid)
		})
	}
}

func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remake(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
}

func cut(size int64) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
}

// smash overwrites a part of the file, all pages in use for -1.
func smash(from, to int) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if to < 0 {
			to = min(len(data), 1<<18)
		}
		for i := from; i < to; i++ {
			data[i] = 0xa5
		}
		overwrite(t, path, data)
	}
}

// edit changes the file behind the store's back.
func edit(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func otherBolt(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("theirs"))
		return err
	})
}

func setSchema(text string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		edit(t, path, func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("accountd")).Put([]byte("schema"), []byte(text))
		})
	}
}

func dropBucket(t *testing.T, path string) {
	t.Helper()
	edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("nonces")) })
}

// TestDamageInside finds damage that shows only when a record is read.
func TestDamageInside(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*bbolt.Tx) error{
		"flipped bit": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("records")).Bucket([]byte("account"))
			data := append([]byte(nil), b.Get([]byte("A1"))...)
			data[len(data)-3] ^= 1
			return b.Put([]byte("A1"), data)
		},
		"record under another key": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("records")).Bucket([]byte("account"))
			return b.Put([]byte("A2"), b.Get([]byte("A1")))
		},
		"lost change": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("changes")).Delete([]byte("\x00\x00\x00\x00\x00\x00\x00\x02"))
		},
		"lost nonce": func(tx *bbolt.Tx) error { return tx.Bucket([]byte("nonces")).Delete([]byte("n")) },
		"lost nonce time": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("nonce_times")).Delete([]byte("\x00\x00\x00\x00\x00\x00\x07\xd0n"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := temp(t)
			s := open(t, path)
			fill(t, s)
			for i := range uint64(2) {
				mustPut(t, s, i+1, store.Record{Kind: store.Account, Key: "A1", JWT: "j"})
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			edit(t, path, damage)
			err := open(t, path).Check(context.Background())
			if !errors.Is(err, bolt.ErrDamaged) || !fault.Is(err, fault.Invalid) {
				t.Errorf("check: %v", err)
			}
		})
	}
}

func mustPut(t testing.TB, s store.Store, base uint64, rec store.Record) {
	t.Helper()
	err := s.Update(context.Background(), func(tx store.Tx) error {
		_, err := tx.Put(base, rec, store.Change{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFileShrinksUnderUs truncates the file of an open store: reads fail, and
// the process lives.
func TestFileShrinksUnderUs(t *testing.T) {
	t.Parallel()
	path := temp(t)
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s)
	mustPut(t, s, 1, store.Record{Kind: store.Account, Key: "A1", JWT: strings.Repeat("j", 100_000)})
	cut(8192)(t, path)
	err = s.View(context.Background(), func(r store.Reader) error {
		_, err := r.Get(store.Account, "A1")
		return err
	})
	if !errors.Is(err, bolt.ErrDamaged) {
		t.Errorf("get: %v", err)
	}
	if err := s.Check(context.Background()); !errors.Is(err, bolt.ErrDamaged) {
		t.Errorf("check: %v", err)
	}
	err = s.Update(context.Background(), func(tx store.Tx) error { return tx.SetMeta("m", "w") })
	if !errors.Is(err, bolt.ErrDamaged) {
		t.Errorf("update: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
