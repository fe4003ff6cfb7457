package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
)

// issuePlan is what a run of issue is about. It stands beside the output until
// the run is complete, so that only the same run goes on with it.
type issuePlan struct {
	Schema  int      `json:"schema"`
	Account string   `json:"account"` // public key
	Fleet   string   `json:"fleet"`
	Station string   `json:"station,omitempty"`
	TTL     int64    `json:"ttl,omitempty"` // seconds, 0 for the fleet's
	Tags    []string `json:"tags,omitempty"`
	Prefix  string   `json:"prefix,omitempty"`
	First   int      `json:"first,omitempty"`
	List    string   `json:"list,omitempty"` // digest of the devices listed
	Count   int      `json:"count"`

	Recipient string `json:"recipient,omitempty"` // of encrypted files
}

// manifest tells what a complete run issued.
type manifest struct {
	Schema      int    `json:"schema"`
	Kind        string `json:"kind"`
	Account     string `json:"account"`
	Key         string `json:"key"` // of the account
	Fleet       string `json:"fleet"`
	Station     string `json:"station,omitempty"`
	Count       int64  `json:"count"`
	FirstExpiry int64  `json:"first_expiry,omitempty"` // Unix seconds
	LastExpiry  int64  `json:"last_expiry,omitempty"`
	Root        string `json:"root,omitempty"` // of the Merkle tree (RFC 6962) over the JWTs in their order
}

// issueJob is one run on its way.
type issueJob struct {
	*app
	plan     issuePlan
	res      *issued
	issuer   *bulk.Issuer
	open     func() (bulk.Source, io.Closer, error)
	progress *progress
	tree     bulk.Tree
}

// lockWait is how long a run waits for another one on the same output.
const lockWait = time.Second

// run issues to stdout, to a file, or to a folder.
func (j *issueJob) run(ctx context.Context, out string) error {
	src, closer, err := j.open()
	if err != nil {
		return err
	}
	defer closer.Close()
	if out == "-" {
		return j.toStdout(ctx, src)
	}
	if j.plan.Recipient != "" {
		return j.toShards(ctx, src, j.path(out))
	}
	name := j.path(strings.TrimSuffix(out, string(filepath.Separator)))
	info, err := os.Stat(name)
	isDir := err == nil && info.IsDir()
	if out != strings.TrimSuffix(out, string(filepath.Separator)) || isDir {
		return j.toDir(ctx, src, name)
	}
	return j.toFile(ctx, src, name)
}

func (j *issueJob) toStdout(ctx context.Context, src bulk.Source) error {
	j.res.Out = "-"
	err := bulk.Run{
		Issuer: j.issuer, Source: src, Workers: workers(), Encode: bulk.AppendLine,
		Write: func(batch []bulk.Credential, text []byte) error {
			j.count(batch)
			_, err := j.env.Stdout.Write(text)
			return err
		},
	}.Do(ctx)
	return j.end(err)
}

// count takes credentials into the manifest.
func (j *issueJob) count(batch []bulk.Credential) {
	for i := range batch {
		c := &batch[i]
		j.tree.Add(c.Leaf)
		if j.res.FirstExpiry == 0 || c.Expires < j.res.FirstExpiry {
			j.res.FirstExpiry = c.Expires
		}
		j.res.LastExpiry = max(j.res.LastExpiry, c.Expires)
	}
	j.progress.proven(len(batch))
}

// end completes the manifest, or says that the run may go on.
func (j *issueJob) end(err error) error {
	j.res.Count, j.res.Outcome = j.tree.Size(), "issued"
	if err == nil {
		j.res.Root = j.tree.Root().String()
		return nil
	}
	j.res.Outcome = "interrupted"
	if fault.As(err) != nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fault.New(fault.Unavailable, "write what was issued: %w", err).WithHint("make room, and repeat the command: it goes on where it was")
}

// begin locks an output and finds out where its run stands. again is false for
// a run that begins now, whose plan it writes.
func (j *issueJob) begin(ctx context.Context, lock, plan string, empty func() (bool, error)) (unlock func(), again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	held, err := durable.Lock(ctx, lock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, fault.New(fault.NotFound, "no folder %s", filepath.Dir(lock)).About("file", filepath.Dir(lock))
	}
	if err != nil {
		return nil, false, err
	}
	unlock = func() {
		_ = os.Remove(lock) // a lock that is left over harms nobody
		_ = held.Unlock()
	}
	again, err = j.resumes(plan, empty)
	if err != nil {
		unlock()
	}
	return unlock, again, err
}

func (j *issueJob) resumes(file string, empty func() (bool, error)) (bool, error) {
	data, err := os.ReadFile(file)
	if err == nil {
		var was issuePlan
		if json.Unmarshal(data, &was) != nil || !reflect.DeepEqual(was, j.plan) {
			return true, fault.New(fault.Conflict, "%s is of another run, which was not completed", j.shown(file)).ByRule("other-run").About("file", file).
				WithHint("repeat that run, or choose another --out")
		}
		return true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if free, err := empty(); err != nil || !free {
		return false, firstErr(err, outExists(j.shown(strings.TrimSuffix(file, ".run"))))
	}
	if data, err = json.Marshal(j.plan); err != nil {
		return false, err
	}
	return false, durable.WriteFile(file, append(data, '\n'), 0o600)
}

func outExists(name string) error {
	return fault.New(fault.Conflict, "there is something at %s already", name).ByRule("exists").About("file", name).WithHint("choose another --out")
}

// writeManifest writes the manifest of a complete run.
func (j *issueJob) writeManifest(file string) error {
	if int(j.res.Count) != j.plan.Count {
		return fault.New(fault.Internal, "issued %d devices of %d", j.res.Count, j.plan.Count)
	}
	data, err := json.MarshalIndent(j.res.manifest, "", "  ")
	if err != nil {
		return err
	}
	j.res.Manifest = file
	return durable.WriteFile(file, append(data, '\n'), 0o600)
}

// removeDurably removes a file; it is no error if it is not there.
func removeDurably(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return durable.SyncIn(root, ".")
}

func missing(file string) (bool, error) {
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}
