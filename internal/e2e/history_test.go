package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/pgtest"
)

// Sizes of the randomised history.
const (
	historyAccounts = 10
	historyUsers    = 4 // of each account
	historyClients  = 4
)

// TestHistory lets several clients change a few accounts in every way at once,
// while servers stop and start and the process is killed, and then judges what
// they were told against what is stored and in force. ACCOUNTD_HISTORY_SECONDS
// says for how long; ACCOUNTD_HISTORY_SEED repeats the choices of a run, though
// not its timing.
func TestHistory(t *testing.T) {
	t.Parallel()
	playHistory(t)
}

// TestHistoryOnPostgreSQL is the same with the claims in a database.
func TestHistoryOnPostgreSQL(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Close() })
	playHistory(t, "--store", pg.Database(t))
}

func playHistory(t *testing.T, flags ...string) {
	length, seed := historyLength(t), historySeed(t)
	t.Logf("ACCOUNTD_HISTORY_SEED=%d", seed)
	c := newCloud(t, flags...)
	h := newHistory(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var clients errgroup.Group
	for i := range historyClients {
		clients.Go(func() error {
			a := &actor{history: h, rand: rand.New(rand.NewPCG(seed, uint64(i)))}
			return a.act(ctx)
		})
	}
	c.disturb(ctx, rand.New(rand.NewPCG(seed, 1<<32)))
	if err := clients.Wait(); err != nil {
		t.Fatal(err)
	}
	h.judge(t)
}

func historyLength(t *testing.T) time.Duration {
	seconds := 20
	if os.Getenv("CI") == "true" {
		seconds = 60
	}
	if v := os.Getenv("ACCOUNTD_HISTORY_SECONDS"); v != "" {
		var err error
		if seconds, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	return time.Duration(seconds) * time.Second
}

func historySeed(t *testing.T) uint64 {
	v := os.Getenv("ACCOUNTD_HISTORY_SEED")
	if v == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

// disturb stops and starts servers and kills the process until ctx ends, and
// leaves everything running.
func (c *cloud) disturb(ctx context.Context, r *rand.Rand) {
	c.t.Helper()
	for calm(ctx, r) {
		if r.IntN(2) == 0 {
			c.daemon.Kill()
			c.start()
			continue
		}
		i := r.IntN(len(c.ready.Nodes))
		c.node("stop", i)
		calm(ctx, r)
		if r.IntN(4) == 0 { // it is started with the process
			c.daemon.Kill()
			c.start()
			continue
		}
		c.node("start", i)
	}
}

// calm lets things run for a while; false when ctx has ended.
func calm(ctx context.Context, r *rand.Rand) bool {
	timer := time.NewTimer(time.Duration(300+r.IntN(1200)) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// step is one change that a client asked for.
type step struct {
	item    api.Item
	doc     *claims.Document // nil for a deletion
	result  api.Result
	unknown bool // no answer: it may have been committed
}

// actor is one client.
type actor struct {
	*history
	rand *rand.Rand
	hand *hand
}

// act makes changes until ctx ends. Its error is a broken promise.
func (a *actor) act(ctx context.Context) error {
	defer a.hangUp()
	for ctx.Err() == nil {
		if a.hand == nil && !a.connect(ctx) {
			continue
		}
		t := a.tenants[a.rand.IntN(len(a.tenants))]
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := a.change(one, t)
		cancel()
		var broken promise
		switch {
		case errors.As(err, &broken):
			return fmt.Errorf("account %s: %w", t.name, err)
		case err == nil, fault.Is(err, fault.Conflict), fault.Is(err, fault.Denied):
		default: // no answer
			a.hangUp()
		}
	}
	return nil
}

func (a *actor) connect(ctx context.Context) bool {
	var err error
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if a.hand, err = a.cloud.hand(short, a.urls); err != nil {
		a.hand = nil
		calm(ctx, a.rand)
	}
	return err == nil
}

func (a *actor) hangUp() {
	if a.hand != nil {
		a.hand.Close()
		a.hand = nil
	}
}

// promise is one that was broken.
type promise string

func (p promise) Error() string { return string(p) }

// change reads the stored version and asks for one change of it.
func (a *actor) change(ctx context.Context, t *tenant) error {
	known := t.acked.Load()
	reply, err := a.hand.Get(ctx, api.GetRequest{Account: t.key()})
	if err == nil {
		err = reply.Error.Fault()
	}
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return promise("it is gone without a tombstone")
		}
		return err
	}
	v := reply.Version
	if v.Revision < known {
		return promise(fmt.Sprintf("revision %d is served after %d was acknowledged", v.Revision, known))
	}
	s, evil, err := a.choose(t, v)
	if err != nil || s == nil {
		return err
	}
	s.result, err = a.hand.put(ctx, s.item)
	switch {
	case err == nil && evil != "":
		return promise(evil)
	case err == nil:
		t.record(s)
	case s.result.Outcome == "" && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Denied):
		s.unknown = true
		t.record(s)
	}
	return err
}

// raise sets v to at least to.
func raise(v *atomic.Uint64, to uint64) {
	for {
		cur := v.Load()
		if cur >= to || v.CompareAndSwap(cur, to) {
			return
		}
	}
}
