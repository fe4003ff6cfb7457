package node

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
)

// entry is what a node keeps of one record: the claim and its place in the
// order. On disk: the JSON of the header, a newline, the JWT.
type entry struct {
	Kind     store.Kind `json:"kind"`
	Key      string     `json:"key"`
	Revision uint64     `json:"revision"`
	Seq      uint64     `json:"seq"`
	ID       string     `json:"id"`
	Deleted  bool       `json:"deleted,omitempty"`
	Findings []string   `json:"findings,omitempty"`
	Refused  string     `json:"refused,omitempty"` // why this node answers the record as missing
	Issuer   string     `json:"issuer,omitempty"`
	Until    string     `json:"until,omitempty"` // the JWT that rules while the server does not trust Issuer, "" for none
	JWT      string     `json:"-"`

	waits bool // for a restart of the server: JWT is Until
}

// missing reports whether servers must be told that the account is not there.
func (e entry) missing() bool { return e.Deleted || e.Refused != "" || e.waits && e.JWT == "" }

var (
	metaBucket = []byte("meta")
	appliedKey = []byte("applied")
	markKey    = []byte("mark")
	formatKey  = []byte("format")
)

const format = "accountd node 1"

// local is a node's durable copy of the claims. Opening it reads no account.
type local struct {
	db     *bbolt.DB
	path   string
	trusts []string // issuers that the running server trusts, set before it starts; nil: all

	mu     sync.RWMutex
	staged map[string]entry // by key: newer than the file, being written to it
}

func bucketOf(kind store.Kind) []byte { return []byte(kind) }

// openLocal opens or creates the copy at path.
func openLocal(path string) (*local, error) {
	l := &local{path: path, staged: map[string]entry{}}
	err := l.guard("open", func() error {
		var err error
		l.db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return err
		}
		return l.db.Update(prepare)
	})
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fault.New(fault.Conflict, "claims copy %s is in use by another process", path).About("file", path)
	case l.db != nil:
		err = errors.Join(err, l.db.Close())
	}
	return nil, err
}

func prepare(tx *bbolt.Tx) error {
	for _, name := range [][]byte{metaBucket, bucketOf(store.Account), bucketOf(store.Operator)} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(metaBucket)
	switch have := string(meta.Get(formatKey)); have {
	case "":
		return meta.Put(formatKey, []byte(format))
	case format:
		return nil
	default:
		return fmt.Errorf("unknown format %q", have)
	}
}

// guard turns what a damaged file does, panics included, into one error.
func (l *local) guard(op string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = l.damaged(op, fmt.Errorf("%v", p))
		}
	}()
	err = f()
	if err == nil || errors.Is(err, berrors.ErrTimeout) || errors.Is(err, berrors.ErrDatabaseNotOpen) || errors.Is(err, errNotHeld) {
		return err
	}
	return l.damaged(op, err)
}

func (l *local) damaged(op string, err error) error {
	return fault.New(fault.Internal, "%s claims copy %s: %w", op, l.path, err).About("file", l.path).
		WithHint("check the disk and its permissions; if the file is damaged, delete it: it is rebuilt from the store")
}

func (l *local) close() error { return l.db.Close() }

var errNotHeld = errors.New("not held")

// get returns the newest entry of a key as the running server may have it, or
// errNotHeld.
func (l *local) get(kind store.Kind, key string) (entry, error) {
	e, err := l.newest(kind, key)
	return l.ruling(e), err
}

// ruling replaces a version whose issuer the running server does not trust by
// the one that it replaced: the server would refuse the whole account.
func (l *local) ruling(e entry) entry {
	if e.Kind == store.Account && !e.Deleted && e.Issuer != "" && l.trusts != nil && !slices.Contains(l.trusts, e.Issuer) {
		e.waits, e.JWT = true, e.Until
	}
	return e
}

// newest returns the newest entry of a key, staged or on disk, or errNotHeld.
func (l *local) newest(kind store.Kind, key string) (entry, error) {
	l.mu.RLock()
	e, ok := l.staged[key]
	l.mu.RUnlock()
	if ok && e.Kind == kind {
		return e, nil
	}
	err := l.guard("read", func() error {
		return l.db.View(func(tx *bbolt.Tx) (err error) {
			e, err = read(tx, kind, key)
			return err
		})
	})
	return e, err
}

func read(tx *bbolt.Tx, kind store.Kind, key string) (entry, error) {
	raw := tx.Bucket(bucketOf(kind)).Get([]byte(key))
	if raw == nil {
		return entry{}, errNotHeld
	}
	head, token, ok := bytes.Cut(raw, []byte{'\n'})
	if !ok {
		return entry{}, fmt.Errorf("entry %s has no header", key)
	}
	var e entry
	if err := json.Unmarshal(head, &e); err != nil {
		return entry{}, fmt.Errorf("entry %s: %w", key, err)
	}
	e.JWT = string(token)
	return e, nil
}

