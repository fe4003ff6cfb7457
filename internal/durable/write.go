package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// tempPrefix and tempSuffix mark the temporary files of this package; between
// them stand the name of the target and a random part.
const (
	tempPrefix = "."
	tempSuffix = ".accountd-tmp"
)

// WriteFile replaces the file at name by data with mode exactly perm: it
// writes a temporary file in the same folder, syncs it, renames it over name
// and syncs the folder. On an error before the rename the old file is intact;
// on an error after it the new content is in place, yet perhaps not durable.
func WriteFile(name string, data []byte, perm fs.FileMode) error {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer root.Close()
	return WriteFileIn(root, filepath.Base(name), data, perm)
}

// WriteFileIn is [WriteFile] below root.
func WriteFileIn(root *os.Root, name string, data []byte, perm fs.FileMode) error {
	f, temp, err := createTemp(root, name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer f.Close()
	if err = fill(f, data, perm); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, root.Remove(temp)))
	}
	return SyncIn(root, path.Dir(name))
}

// Create writes a new file at name with mode exactly perm and the content that
// fill writes; the name must not exist (fs.ErrExist). It is there whole and
// durable, or not at all.
func Create(name string, perm fs.FileMode, fill func(io.Writer) error) error {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer root.Close()
	base := filepath.Base(name)
	if _, err := root.Lstat(base); err == nil {
		return fmt.Errorf("create %s: %w", name, fs.ErrExist)
	}
	f, temp, err := createTemp(root, base)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer f.Close()
	if err = fill(f); err == nil {
		err = errors.Join(f.Chmod(perm), f.Sync())
	}
	if err == nil {
		err = root.Link(temp, base) // unlike a rename it replaces nothing
	}
	if err = errors.Join(err, root.Remove(temp)); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return SyncIn(root, ".")
}

// CreateIn writes a new file below root with mode exactly perm, not yet
// durable: [SyncIn] it and its folder. The name must not exist; after an error
// it does not.
func CreateIn(root *os.Root, name string, data []byte, perm fs.FileMode) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	if err := errors.Join(fill(f, data, perm), f.Close()); err != nil {
		return fmt.Errorf("create %s: %w", name, errors.Join(err, root.Remove(name)))
	}
	return nil
}

// fill writes data and sets the mode, whatever the umask.
func fill(f *os.File, data []byte, perm fs.FileMode) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Chmod(perm)
}

// createTemp makes the temporary file for name. Its writer holds a lock on it
// while it lives, which is how RemoveLeftovers tells the dead from the living.
func createTemp(root *os.Root, name string) (*os.File, string, error) {
	for {
		temp := path.Join(path.Dir(name), tempPrefix+path.Base(name)+"."+rand.Text()+tempSuffix)
		f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, "", err
		}
		switch owned, err := tryOwn(f); {
		case err != nil:
			return nil, "", errors.Join(err, f.Close(), root.Remove(temp))
		case owned:
			return f, temp, nil
		}
		f.Close() // a cleaner was faster and removes it
	}
}

// tryOwn locks f and reports whether that worked and f still has a name.
func tryOwn(f *os.File) (bool, error) {
	if ok, err := tryFlock(f); !ok || err != nil {
		return false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return st.Nlink > 0, nil
}

// RemoveLeftovers removes from the folder dir what writers that were killed
// left behind; the files of living writers stay. A missing folder is no error.
func RemoveLeftovers(dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove leftovers: %w", err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("remove leftovers in %s: %w", dir, err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix) || !strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if err := removeDead(root, e.Name()); err != nil {
			return fmt.Errorf("remove leftover %s: %w", e.Name(), err)
		}
	}
	return nil
}

// removeDead removes the temporary file name unless its writer lives.
func removeDead(root *os.Root, name string) error {
	f, err := root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	owned, err := tryOwn(f)
	if err != nil || !owned {
		return err
	}
	err = root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its writer has renamed it meanwhile
	}
	return err
}

// MkdirAll makes the folder dir and its missing parents with mode exactly
// perm, and syncs every folder that got a new entry. What exists keeps its
// mode.
func MkdirAll(dir string, perm fs.FileMode) error {
	existing := filepath.Clean(dir)
	for {
		fi, err := os.Stat(existing)
		if err == nil {
			if !fi.IsDir() {
				return fmt.Errorf("make folder %s: %s is not a folder", dir, existing)
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(existing) == existing {
			return fmt.Errorf("make folder %s: %w", dir, err)
		}
		existing = filepath.Dir(existing)
	}
	rel, err := filepath.Rel(existing, filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("make folder %s: %w", dir, err)
	}
	root, err := os.OpenRoot(existing)
	if err != nil {
		return fmt.Errorf("make folder %s: %w", dir, err)
	}
	defer root.Close()
	return MkdirAllIn(root, filepath.ToSlash(rel), perm)
}

// MkdirAllIn is [MkdirAll] below root.
func MkdirAllIn(root *os.Root, dir string, perm fs.FileMode) error {
	grown, err := MakeDirsIn(root, dir, perm)
	if err != nil {
		return err
	}
	return SyncIn(root, grown...)
}

// MakeDirsIn is MkdirAllIn without durability: it returns the folders that got
// a new entry, for a later [SyncIn].
func MakeDirsIn(root *os.Root, dir string, perm fs.FileMode) (grown []string, err error) {
	if dir = path.Clean(dir); dir == "." {
		return nil, nil
	}
	if !filepath.IsLocal(dir) {
		return nil, fmt.Errorf("make folder %s: it is not below the root", dir)
	}
	if fi, err := root.Stat(dir); err == nil && fi.IsDir() {
		return nil, nil
	}
	parent := path.Dir(dir)
	if grown, err = MakeDirsIn(root, parent, perm); err != nil {
		return grown, err
	}
	err = root.Mkdir(dir, perm)
	if errors.Is(err, fs.ErrExist) {
		if fi, err := root.Stat(dir); err == nil && fi.IsDir() {
			return grown, nil // another process was faster
		}
	}
	if err == nil {
		err = root.Chmod(dir, perm)
	}
	if err != nil {
		return grown, fmt.Errorf("make folder %s: %w", dir, err)
	}
	return append(grown, parent), nil
}

// syncsAtOnce is how many files are synced at a time: a journal writes what
// comes together in one go.
const syncsAtOnce = 32

// SyncIn makes files, and the entries of folders, below root durable. To sync
// many at the end costs far less than each after its change.
func SyncIn(root *os.Root, names ...string) error {
	var g errgroup.Group
	g.SetLimit(syncsAtOnce)
	for _, name := range names {
		g.Go(func() error {
			if err := syncOne(root, name); err != nil {
				return fmt.Errorf("sync %s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func syncOne(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
