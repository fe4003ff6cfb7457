package bolt_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
	"github.com/accountd/accountd/store/storetest"
)

// BenchmarkPut replaces one of 1,000 records in a transaction, synced to disk.
func BenchmarkPut(b *testing.B) {
	for name, size := range map[string]int{"1KiB": 1 << 10, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			s := open(b, temp(b))
			addAccounts(b, s, 1000)
			jwt := strings.Repeat("j", size)
			times := make([]time.Duration, 0, b.N)
			i := 0
			for b.Loop() {
				begin := time.Now()
				mustPut(b, s, uint64(1+i/1000), store.Record{Kind: store.Account, Key: fmt.Sprintf("A%06d", i%1000), JWT: jwt})
				times = append(times, time.Since(begin))
				i++
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkCommit measures a change beside a plain write to a bbolt file.
func BenchmarkCommit(b *testing.B) {
	s := open(b, temp(b))
	db, err := bbolt.Open(temp(b), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	storetest.BenchmarkCommit(b, s, func(key string, value []byte) error {
		return db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("raw"))
			if err != nil {
				return err
			}
			return bucket.Put([]byte(key), value)
		})
	})
}

// BenchmarkGet reads an account of an ordinary size and one with 11,000
// remembered revocations.
func BenchmarkGet(b *testing.B) {
	s := open(b, temp(b))
	addAccounts(b, s, 1)
	large := store.Record{Kind: store.Account, Key: "L", JWT: strings.Repeat("j", 1<<20)}
	for i := range 11_000 {
		e := revocation.Entry{Key: fmt.Sprintf("U%055d", i), At: int64(i)}
		large.Dropped = append(large.Dropped, revocation.Dropped{Entry: e, Because: revocation.Covered})
	}
	mustPut(b, s, 0, large)
	for name, key := range map[string]string{"1KiB": "A000000", "1MiB": "L"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				err := s.View(context.Background(), func(r store.Reader) error {
					_, err := r.Get(store.Account, key)
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen opens a store of 1,000 and of 100,000 accounts.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := temp(b)
			s := open(b, path)
			addAccounts(b, s, n)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, err := bolt.Open(path, bolt.Options{MustExist: true})
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// addAccounts puts n accounts of about 1 KiB, 1,000 a transaction.
func addAccounts(b *testing.B, s store.Store, n int) {
	b.Helper()
	jwt := strings.Repeat("j", 1<<10)
	for from := 0; from < n; from += 1000 {
		err := s.Update(context.Background(), func(tx store.Tx) error {
			for i := from; i < min(from+1000, n); i++ {
				rec := store.Record{Kind: store.Account, Key: fmt.Sprintf("A%06d", i), JWT: jwt}
				if _, err := tx.Put(0, rec, store.Change{}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