func write(tx *bbolt.Tx, e entry) error {
	head, err := json.Marshal(e)
	if err != nil {
		return err
	}
	value := make([]byte, 0, len(head)+1+len(e.JWT))
	value = append(append(append(value, head...), '\n'), e.JWT...)
	return tx.Bucket(bucketOf(e.Kind)).Put([]byte(e.Key), value)
}

// operator returns the operator with the newest change, or errNotHeld.
func (l *local) operator() (newest entry, err error) {
	err = l.guard("read", func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			err := tx.Bucket(bucketOf(store.Operator)).ForEach(func(k, _ []byte) error {
				e, err := read(tx, store.Operator, string(k))
				if err == nil && !e.Deleted && e.Seq >= newest.Seq {
					newest = e
				}
				return err
			})
			if err == nil && newest.Key == "" {
				return errNotHeld
			}
			return err
		})
	})
	return newest, err
}

// position is how far the copy has followed: the last change and a digest of
// it that tells whether the store still has the same history.
type position struct {
	seq  uint64
	mark string
}

func (l *local) position() (p position, err error) {
	err = l.guard("read", func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			meta := tx.Bucket(metaBucket)
			if raw := meta.Get(appliedKey); len(raw) == 8 {
				p.seq = binary.BigEndian.Uint64(raw)
			}
			p.mark = string(meta.Get(markKey))
			return nil
		})
	})
	return p, err
}

// stale is a record of the store that is older than what the node holds.
type stale struct {
	name       string
	held, seen uint64
}

// stage takes the records that are newer than what is held: from now on get
// returns them. They survive a crash once flush has written them. It returns
// what it accepted, and what it did not because the copy is monotonic. From a
// store that went back (diverged) it also takes nothing that lacks a revocation
// which the copy holds: revisions of two histories do not order them. One
// goroutine stages and flushes.
func (l *local) stage(recs []store.Record, diverged bool) (accepted []entry, older []stale, err error) {
	for _, rec := range recs {
		held, err := l.newest(rec.Kind, rec.Key)
		known := err == nil
		if !known && !errors.Is(err, errNotHeld) {
			return nil, nil, err
		}
		switch same := held.ID == rec.ID && held.JWT == rec.JWT; {
		case known && held.Revision == rec.Revision && same:
		case known && (held.Revision >= rec.Revision || diverged && letsBack(held, rec)):
			older = append(older, stale{rec.Name, held.Revision, rec.Revision})
		default:
			accepted = append(accepted, l.accept(held, rec))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range accepted {
		l.staged[e.Key] = e
	}
	return accepted, older, nil
}

// flush writes staged entries and the position in one durable transaction.
func (l *local) flush(entries []entry, pos position) error {
	err := l.guard("write", func() error {
		return l.db.Update(func(tx *bbolt.Tx) error {
			for _, e := range entries {
				if err := write(tx, e); err != nil {
					return err
				}
			}
			meta := tx.Bucket(metaBucket)
			if err := meta.Put(appliedKey, binary.BigEndian.AppendUint64(nil, pos.seq)); err != nil {
				return err
			}
			return meta.Put(markKey, []byte(pos.mark))
		})
	})
	if err != nil {
		return err
	}
	l.unstage(entries)
	return nil
}

// unstage leaves entries to the file: written, or given up.
func (l *local) unstage(entries []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		delete(l.staged, e.Key)
	}
}

// letsBack reports whether rec would let in what the held version keeps out.
func letsBack(held entry, rec store.Record) bool {
	if held.missing() {
		return !rec.Deleted
	}
	if held.Kind != store.Account || rec.Deleted {
		return false
	}
	old, err := jwt.DecodeAccountClaims(held.JWT)
	if err != nil {
		return false
	}
	now, err := jwt.DecodeAccountClaims(rec.JWT)
	if err != nil {
		return true
	}
	return len(revocation.List(now.Revocations).Missing(revocation.List(old.Revocations))) > 0
}

// accept makes the entry of a newer record. A server ignores a JWT that equals
// the one of a removed account, so a restore must be signed anew.
func (l *local) accept(held entry, rec store.Record) entry {
	e := entry{
		Kind: rec.Kind, Key: rec.Key, Revision: rec.Revision, Seq: rec.Seq, ID: rec.ID,
		Deleted: rec.Deleted, Findings: rec.Findings, Issuer: rec.Issuer, JWT: rec.JWT,
	}
	if before := l.ruling(held); l.ruling(e).waits && !before.missing() {
		e.Until = before.JWT
	}
	if held.missing() && held.JWT == rec.JWT && !rec.Deleted {
		e.Refused = "restored with the JWT of the removed account: sign it anew"
	}
	return e
}
