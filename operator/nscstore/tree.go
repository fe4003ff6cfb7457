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
	// files are those of names, below dir, that has is true of.
	files(dir string, names []string) ([]string, error)
	list(dir string) ([]string, error) // sorted; a missing folder has none
	// alike are the entries of dir that differ from name in case only.
	alike(dir, name string) ([]string, error)
}

// disk is the folder dir on the disk. It opens the folder for each call, so
// that it needs no closing, unless it is held, and never leaves it, symbolic
// links included.
type disk struct {
	dir  string
	held *os.Root // of dir, nil if it is not held
}

// hold opens the folder, for many calls of what it returns, until release.
func (d disk) hold() (held disk, release func(), err error) {
	if d.held != nil {
		return d, func() {}, nil
	}
	d.held, err = os.OpenRoot(d.dir)
	return d, func() { _ = d.held.Close() }, err
}

func (d disk) read(name string) ([]byte, error) {
	d, release, err := d.hold()
	if err != nil {
		return nil, err
	}
	defer release()
	f, err := d.held.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not hold us up
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
	d, release, err := d.hold()
	if err != nil {
		return false
	}
	defer release()
	fi, err := d.held.Stat(name)
	return err == nil && fi.Mode().IsRegular()
}

func (d disk) files(dir string, names []string) ([]string, error) {
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	below, err := root.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer below.Close()
	var out []string
	for _, name := range names {
		if fi, err := below.Stat(name); err == nil && fi.Mode().IsRegular() {
			out = append(out, name)
		}
	}
	return out, nil
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
