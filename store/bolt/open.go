package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// schema is the number of the layout that this version reads and writes.
const schema = 1

const (
	lockTimeout = 100 * time.Millisecond
	// mapSize is the address space taken at open: up to this size of the file
	// no writer waits for readers in order to map it anew.
	mapSize = 1 << 28
	// growSize is by how much the file grows at least.
	growSize = 1 << 20
)

// The buckets.
var (
	bucketSelf    = []byte("accountd")
	bucketRecords = []byte("records")
	bucketChanges = []byte("changes")
	bucketNonces  = []byte("nonces")
	bucketTimes   = []byte("nonce_times")
	bucketValues  = []byte("values")

	// Made at the first use, since stores of earlier versions lack them.
	bucketUses     = []byte("token_uses")
	bucketUseTimes = []byte("token_use_times")

	keySchema = []byte("schema")
)

func buckets() [][]byte {
	return [][]byte{bucketSelf, bucketRecords, bucketChanges, bucketNonces, bucketTimes, bucketValues}
}

// Options of Open; the zero value works.
type Options struct {
	// LockTimeout is how long to wait for another process to release the
	// file; 0 means 100 ms.
	LockTimeout time.Duration
	// MustExist refuses to create the file.
	MustExist bool
}

// Open opens the store at path, and creates it, durably, if it does not exist,
// with folders of mode 0700. It fails with an error that wraps store.ErrLocked
// when another opener has it, store.ErrSchema when a newer version wrote it,
// ErrForeign when it is something else, ErrDamaged when it cannot be used as
// it is, and fs.ErrNotExist when it is missing and must exist.
func Open(path string, opts Options) (*Store, error) {
	if opts.LockTimeout == 0 {
		opts.LockTimeout = lockTimeout
	}
	if err := ensure(path, opts); err != nil {
		return nil, err
	}
	db, err := openFile(path, opts.LockTimeout)
	if err != nil {
		return nil, refuse(path, err)
	}
	if err := guard(func() error { return examine(db) }); err != nil {
		_ = guard(db.Close) // the refusal is what matters
		return nil, refuse(path, err)
	}
	return newStore(db, path), nil
}

// ensure creates the file if it is missing, and closes it to others.
func ensure(path string, opts Options) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !opts.MustExist:
		if err := create(path, opts.LockTimeout); err != nil {
			return unusable("create", path, err)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "open store %q: %w", path, err).About("store", path)
	case err != nil:
		return unusable("open", path, err)
	case !info.Mode().IsRegular():
		return refuse(path, fmt.Errorf("%w: not a regular file", ErrForeign))
	case info.Size() == 0:
		return refuse(path, fmt.Errorf("%w: the file is empty", ErrForeign))
	}
	return nil
}

// unusable is the error of a path that the system does not give.
func unusable(op, path string, err error) error {
	return fault.New(fault.Denied, "%s store %q: %w", op, path, err).About("store", path).
		WithHint("name a path in a folder that accountd may write to, with room on its disk")
}

// create makes an empty store beside path and links it to its name when it is
// complete, so that a crash leaves either none or a whole one. Of two creators
// one wins, and both go on with its file.
func create(path string, timeout time.Duration) error {
	dir := filepath.Dir(path)
	names := []string{dir} // folders with a new name in them
	for d := dir; missing(d); d = filepath.Dir(d) {
		names = append(names, filepath.Dir(d))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return err
	}
	db, err := openFile(f.Name(), timeout)
	if err != nil {
		return err
	}
	err = db.Update(func(btx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := btx.CreateBucket(name); err != nil {
				return err
			}
		}
		return writeSchema(btx)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDirs(names)
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// syncDirs makes the names in dirs durable.
func syncDirs(dirs []string) error {
	for _, name := range dirs {
		d, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// openFile opens the bbolt file. When bbolt panics over it, the file is closed
// and unlocked; its mapping, whose address is lost, stays.
func openFile(path string, timeout time.Duration) (db *bbolt.DB, err error) {
	var file *os.File
	opts := *bbolt.DefaultOptions
	opts.Timeout = timeout
	opts.FreelistType = bbolt.FreelistMapType
	opts.InitialMmapSize = mapSize
	opts.OpenFile = func(name string, flag int, mode fs.FileMode) (*os.File, error) {
		file, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
		return file, err
	}
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, &opts)
		return err
	})
	if err == nil {
		db.AllocSize = growSize
	}
	if errors.Is(err, ErrDamaged) && file != nil {
		err = errors.Join(err, unlock(file), file.Close())
	}
	return db, err
}

// examine looks at what can be seen without reading the records.
func examine(db *bbolt.DB) error {
	info, err := os.Stat(db.Path())
	if err != nil {
		return err
	}
	err = db.View(func(btx *bbolt.Tx) error {
		if info.Size() < btx.Size() {
			return damaged("%d bytes of %d are left", info.Size(), btx.Size())
		}
		if err := checkSchema(btx); err != nil {
			return err
		}
		for _, name := range buckets() {
			if btx.Bucket(name) == nil {
				return damaged("bucket %q is missing", name)
			}
		}
		r := &reader{tx: btx}
		head, err := r.head()
		if err != nil || head == 0 {
			return err
		}
		for _, after := range []uint64{0, head - 1} {
			if _, err := r.changes(after, 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.Chmod(db.Path(), 0o600)
}

func checkSchema(btx *bbolt.Tx) error {
	self := btx.Bucket(bucketSelf)
	if self == nil {
		return fmt.Errorf("%w: another bbolt file", ErrForeign)
	}
	text := string(self.Get(keySchema))
	n, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err != nil || n == 0:
		return damaged("schema %q", text)
	case n > schema:
		return fmt.Errorf("%w: schema %d, this one knows %d", store.ErrSchema, n, schema)
	}
	return nil
}

func writeSchema(btx *bbolt.Tx) error {
	return btx.Bucket(bucketSelf).Put(keySchema, strconv.AppendInt(nil, schema, 10))
}

// refuse says why the file at path is not opened and what would help.
func refuse(path string, err error) error {
	code, hint := fault.Invalid, ""
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		code, err = fault.Unavailable, store.ErrLocked
		hint = "stop the accountd that uses " + path
	case errors.Is(err, store.ErrSchema):
		hint = "use the version of accountd that wrote it, or a later one"
	case errors.Is(err, ErrForeign), errors.Is(err, berrors.ErrVersionMismatch):
		hint = "name another path, or move the file away"
		if !errors.Is(err, ErrForeign) {
			err = fmt.Errorf("%w: %w", ErrForeign, err)
		}
	case errors.Is(err, ErrDamaged):
		hint = "put a backup in the place of " + path
	case errors.Is(err, fs.ErrPermission):
		code, hint = fault.Denied, "give accountd's user read and write access to "+path
	case isNotBolt(path):
		err = fmt.Errorf("%w: %w", ErrForeign, err)
		hint = "name another path, or move the file away"
	default:
		err = damaged("%v", err)
		hint = "put a backup in the place of " + path
	}
	f := fault.New(code, "open store %q: %w", path, err).About("store", path)
	f.Hint = hint
	return f
}

// isNotBolt reports whether the file lacks bbolt's magic number, which both
// meta pages carry behind a page header of 16 bytes (bbolt, internal/common).
func isNotBolt(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, at := range []int{16, os.Getpagesize() + 16} {
		magic := make([]byte, 4)
		_, err := f.ReadAt(magic, int64(at))
		if err == nil && binary.NativeEndian.Uint32(magic) == 0xED0CDAED {
			return false
		}
	}
	return true
}
