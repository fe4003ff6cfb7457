package pg

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// page is how many records a scan holds at once.
const page = 500

// reader reads the state of one transaction. ctx is that of the transaction.
type reader struct {
	s   *Store
	ctx context.Context
	tx  pgx.Tx
}

// Get implements store.Reader.
func (r *reader) Get(kind store.Kind, key string) (store.Record, error) {
	var rec store.Record
	var data []byte
	err := r.tx.QueryRow(r.ctx, `SELECT data FROM records WHERE kind = $1 AND key = $2`, string(kind), key).Scan(&data)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return rec, store.NotFound(kind, key)
	case err != nil:
		return rec, r.s.fail(r.ctx, "get", err)
	}
	return rec, r.decode(data, &rec)
}

func (r *reader) decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fault.New(fault.Invalid, "store %s is damaged: %w", r.s.name, err).About("store", r.s.name)
	}
	return nil
}

// Scan implements store.Reader, page by page, so that f may read and write.
func (r *reader) Scan(kind store.Kind, after string, f func(store.Record) bool) error {
	for {
		rows, err := r.query(`SELECT data FROM records WHERE kind = $1 AND key > $2 ORDER BY key LIMIT $3`, string(kind), after, page)
		if err != nil {
			return err
		}
		for _, data := range rows {
			var rec store.Record
			if err := r.decode(data, &rec); err != nil {
				return err
			}
			if !f(rec) {
				return nil
			}
			after = rec.Key
		}
		if len(rows) < page {
			return nil
		}
	}
}

// Changes implements store.Reader.
func (r *reader) Changes(after uint64, limit int) ([]store.Change, error) {
	if after > math.MaxInt64 || limit <= 0 {
		return nil, nil
	}
	rows, err := r.query(`SELECT data FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2`, int64(after), limit)
	if err != nil {
		return nil, err
	}
	var out []store.Change
	for _, data := range rows {
		var ch store.Change
		if err := r.decode(data, &ch); err != nil {
			return nil, err
		}
		if want := after + uint64(len(out)) + 1; ch.Seq != want {
			return nil, fault.New(fault.Invalid, "store %s is damaged: change %d is missing", r.s.name, want)
		}
		out = append(out, ch)
	}
	return out, nil
}

func (r *reader) query(sql string, args ...any) ([][]byte, error) {
	rows, err := r.tx.Query(r.ctx, sql, args...)
	if err != nil {
		return nil, r.s.fail(r.ctx, "read", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, r.s.fail(r.ctx, "read", err)
	}
	return out, nil
}

// Head implements store.Reader.
func (r *reader) Head() (uint64, error) {
	var seq int64
	if err := r.tx.QueryRow(r.ctx, `SELECT seq FROM log_head`).Scan(&seq); err != nil {
		return 0, r.s.fail(r.ctx, "read head", err)
	}
	return uint64(seq), nil
}

// Meta implements store.Reader.
func (r *reader) Meta(name string) (string, error) {
	var value []byte
	err := r.tx.QueryRow(r.ctx, `SELECT value FROM named_values WHERE name = $1`, name).Scan(&value)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", r.s.fail(r.ctx, "read value", err)
	}
	return string(value), nil
}

// txn writes in one transaction.
type txn struct {
	reader
	began  uint64 // head when it began
	head   uint64 // with the changes that it appended
	failed error  // a write that failed: nothing may be committed
}

// Head implements store.Reader, the changes of this transaction included.
func (t *txn) Head() (uint64, error) { return t.head, nil }

// Put implements store.Tx.
func (t *txn) Put(base uint64, rec store.Record, ch store.Change) (store.Record, error) {
	if err := store.CheckPut(rec, ch); err != nil {
		return store.Record{}, err
	}
	var stored int64
	err := t.tx.QueryRow(t.ctx, `SELECT revision FROM records WHERE kind = $1 AND key = $2`, string(rec.Kind), rec.Key).Scan(&stored)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return store.Record{}, t.broke("put", err)
	}
	if err := store.CheckBase(base, uint64(stored), rec.Kind, rec.Key); err != nil {
		return store.Record{}, err
	}
	rec, ch = store.Stamp(base, t.head, rec, ch)
	data, err := json.Marshal(rec)
	if err != nil {
		return store.Record{}, err
	}
	line, err := json.Marshal(ch)
	if err != nil {
		return store.Record{}, err
	}
	if err := t.exec("put", `INSERT INTO records (kind, key, revision, data) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, key) DO UPDATE SET revision = excluded.revision, data = excluded.data`,
		string(rec.Kind), rec.Key, int64(rec.Revision), string(data)); err != nil {
		return store.Record{}, err
	}
	if err := t.exec("put", `INSERT INTO changes (seq, data) VALUES ($1, $2)`, int64(ch.Seq), string(line)); err != nil {
		return store.Record{}, err
	}
	t.head = ch.Seq
	return rec, nil
}

// UseNonce implements store.Tx. Times count in milliseconds, until rounded up.
func (t *txn) UseNonce(nonce string, now, until time.Time) error {
	if err := store.CheckName("nonce", nonce); err != nil {
		return err
	}
	from := now.UnixMilli()
	var last int64
	err := t.tx.QueryRow(t.ctx, `SELECT until_msec FROM nonces WHERE nonce = $1`, nonce).Scan(&last)
	switch {
	case err == nil && last >= from:
		return store.Replayed(nonce)
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return t.broke("use nonce", err)
	}
	// Forget more than one adds, so that their number falls after a burst.
	if err := t.exec("forget nonces", `DELETE FROM nonces WHERE nonce IN
		(SELECT nonce FROM nonces WHERE until_msec < $1 ORDER BY until_msec LIMIT 16)`, from); err != nil {
		return err
	}
	return t.exec("use nonce", `INSERT INTO nonces (nonce, until_msec) VALUES ($1, $2)
		ON CONFLICT (nonce) DO UPDATE SET until_msec = excluded.until_msec`,
		nonce, until.Add(time.Millisecond-1).UnixMilli())
}

// SetMeta implements store.Tx.
func (t *txn) SetMeta(name, value string) error {
	if err := store.CheckName("name", name); err != nil {
		return err
	}
	return t.exec("set value", `INSERT INTO named_values (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, []byte(value))
}

func (t *txn) exec(op, sql string, args ...any) error {
	if _, err := t.tx.Exec(t.ctx, sql, args...); err != nil {
		return t.broke(op, err)
	}
	return nil
}

// broke remembers that a statement failed: the server commits nothing of the
// transaction, also if the caller goes on.
func (t *txn) broke(op string, err error) error {
	t.failed = t.s.fail(t.ctx, op, err)
	return t.failed
}
