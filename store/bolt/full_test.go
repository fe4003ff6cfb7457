//go:build unix

package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

// fillDisk writes until the file may not grow, looks at what is left, and goes
// on when there is room again. The limit on the size of files stands for a full
// disk.
func fillDisk(s *bolt.Store, path string) error {
	signal.Ignore(syscall.SIGXFSZ) // the write then fails with EFBIG
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	limit := syscall.Rlimit{Cur: uint64(info.Size()) + 8<<20, Max: was.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	n, err := putUntilFull(s)
	if err := errors.Join(err, intact(s, n)); err != nil {
		return err
	}
	// A small write may still fit; a full disk must not have broken the store.
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if err := putLarge(s, n); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Println("ok", n)
	return nil
}

// putUntilFull returns how many writes were acknowledged.
func putUntilFull(s *bolt.Store) (int, error) {
	for n := range 1000 {
		err := putLarge(s, n)
		if errors.Is(err, store.ErrUnknown) {
			return n, fmt.Errorf("write %d is not known to have failed: %w", n, err)
		}
		if err != nil {
			return n, nil
		}
	}
	return 0, errors.New("the disk does not fill up")
}

func putLarge(s *bolt.Store, n int) error {
	return s.Update(context.Background(), func(tx store.Tx) error {
		rec := store.Record{Kind: store.Account, Key: fmt.Sprintf("A%04d", n), JWT: strings.Repeat("x", 1<<20)}
		_, err := tx.Put(0, rec, store.Change{})
		return errors.Join(err, tx.SetMeta("last", rec.Key))
	})
}

// intact checks that the first n writes are there, whole, and no other.
func intact(s *bolt.Store, n int) error {
	ctx := context.Background()
	found := 0
	err := s.View(ctx, func(r store.Reader) error {
		last, err := r.Meta("last")
		head, err2 := r.Head()
		if want := fmt.Sprintf("A%04d", n-1); last != want || head != uint64(n) {
			return fmt.Errorf("value %q and head %d after %d writes: %w", last, head, n, errors.Join(err, err2))
		}
		return r.Scan(store.Account, "", func(rec store.Record) bool {
			found++
			return len(rec.JWT) == 1<<20
		})
	})
	if err == nil && found != n {
		err = fmt.Errorf("%d whole records of %d", found, n)
	}
	return errors.Join(err, s.Check(ctx))
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	path := temp(t)
	c := startChild(t, "full", path)
	line := c.line(t)
	c.kill(t)
	var n int
	if _, err := fmt.Sscanf(line, "ok %d", &n); err != nil || n < 3 {
		t.Fatalf("the child says %q", line)
	}
	if err := intact(open(t, path), n+1); err != nil {
		t.Error(err)
	}
}
