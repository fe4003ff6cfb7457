package bolt

import (
	"errors"
	"time"

	"github.com/accountd/accountd/store"
)

// forgetAtOnce bounds how many nonces one UseNonce forgets: more than it adds,
// so that their number falls back after a burst.
const forgetAtOnce = 16

// UseNonce implements store.Tx. Times count in milliseconds, until rounded up.
func (t *txn) UseNonce(nonce string, now, until time.Time) error {
	if err := store.CheckName("nonce", nonce); err != nil {
		return err
	}
	from := key8(millis(now))
	err := t.do("use nonce", func() error {
		last := t.tx.Bucket(bucketNonces).Get([]byte(nonce))
		if last != nil && string(last) >= string(from) {
			return store.Replayed(nonce)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.write("use nonce", func() error {
		if err := t.forget([]byte(nonce)); err != nil {
			return err
		}
		if err := t.forgetBefore(from); err != nil {
			return err
		}
		return t.remember([]byte(nonce), key8(millis(until.Add(time.Millisecond-1))))
	})
}

func (t *txn) remember(nonce, until []byte) error {
	if err := t.tx.Bucket(bucketNonces).Put(nonce, until); err != nil {
		return err
	}
	return t.tx.Bucket(bucketTimes).Put(append(until, nonce...), nil)
}

// forget removes one nonce, if it is there.
func (t *txn) forget(nonce []byte) error {
	nonces := t.tx.Bucket(bucketNonces)
	until := nonces.Get(nonce)
	if until == nil {
		return nil
	}
	if err := t.tx.Bucket(bucketTimes).Delete(append(append([]byte(nil), until...), nonce...)); err != nil {
		return err
	}
	return nonces.Delete(nonce)
}

// forgetBefore removes the oldest nonces whose time is before the given one.
func (t *txn) forgetBefore(now []byte) error {
	nonces, times := t.tx.Bucket(bucketNonces), t.tx.Bucket(bucketTimes)
	for range forgetAtOnce {
		k, _ := times.Cursor().First()
		if k == nil || string(k[:8]) >= string(now) {
			return nil
		}
		nonce := append([]byte(nil), k[8:]...)
		if err := errors.Join(times.Delete(k), nonces.Delete(nonce)); err != nil {
			return err
		}
	}
	return nil
}

// millis is t in Unix milliseconds, 0 for a time before 1970.
func millis(t time.Time) uint64 {
	return uint64(max(t.UnixMilli(), 0))
}
