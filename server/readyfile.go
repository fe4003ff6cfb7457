package server

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
)

// readyFile is the path of the file that says that the service is ready, "" for
// none.
type readyFile string

// check refuses a file that could not be written later.
func (f readyFile) check() error {
	if f == "" {
		return nil
	}
	if f.isFolder() {
		return f.unwritable(errors.New("it is a folder"))
	}
	probe, err := os.CreateTemp(filepath.Dir(string(f)), ".accountd-ready-*")
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return f.unwritable(pe.Err) // without the name of the probe
	}
	if err != nil {
		return f.unwritable(err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// write replaces the file by v as JSON.
func (f readyFile) write(v any) error {
	if f == "" {
		return nil
	}
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fault.New(fault.Internal, "encode ready file: %w", err)
	}
	if err := durable.WriteFile(string(f), append(raw, '\n'), 0o644); err != nil {
		return f.unwritable(err)
	}
	return nil
}

// remove makes sure that there is none.
func (f readyFile) remove() error {
	if f == "" || f.isFolder() {
		return nil
	}
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.unwritable(err)
	}
	return nil
}

func (f readyFile) isFolder() bool {
	fi, err := os.Lstat(string(f))
	return err == nil && fi.IsDir()
}

func (f readyFile) unwritable(err error) error {
	return writeFault(string(f), err, "name a file in a folder that exists and that you may write to: --ready-file FILE")
}
