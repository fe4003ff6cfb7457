package bolt

import (
	"math"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// reader reads the state of one bbolt transaction.
type reader struct {
	s    *Store
	tx   *bbolt.Tx
	seen uint64 // head, once Get or Changes has asked for it
}

// do calls f on the pages, and names the operation and the store in its error.
func (r *reader) do(op string, f func() error) error {
	if r.tx.DB() == nil {
		return fault.New(fault.Internal, "%s: %w", op, berrors.ErrTxClosed)
	}
	if err := guard(f); err != nil {
		if fault.As(err) != nil {
			return err
		}
		return r.s.fail(op, err)
	}
	return nil
}

// Get implements store.Reader.
func (r *reader) Get(kind store.Kind, key string) (rec store.Record, err error) {
	err = r.do("get", func() error {
		if err := r.look(); err != nil {
			return err
		}
		if held, ok := r.s.recent.record(kind, key); ok && held.Seq <= r.seen {
			rec = held
			return nil
		}
		data := r.record(kind, key)
		if data == nil {
			return store.NotFound(kind, key)
		}
		rec, err = decodeRecord(kind, key, data)
		return err
	})
	return rec, err
}

// record returns the stored value of a record, nil for none.
func (r *reader) record(kind store.Kind, key string) []byte {
	b := r.kind(kind)
	if b == nil || key == "" {
		return nil
	}
	return b.Get([]byte(key))
}

// kind returns the bucket of a kind, nil before its first record.
func (r *reader) kind(kind store.Kind) *bbolt.Bucket {
	return r.tx.Bucket(bucketRecords).Bucket([]byte(kind))
}

// Scan implements store.Reader. In a Tx, f may write; what it writes behind the
// record that it was called with is seen.
func (r *reader) Scan(kind store.Kind, after string, f func(store.Record) bool) error {
	for {
		rec, err := r.next(kind, after)
		if err != nil || rec.Key == "" || !f(rec) {
			return err
		}
		after = rec.Key
	}
}

// next returns the first record behind the key after, a zero one at the end.
func (r *reader) next(kind store.Kind, after string) (rec store.Record, err error) {
	err = r.do("scan", func() error {
		b := r.kind(kind)
		if b == nil {
			return nil
		}
		k, v := b.Cursor().Seek([]byte(after + "\x00"))
		if after == "" {
			k, v = b.Cursor().First()
		}
		if k == nil {
			return nil
		}
		rec, err = decodeRecord(kind, string(k), v)
		return err
	})
	return rec, err
}

// Changes implements store.Reader and reads no other changes than it returns.
func (r *reader) Changes(after uint64, limit int) (out []store.Change, err error) {
	err = r.do("read changes", func() error {
		if err := r.look(); err != nil {
			return err
		}
		held, ok := r.s.recent.changes(after, r.seen, limit)
		if ok {
			out = held
			return nil
		}
		out, err = r.changes(after, limit)
		return err
	})
	return out, err
}

// look fills in seen: what recent holds counts up to there.
func (r *reader) look() (err error) {
	if r.seen == 0 {
		r.seen, err = r.head()
	}
	return err
}

func (r *reader) changes(after uint64, limit int) ([]store.Change, error) {
	if after == math.MaxUint64 {
		return nil, nil
	}
	var out []store.Change
	c := r.tx.Bucket(bucketChanges).Cursor()
	for k, v := c.Seek(key8(after + 1)); k != nil && len(out) < limit; k, v = c.Next() {
		seq, err := number8(k)
		if err != nil {
			return nil, err
		}
		if want := after + uint64(len(out)) + 1; seq != want {
			return nil, damaged("change %d is missing", want)
		}
		ch, err := decodeChange(seq, v)
		if err != nil {
			return nil, err
		}
		out = append(out, ch)
	}
	return out, nil
}

// Head implements store.Reader.
func (r *reader) Head() (seq uint64, err error) {
	err = r.do("read head", func() error {
		seq, err = r.head()
		return err
	})
	return seq, err
}

func (r *reader) head() (uint64, error) {
	k, _ := r.tx.Bucket(bucketChanges).Cursor().Last()
	if k == nil {
		return 0, nil
	}
	return number8(k)
}

// Meta implements store.Reader.
func (r *reader) Meta(name string) (value string, err error) {
	err = r.do("read value", func() error {
		value = string(r.tx.Bucket(bucketValues).Get([]byte(name)))
		return nil
	})
	return value, err
}

// txn writes one bbolt transaction.
type txn struct {
	reader
	wrote  bool
	put    []written
	failed error // a write that failed half-way: nothing may be committed
}

// write is do for a function that writes. It is handed what checks have passed.
func (t *txn) write(op string, f func() error) error {
	t.wrote = true
	err := t.do(op, f)
	if err != nil && t.failed == nil {
		t.failed = err
	}
	return err
}

// Put implements store.Tx.
func (t *txn) Put(base uint64, rec store.Record, ch store.Change) (store.Record, error) {
	if err := store.CheckPut(rec, ch); err != nil {
		return store.Record{}, err
	}
	err := t.do("put", func() error {
		if err := t.checkBase(base, rec.Kind, rec.Key); err != nil {
			return err
		}
		head, err := t.head()
		rec, ch = store.Stamp(base, head, rec, ch)
		return err
	})
	if err != nil {
		return store.Record{}, err
	}
	t.s.recent.replacing(rec.Kind, rec.Key)
	if err := t.write("put", func() error { return t.append(rec, ch) }); err != nil {
		return store.Record{}, err
	}
	t.put = append(t.put, written{rec, ch})
	t.seen = rec.Seq
	return rec, nil
}

// checkBase compares base with the stored revision.
func (t *txn) checkBase(base uint64, kind store.Kind, key string) error {
	var stored uint64
	if data := t.record(kind, key); data != nil {
		n, err := numberOf(data)
		if err != nil {
			return err
		}
		stored = n
	}
	return store.CheckBase(base, stored, kind, key)
}

func (t *txn) append(rec store.Record, ch store.Change) error {
	data, err := encodeRecord(rec)
	if err != nil {
		return err
	}
	line, err := encodeChange(ch)
	if err != nil {
		return err
	}
	b, err := t.tx.Bucket(bucketRecords).CreateBucketIfNotExists([]byte(rec.Kind))
	if err != nil {
		return err
	}
	if err := b.Put([]byte(rec.Key), data); err != nil {
		return err
	}
	changes := t.tx.Bucket(bucketChanges)
	changes.FillPercent = 1 // keys only grow
	return changes.Put(key8(ch.Seq), line)
}

// SetMeta implements store.Tx.
func (t *txn) SetMeta(name, value string) error {
	if err := store.CheckName("name", name); err != nil {
		return err
	}
	return t.write("set value", func() error {
		return t.tx.Bucket(bucketValues).Put([]byte(name), []byte(value))
	})
}
