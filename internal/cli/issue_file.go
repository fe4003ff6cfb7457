package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/fault"
)

// toFile issues to a file of lines. It grows under another name until it is
// complete; what is written of it is what was issued.
func (j *issueJob) toFile(ctx context.Context, src bulk.Source, name string) error {
	j.res.Out = name
	part, plan, list := name+".part", name+".run", name+".manifest.json"
	unlock, _, err := j.begin(ctx, name+".lock", plan, func() (bool, error) {
		a, err := missing(name)
		b, err2 := missing(part)
		return a && b, firstErr(err, err2)
	})
	if err != nil {
		return err
	}
	defer unlock()
	gone, err := missing(part)
	if err != nil {
		return err
	}
	absent, err := missing(name)
	if err != nil {
		return err
	}
	done := !absent && gone // it ended after its last step but one
	if !absent && !gone {
		return outExists(name)
	}
	if done {
		part = name
	}
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := j.resumeLines(f, src, done); err != nil {
		return err
	}
	err = bulk.Run{
		Issuer: j.issuer, Source: src, Workers: workers(), Encode: bulk.AppendLine,
		Write: func(batch []bulk.Credential, text []byte) error {
			if _, err := f.Write(text); err != nil {
				return err
			}
			j.count(batch)
			return nil
		},
	}.Do(ctx)
	if err := j.end(err); err != nil {
		return err
	}
	err = f.Sync()
	if err == nil {
		err = j.writeManifest(list)
	}
	if err == nil {
		err = os.Rename(part, name)
	}
	return firstErr(err, syncDir(filepath.Dir(name)), removeDurably(plan))
}

// resumeLines reads what earlier runs wrote and leaves the file and the source
// behind the last whole line. A line that was not written whole was issued to
// nobody. A file that is said to be complete is not touched.
func (j *issueJob) resumeLines(f *os.File, src bulk.Source, complete bool) error {
	lines := bufio.NewReaderSize(f, 1<<16)
	var size int64
	next := make([]bulk.Device, 1)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		c, ok := bulk.ParseLine(line)
		if !ok {
			break
		}
		n, err := src.Read(next)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 || next[0].ID != c.ID || next[0].Key != "" && next[0].Key != string(c.Public) {
			return fault.New(fault.Conflict, "%s has the device %s where another one belongs", j.shown(f.Name()), c.ID).ByRule("other-run").About("file", f.Name()).
				WithHint("choose another --out")
		}
		size += int64(len(line))
		c.Leaf = tlog.RecordHash(c.JWT)
		j.count([]bulk.Credential{c})
	}
	if j.res.Before = j.tree.Size(); complete && int(j.res.Before) != j.plan.Count {
		return outExists(f.Name())
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	_, err := f.Seek(size, io.SeekStart)
	return err
}
