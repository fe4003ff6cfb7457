package stock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
)

// TestNotify sends an account to the servers again, however often it is asked
// for no more than once a second.
func TestNotify(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	w.start()
	w.up("s0")
	a := w.tenant("app")
	rec := a.put()
	w.shows(api.Stored, rec, "s0")
	var sent atomic.Int64
	nc := w.systemConn()
	if _, err := nc.Subscribe(fmt.Sprintf(subjectUpdateOf, rec.Key), func(m *nats.Msg) {
		if string(m.Data) == rec.JWT {
			sent.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	asked := 0
	natstest.Eventually(t, patience, func() error {
		for range 100 {
			asked++
			if err := w.fleet.Notify(context.Background(), rec.Key); err != nil {
				t.Fatal(err)
			}
		}
		if sent.Load() < 2 {
			return errors.New("not sent again")
		}
		return nil
	})
	if n := sent.Load(); n > int64(asked)/100 {
		t.Errorf("asked %d times, it was sent %d times", asked, n)
	}
	if err := w.fleet.Notify(context.Background(), w.tenant("nobody").kp.PublicKey()); err != nil {
		t.Errorf("of an account that is not stored: %v", err)
	}
}
