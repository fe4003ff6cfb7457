package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountd/accountd/store"
)

// BenchmarkCommit measures one change of an account of 1 KiB, and raw, which
// makes as many bytes durable in the same kind of store by one plain write.
func BenchmarkCommit(b *testing.B, s store.Store, raw func(key string, value []byte) error) {
	b.Run("way=accountd", func(b *testing.B) {
		rec := store.Record{Kind: store.Account, JWT: strings.Repeat("j", 1<<10)}
		i := 0
		percentiles(b, func() error {
			rec.Key = fmt.Sprintf("%s%06d", b.Name(), i%1000)
			base := uint64(i / 1000)
			i++
			return s.Update(context.Background(), func(tx store.Tx) error {
				_, err := tx.Put(base, rec, store.Change{Time: time.Now().UTC(), Action: "put"})
				return err
			})
		})
	})
	b.Run("way=stock", func(b *testing.B) {
		value := make([]byte, 1<<10)
		i := 0
		percentiles(b, func() error {
			i++
			return raw(fmt.Sprintf("%06d", i%1000), value)
		})
	})
}

func percentiles(b *testing.B, commit func() error) {
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := commit(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
}
