package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/operator"
)

// shardSize is how many devices an encrypted file holds. It is a multiple of a
// batch of bulk, which never straddles two files.
const shardSize = 8192

// noteSize is what is noted of a device that is encrypted: the hash of its JWT
// and its end.
const noteSize = tlog.HashSize + 8

// shards writes devices to a folder of encrypted files of lines. What was
// encrypted cannot be read again, so that a run that is resumed knows of it by
// notes, which go when it is complete.
type shards struct {
	*issueJob
	dir, recipient string
	notes          *os.File
	number, n      int // of the file in hand, and devices in it
	pending        []byte
	file           *os.File
	seal           io.WriteCloser
}

func (s *shards) name(n int) string {
	return filepath.Join(s.dir, fmt.Sprintf("%06d.ndjson.age", n))
}

// toShards issues to a folder of encrypted files.
func (j *issueJob) toShards(ctx context.Context, src bulk.Source, dir string) error {
	return j.inFolder(ctx, dir, func(bool) (err error) {
		s := &shards{issueJob: j, dir: dir, recipient: j.plan.Recipient}
		notes := filepath.Join(dir, ".notes")
		if s.notes, err = os.OpenFile(notes, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return err
		}
		defer s.notes.Close()
		if err := s.resume(src); err != nil {
			return err
		}
		err = bulk.Run{Issuer: j.issuer, Source: src, Workers: workers(), Encode: bulk.AppendLine, Write: s.write}.Do(ctx)
		if err == nil && s.n > 0 {
			err = s.finish()
		}
		if s.file != nil {
			_ = s.file.Close() // of a run that ended early
		}
		if err := j.end(err); err != nil {
			return err
		}
		return removeDurably(notes)
	})
}

// resume takes the notes of whole files into the manifest and leaves the source
// behind them.
func (s *shards) resume(src bulk.Source) error {
	for {
		gone, err := missing(s.name(s.number + 1))
		if err != nil {
			return err
		}
		if gone {
			break
		}
		s.number++
	}
	devices := min(s.number*shardSize, s.plan.Count)
	note := make([]byte, noteSize)
	for range devices {
		if _, err := io.ReadFull(s.notes, note); err != nil {
			return fmt.Errorf("notes of what was encrypted: %w", err)
		}
		s.count([]bulk.Credential{{Leaf: tlog.Hash(note[:tlog.HashSize]), Expires: int64(binary.BigEndian.Uint64(note[tlog.HashSize:]))}})
	}
	s.res.Before = int64(devices)
	size := int64(devices) * noteSize
	if err := s.notes.Truncate(size); err != nil {
		return err
	}
	if _, err := s.notes.Seek(size, io.SeekStart); err != nil {
		return err
	}
	return bulk.Skip(src, devices)
}

func (s *shards) write(batch []bulk.Credential, text []byte) (err error) {
	if s.seal == nil {
		if s.file, err = os.OpenFile(filepath.Join(s.dir, ".part"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
		if s.seal, err = operator.SealWriter(s.file, s.recipient); err != nil {
			return err
		}
	}
	if _, err := s.seal.Write(text); err != nil {
		return err
	}
	for i := range batch {
		s.pending = append(s.pending, batch[i].Leaf[:]...)
		s.pending = binary.BigEndian.AppendUint64(s.pending, uint64(batch[i].Expires))
	}
	s.count(batch)
	if s.n += len(batch); s.n < shardSize {
		return nil
	}
	return s.finish()
}

// finish completes the file in hand: its notes are durable before it has its
// name.
func (s *shards) finish() error {
	_, werr := s.notes.Write(s.pending)
	err := errors.Join(s.seal.Close(), s.file.Sync(), s.file.Close(), werr, s.notes.Sync())
	if err != nil {
		return err
	}
	s.number++
	s.n, s.pending, s.file, s.seal = 0, s.pending[:0], nil, nil
	return firstErr(os.Rename(filepath.Join(s.dir, ".part"), s.name(s.number)), syncDir(s.dir))
}

// inFolder runs issue in a folder of its own, from the plan to the manifest.
func (j *issueJob) inFolder(ctx context.Context, dir string, issue func(again bool) error) error {
	j.res.Out = dir
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	plan := filepath.Join(dir, ".run")
	unlock, again, err := j.begin(ctx, filepath.Join(dir, ".lock"), plan, func() (bool, error) {
		entries, err := os.ReadDir(dir)
		return len(entries) == 1, err // the lock
	})
	if err != nil {
		return err
	}
	defer unlock()
	if err := issue(again); err != nil {
		return err
	}
	return firstErr(j.writeManifest(filepath.Join(dir, "manifest.json")), removeDurably(plan))
}
