package enroll

import (
	"context"
	"errors"
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
	one, two := must(pg.Open(t.Context(), dsn)), must(pg.Open(t.Context(), dsn))
	t.Cleanup(func() { _ = errors.Join(file.Close(), one.Close(), two.Close(), server.Close()) })
	for name, c := range map[string]struct {
		devices int
		both    [2]store.Store
	}{"bbolt": {100, [2]store.Store{file, file}}, "PostgreSQL": {1000, [2]store.Store{one, two}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, both := newWorldOn(t, c.both[0]), c.both
			other := must(New(Config{Store: both[1], Identity: w.identity, Now: func() time.Time { return w.clock }}))
			one := must(New(Config{Store: both[0], Identity: w.identity, Now: func() time.Time { return w.clock }}))
			const uses = 10
			token := w.device("", fleet.Terms{Uses: uses})
			var mu sync.Mutex
			outcomes := map[string]int{}
			var enrolled []*device
			var wg sync.WaitGroup
			for i := range c.devices {
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
			if outcomes[""] != uses || outcomes["spent"] != c.devices-uses {
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
