package bolt

import (
	"bytes"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"github.com/accountd/accountd/store"
)

// A use is stored under <token> 0 <device>, as when it is forgotten (8 bytes)
// and the device's key. Under <token> 0 stand, behind the time, how many there
// are. bucketUseTimes has each of these keys behind its time.

// Enroll implements store.Tx. Times count in milliseconds, until rounded up.
func (t *txn) Enroll(e store.Enrolment, now time.Time) error {
	if err := store.CheckEnrolment(e); err != nil {
		return err
	}
	total := append([]byte(e.Token), 0)
	one := append(bytes.Clone(total), e.Device...)
	var used uint64
	fresh := false
	err := t.do("enroll", func() (err error) {
		taken := ""
		if uses := t.tx.Bucket(bucketUses); uses != nil {
			if v := uses.Get(one); v != nil {
				taken = string(v[8:])
			}
			if v := uses.Get(total); v != nil {
				if used, err = number8(v[8:]); err != nil {
					return err
				}
			}
		}
		fresh, err = store.DecideEnrolment(e, taken, int(used))
		return err
	})
	if err != nil || !fresh {
		return err
	}
	return t.write("enroll", func() error {
		uses, err1 := t.tx.CreateBucketIfNotExists(bucketUses)
		times, err2 := t.tx.CreateBucketIfNotExists(bucketUseTimes)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		until := key8(millis(e.Until.Add(time.Millisecond - 1)))
		if v := uses.Get(total); v != nil { // all uses of a token are forgotten at one time
			until = bytes.Clone(v[:8])
		}
		if _, err := forgetUses(uses, times, key8(millis(now)), total, forgetAtOnce); err != nil {
			return err
		}
		for _, kv := range [][2][]byte{{total, key8(used + 1)}, {one, []byte(e.Key)}} {
			at := append(bytes.Clone(until), kv[0]...)
			if err := errors.Join(uses.Put(kv[0], append(bytes.Clone(until), kv[1]...)), times.Put(at, []byte{})); err != nil {
				return err
			}
		}
		return nil
	})
}

// forgetUses removes the oldest uses whose time is before now, at most so many,
// but none of a token that is to be kept, nil for none.
func forgetUses(uses, times *bbolt.Bucket, now, keep []byte, most int) (n int, err error) {
	for ; n < most; n++ {
		k, _ := times.Cursor().First()
		if k == nil || string(k[:8]) >= string(now) || keep != nil && bytes.HasPrefix(k[8:], keep) {
			break
		}
		use := bytes.Clone(k[8:])
		if err := errors.Join(times.Delete(k), uses.Delete(use)); err != nil {
			return n, err
		}
	}
	return n, nil
}

// forgetUsesAtOnce bounds one ForgetUses.
const forgetUsesAtOnce = 4096

// ForgetUses implements store.Tx.
func (t *txn) ForgetUses(now time.Time) (n int, err error) {
	uses, times := t.tx.Bucket(bucketUses), t.tx.Bucket(bucketUseTimes)
	if uses == nil || times == nil {
		return 0, nil
	}
	if k, _ := times.Cursor().First(); k == nil || string(k[:8]) >= string(key8(millis(now))) {
		return 0, nil // nothing is written
	}
	err = t.write("forget uses", func() (err error) {
		n, err = forgetUses(uses, times, key8(millis(now)), nil, forgetUsesAtOnce)
		return err
	})
	return n, err
}
