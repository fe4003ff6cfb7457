package nscstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Modes of everything that is made here, whatever the umask.
const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600
)

// maxFile is the largest file in bytes that is read.
const maxFile = 2 << 20

// tree is a folder: the one on the disk, or as a transaction will leave it.
// Names are relative and separated by slashes.
type tree interface {
	read(name string) ([]byte, error) // fs.ErrNotExist without the file
	has(name string) bool
	list(dir string) ([]string, error) // sorted; a missing folder has none
	// alike are the entries of dir that differ from name in case only.
	alike(dir, name string) ([]string, error)
}

// disk is the folder dir on the disk. It opens the folder for each call, so
// that it needs no closing, and never leaves it, symbolic links included.
type disk struct{ dir string }

func (d disk) read(name string) ([]byte, error) {
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !fi.Mode().IsRegular():
		return nil, damaged(filepath.Join(d.dir, name), errors.New("it is not a file"))
	case fi.Size() > maxFile:
		return nil, damaged(filepath.Join(d.dir, name), fmt.Errorf("it is larger than %d bytes", maxFile))
	}
	data := make([]byte, fi.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

func (d disk) has(name string) bool {
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return false
	}
	defer root.Close()
	fi, err := root.Stat(name)
	return err == nil && fi.Mode().IsRegular()
}

func (d disk) list(dir string) (names []string, err error) {
	f, err := d.open(dir)
	if f == nil {
		return nil, err
	}
	defer f.Close()
	names, err = f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (d disk) alike(dir, name string) ([]string, error) {
	f, err := d.folder(dir)
	if err != nil {
		return nil, err
	}
	return f.alike(name), nil
}

// open opens a folder; one that is missing is nil, without an error.
func (d disk) open(dir string) (*os.File, error) {
	root, err := os.OpenRoot(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}
