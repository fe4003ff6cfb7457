package server

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/accountd/accountd/internal/durable"
)

// maxServerLog is the size in bytes at which the log is put aside as .1, where
// it replaces the one before.
const maxServerLog = 4 << 20

// serverLog is the file of what the nats-servers log. What concerns a person is
// in the errors and the health of a node; the rest would bury it.
type serverLog struct {
	logger *slog.Logger
	path   string

	mu   sync.Mutex
	file *os.File
	size int64
}

func openServerLog(path string) (*serverLog, error) {
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, unwritable(path, err)
	}
	s := &serverLog{path: path}
	if err := s.open(); err != nil {
		return nil, unwritable(path, err)
	}
	s.logger = slog.New(slog.NewTextHandler(s, nil))
	return s, nil
}

func (s *serverLog) open() error {
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.file, s.size = f, fi.Size()
	return nil
}

// Write appends one line.
func (s *serverLog) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return 0, fs.ErrClosed
	}
	if s.size > maxServerLog {
		if err := s.turn(); err != nil {
			return 0, err
		}
	}
	n, err := s.file.Write(line)
	s.size += int64(n)
	return n, err
}

// turn puts the file aside and begins a new one.
func (s *serverLog) turn() error {
	err := errors.Join(s.file.Close(), os.Rename(s.path, s.path+".1"))
	s.file = nil
	return errors.Join(err, s.open())
}

// Close closes the file; what is logged later is dropped.
func (s *serverLog) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file
	s.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}
