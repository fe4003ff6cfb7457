package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/accountd/accountd/fault"
)

// While a lock is held by another, it is tried again after lockPause, doubling
// up to lockPauseMax: one waiter waits at most about twice as long as it must,
// and a hundred do not take the processor from the holder.
const (
	lockPause    = time.Millisecond
	lockPauseMax = 50 * time.Millisecond
)

// Held is a lock that is held. The system drops it when the process dies.
type Held struct{ f *os.File }

// Lock takes the exclusive lock of the file at name, which it makes with mode
// 0600 if it is missing, in a folder that exists. It excludes other processes
// and other goroutines of this one, and waits until ctx ends; then the error is
// fault.Unavailable, or fault.Interrupted if ctx was cancelled, and names the
// file. The lock is not reentrant.
func Lock(ctx context.Context, name string) (*Held, error) {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	defer root.Close()
	return LockIn(ctx, root, filepath.Base(name))
}

// LockIn is [Lock] below root.
func LockIn(ctx context.Context, root *os.Root, name string) (*Held, error) {
	full := filepath.Join(root.Name(), filepath.FromSlash(name))
	for {
		f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", full, err)
		}
		named, err := waitFlock(ctx, root, name, f)
		if named {
			return &Held{f: f}, nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, lockFault(full, err)
		}
	}
}

// waitFlock locks the open file f as soon as no other holds it, and reports
// whether name still leads to f then: a lock on a file that was removed
// meanwhile excludes nobody.
func waitFlock(ctx context.Context, root *os.Root, name string, f *os.File) (named bool, err error) {
	for pause := lockPause; ; pause = min(2*pause, lockPauseMax) {
		ok, err := tryFlock(f)
		if err != nil {
			return false, err
		}
		if ok {
			return isNamed(root, name, f)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false, ctx.Err()
		}
	}
}

// lockFault is the error of giving up on the lock file name.
func lockFault(name string, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return fault.New(fault.Interrupted, "interrupted while waiting for lock %s: %w", name, err).About("lock", name)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "lock %s is held by another process: %w", name, err).
			About("lock", name).WithHint("wait for the other command to end, then repeat this one")
	}
	return fmt.Errorf("lock %s: %w", name, err)
}

// isNamed reports whether name leads to the open file f.
func isNamed(root *os.Root, name string, f *os.File) (bool, error) {
	there, err := root.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	here, err := f.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(here, there), nil
}

// tryFlock locks the open file f, or reports false if another holds the lock.
func tryFlock(f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("flock %s: %w", f.Name(), err)
		}
	}
}

// Unlock gives the lock back; the file stays. A second call does nothing.
func (h *Held) Unlock() error {
	if err := h.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}
