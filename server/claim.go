package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
)

// claimed is a folder that this process owns while it runs.
type claimed struct {
	layout
	held *durable.Held
	made []string // folders that were missing, the innermost first
}

// claim makes dir if it is missing and takes it for this process. It refuses,
// and changes nothing: a folder with other content (fault.Invalid), one that
// another process runs on (fault.Conflict), and one that cannot be written
// (fault.Denied).
func claim(ctx context.Context, dir string) (*claimed, error) {
	l := layout(dir)
	if err := l.requireOurs(); err != nil {
		return nil, err
	}
	c := &claimed{layout: l}
	for d := dir; !exists(d); d = filepath.Dir(d) {
		c.made = append(c.made, d)
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		c.unmake()
		return nil, unwritable(dir, err)
	}
	now, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	held, err := durable.Lock(now, l.lock())
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case now.Err() != nil:
		return nil, l.inUse()
	default:
		c.unmake()
		return nil, unwritable(dir, err)
	}
	c.held = held
	if err := os.WriteFile(l.lock(), fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		return nil, errors.Join(unwritable(dir, err), c.release())
	}
	return c, nil
}

// release gives the folder back: as it was found, if nothing came into it.
func (c *claimed) release() error {
	entries, err := os.ReadDir(string(c.layout))
	if err != nil || len(entries) > 1 {
		return errors.Join(err, os.Truncate(c.lock(), 0), c.held.Unlock())
	}
	err = os.Remove(c.lock())
	c.unmake()
	return errors.Join(err, c.held.Unlock())
}

// unmake removes the folders that claim made, unless somebody else put something
// there.
func (c *claimed) unmake() {
	for _, dir := range c.made {
		_ = os.Remove(dir)
	}
}

// requireOurs refuses a folder that has content and none of ours.
func (l layout) requireOurs() error {
	entries, err := os.ReadDir(string(l))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unwritable(string(l), err)
	}
	for _, mark := range []string{l.lock(), l.staging(), l.state()} {
		if exists(mark) {
			return nil
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "%s is not empty and was not made by accountd dev (it has %s)", l, entries[0].Name()).
		About("folder", string(l)).ByRule("foreign-folder").
		WithHint("name an empty or a new folder: accountd dev --dir %s", filepath.Join(string(l), "accountd-dev"))
}

// inUse is the error of a folder that another process runs on.
func (l layout) inUse() error {
	who := "another process"
	if raw, err := os.ReadFile(l.lock()); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(raw))); err == nil {
			who = fmt.Sprintf("process %d", pid)
		}
	}
	return fault.New(fault.Conflict, "%s is in use by %s", l, who).About("folder", string(l)).ByRule("one-process").
		WithHint("stop it first, or run a second one elsewhere: accountd dev --dir OTHER --port 0")
}

// unwritable is the error of a folder or file that cannot be made or written.
func unwritable(path string, err error) error {
	return writeFault(path, err, "choose a folder that you may write to: accountd dev --dir DIR")
}

// writeFault is unwritable with another hint.
func writeFault(path string, err error, hint string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		hint = "make room on the disk"
	}
	return fault.New(fault.Denied, "cannot write to %s: %w", path, err).About("folder", path).ByRule("writable").WithHint("%s", hint)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
