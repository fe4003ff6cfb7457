package enroll

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/pgtest"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
	"github.com/accountd/accountd/store/pg"
)

// TestUsesUnderConcurrency: as many devices enrol as a token is for, whoever is
// first, over two processes on one store, and each gets credentials again.
func TestUsesUnderConcurrency(t *testing.T) {
	t.Parallel()
	file := must(bolt.Open(filepath.Join(t.TempDir(), "accountd.db"), bolt.Options{}))
	server := must(pgtest.Start(context.Background())) // which lives until Close
	dsn := server.Database(t)
	if _, err := pg.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	stores := map[string][2]store.Store{"bbolt": {file, file}, "PostgreSQL": {must(pg.Open(t.Context(), dsn)), must(pg.Open(t.Context(), dsn))}}
	t.Cleanup(func() {
		for _, both := range stores {
			_ = both[0].Close()
			_ = both[1].Close() // of one file, it is closed
		}
		_ = server.Close()
	})
	for name, both := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, both[0])
			other := must(New(Config{Store: both[1], Identity: w.identity, Now: func() time.Time { return w.clock }}))
			one := must(New(Config{Store: both[0], Identity: w.identity, Now: func() time.Time { return w.clock }}))
			const uses, devices = 10, 1000
			token := w.device("", fleet.Terms{Uses: uses})
			var mu sync.Mutex
			outcomes := map[string]int{}
			var enrolled []*device
			var wg sync.WaitGroup
			for i := range devices {
				d := token.same(fmt.Sprint("d-", i))
				side := *w
				if side.s = one; i%2 == 0 {
					side.s = other
				}
				d.w = &side
				wg.Go(func() {
					_, err := d.ask()
					mu.Lock()
					defer mu.Unlock()
					outcomes[fault.RuleOf(err)]++
					if err == nil {
						enrolled = append(enrolled, d)
					}
				})
			}
			wg.Wait()
			if outcomes[""] != uses || outcomes["spent"] != devices-uses {
				t.Errorf("outcomes %v", outcomes)
			}
			for _, d := range enrolled {
				if d.w.s == one { // whose answer was lost asks the other one
					d.w.s = other
				} else {
					d.w.s = one
				}
				if _, err := d.ask(); err != nil {
					t.Errorf("%s: %v", d.id, err)
				}
			}
		})
	}
}
