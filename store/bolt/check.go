package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/accountd/accountd/store"
)

// maxProblems bounds how many problems of the file Check reports.
const maxProblems = 20

// Check reads the whole store and returns the problems that it finds, joined,
// each wrapping ErrDamaged: pages, checksums, gaps in the change sequence,
// records without the change that wrote them, nonces out of order. It takes
// time and memory in proportion to the file. Writers wait for it, readers do not.
func (s *Store) Check(ctx context.Context) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	if err := s.settle(); err != nil {
		return err
	}
	btx, err := s.beginView(ctx)
	if err != nil {
		return err
	}
	defer s.rollback(btx)
	c := &checker{ctx: ctx, r: &reader{s: s, tx: btx}}
	// The content first: it meets damaged pages in this goroutine, under a
	// guard, while bbolt's own check has one of its own.
	for _, f := range []func() error{c.checkChanges, c.checkRecords, c.checkNonces, c.checkEnrolments, c.checkPages} {
		if err := guard(f); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return s.fail("check", err)
		}
	}
	return nil
}

// checker checks one state.
type checker struct {
	ctx  context.Context
	r    *reader
	head uint64
}

func (c *checker) checkChanges() error {
	for {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		some, err := c.r.changes(c.head, 100)
		if err != nil || len(some) == 0 {
			return err
		}
		c.head += uint64(len(some))
	}
}

func (c *checker) checkRecords() error {
	return c.r.tx.Bucket(bucketRecords).ForEachBucket(func(kind []byte) error {
		var found error
		err := c.r.Scan(store.Kind(kind), "", func(rec store.Record) bool {
			found = errors.Join(c.ctx.Err(), c.checkRecord(rec))
			return found == nil
		})
		return errors.Join(err, found)
	})
}

// checkRecord looks for the change that wrote rec.
func (c *checker) checkRecord(rec store.Record) error {
	ch, err := c.r.changes(rec.Seq-1, 1)
	if err != nil {
		return err
	}
	if len(ch) == 0 || ch[0].Kind != rec.Kind || ch[0].Key != rec.Key || ch[0].Revision != rec.Revision {
		return damaged("%s %q revision %d: change %d is not its own", rec.Kind, rec.Key, rec.Revision, rec.Seq)
	}
	return nil
}

func (c *checker) checkNonces() error {
	nonces, times := c.r.tx.Bucket(bucketNonces), c.r.tx.Bucket(bucketTimes)
	n := 0
	err := times.ForEach(func(k, _ []byte) error {
		n++
		if len(k) < 8 || string(nonces.Get(k[8:])) != string(k[:8]) {
			return damaged("nonce time %x without its nonce", k)
		}
		return c.ctx.Err()
	})
	if err != nil {
		return err
	}
	return nonces.ForEach(func(k, _ []byte) error {
		if n--; n < 0 {
			return damaged("nonce %q without its time", k)
		}
		return nil
	})
}

// checkEnrolments looks for uses of tokens without the time at which they are
// forgotten, and counts those of each token that is not being forgotten.
func (c *checker) checkEnrolments() error {
	uses, times := c.r.tx.Bucket(bucketUses), c.r.tx.Bucket(bucketUseTimes)
	if uses == nil {
		return nil
	}
	var token []byte // whose uses are counted
	var left uint64
	end := func() error {
		if left != 0 {
			return damaged("token %q lacks %d of its uses", token, left)
		}
		return nil
	}
	err := uses.ForEach(func(k, v []byte) (err error) {
		if len(v) < 8 || times.Get(append(bytes.Clone(v[:8]), k...)) == nil {
			return damaged("use %q without its time", k)
		}
		name, device, _ := bytes.Cut(k, []byte{0})
		switch {
		case len(device) == 0:
			if err := end(); err != nil {
				return err
			}
			token = bytes.Clone(name)
			left, err = number8(v[8:])
		case bytes.Equal(name, token):
			left--
		}
		return errors.Join(err, c.ctx.Err())
	})
	return errors.Join(err, end())
}

func (c *checker) checkPages() error {
	var found []error
	for err := range c.r.tx.Check() { // to its end, since it would wait for us
		if len(found) < maxProblems {
			found = append(found, damaged("%v", err))
		}
	}
	return errors.Join(append(found, c.ctx.Err())...)
}

// Backup writes one committed state to w, as a file that Open can open, while
// others read and write. The space of records that are replaced in the
// meantime is not used again until it ends, so w should be fast: a local file.
// It ends early with ctx.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	btx, err := s.beginView(ctx)
	if err != nil {
		return err
	}
	defer s.rollback(btx)
	t := &target{ctx: ctx, w: w}
	if _, err = btx.WriteTo(t); t.err != nil {
		err = t.err // bbolt keeps only its text
	}
	if err != nil {
		return fmt.Errorf("back up store %q: %w", s.path, err)
	}
	return nil
}

// target is the writer of a Backup.
type target struct {
	ctx context.Context
	w   io.Writer
	err error
}

func (t *target) Write(p []byte) (n int, err error) {
	if t.err = t.ctx.Err(); t.err == nil {
		n, t.err = t.w.Write(p)
	}
	return n, t.err
}
