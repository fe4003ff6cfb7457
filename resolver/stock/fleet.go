package stock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/singleflight"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// Fleet is the stock servers under one connection. Its methods may be called
// from any goroutine.
type Fleet struct {
	cfg Config
	log *slog.Logger
	nc  *nats.Conn
	ask *asker

	subs   []*nats.Subscription
	ends   *nats.Subscription // of ended connections, guarded by mu
	undone atomic.Uint64

	mu       sync.Mutex
	servers  map[string]*Server // by identity
	leafs    map[string]bool    // runs of servers that are not expected, by ID
	probes   map[string]bool    // runs of servers that are being looked at, by ID
	jobs     map[string]*job    // by account
	followed uint64             // last change that is open or done for every server
	source   error              // why the store cannot be followed
	dirty    bool               // the list of servers is not stored yet
	moved    chan struct{}      // closed and replaced when a server comes or goes
	waits    map[string]chan struct{}
	watched  map[string]*watch // accounts whose closed connections are being noted
	checking int               // messages of others that are being checked

	queue queue
	lists lists

	questions singleflight.Group // about one account each
	asked     atomic.Int32       // how many of them are open

	slots  chan struct{}
	extra  claims.Sum    // what directories hold beside the store; of reconcileLoop
	look   chan struct{} // asks for a comparison of all accounts now
	looked chan struct{} // closed when servers were looked for once
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Start reads which servers are expected, looks for others, and follows the
// source until Close. Servers are found after it has returned.
//
// Errors: fault.Internal for a wrong configuration, fault.Invalid for a damaged
// list of servers, else those of the source and the connection.
func Start(ctx context.Context, cfg Config) (*Fleet, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &Fleet{
		cfg: cfg, log: cfg.Logger, nc: cfg.Conn,
		servers: map[string]*Server{}, leafs: map[string]bool{}, probes: map[string]bool{}, jobs: map[string]*job{},
		moved: make(chan struct{}), waits: map[string]chan struct{}{}, watched: map[string]*watch{},
		queue: newQueue(), slots: make(chan struct{}, maxAtWork), look: make(chan struct{}, 1), looked: make(chan struct{}),
	}
	if err := f.load(ctx); err != nil {
		return nil, err
	}
	if f.ask, err = newAsker(f.nc); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = cancel
	if err := f.listen(run); err != nil {
		f.Close()
		return nil, fmt.Errorf("listen to stock servers: %w", err)
	}
	for _, task := range []func(context.Context){f.pingLoop, f.follow, f.schedule, f.saveLoop, f.reconcileLoop, f.strangerLoop} {
		f.wg.Go(func() { task(run) })
	}
	return f, nil
}

// Close ends everything and stores the list of servers. A second Close does
// nothing.
func (f *Fleet) Close() {
	f.mu.Lock()
	f.cancel() // under the lock: who starts a goroutine there has looked before
	f.mu.Unlock()
	for _, s := range f.subs {
		_ = s.Unsubscribe() // the connection may be gone
	}
	f.wg.Wait()
	if f.ends != nil {
		_ = f.ends.Unsubscribe()
	}
	f.ask.close()
}

// Servers returns the expected servers, by cluster and name.
func (f *Fleet) Servers() []*Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*Server, 0, len(f.servers))
	for _, s := range f.servers {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *Server) int {
		return cmp.Or(strings.Compare(a.cluster, b.cluster), strings.Compare(a.name, b.name))
	})
	return out
}

// Forget ends the expectation of a server by its name, or by cluster/name where
// several clusters have one of that name. It is remembered at once.
//
// Errors: fault.NotFound, fault.Conflict when several have the name or when
// the server is up: it would be found again.
func (f *Fleet) Forget(ctx context.Context, name string) error {
	f.mu.Lock()
	var found []*Server
	for id, s := range f.servers {
		if s.name == name || id == name {
			found = append(found, s)
		}
	}
	var err error
	switch {
	case len(found) == 0:
		err = fault.New(fault.NotFound, "no server %q is expected", name).About("server", name)
	case len(found) > 1:
		err = fault.New(fault.Conflict, "%d servers are called %q", len(found), name).About("server", name).
			WithHint("name one with its cluster: %s", found[0].identity())
	case found[0].up:
		err = fault.New(fault.Conflict, "server %q is up", name).About("server", name).
			WithHint("stop it first; a server that answers is always expected")
	default:
		delete(f.servers, found[0].identity())
		f.dirty = true
		f.stir()
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.save(ctx)
}

// Notify sends the stored version of an account to the servers once more, unless
// that was done in the last second, and returns at once.
func (f *Fleet) Notify(ctx context.Context, key string) error {
	f.mu.Lock()
	recent := time.Since(f.queue.last[key].at) < spacing || f.jobs[key] != nil
	f.mu.Unlock()
	if recent {
		return nil
	}
	rec, err := f.record(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	f.redo(rec)
	return nil
}

// Undone returns how many pushes and deletions that somebody sent straight to
// the servers were taken back.
func (f *Fleet) Undone() uint64 { return f.undone.Load() }

// stir wakes who waits for a server to come or go. f.mu is held.
func (f *Fleet) stir() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// stirred returns the channel that the next stir closes.
func (f *Fleet) stirred() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.moved
}

// maxWaits bounds the accounts that are waited for.
const maxWaits = 100_000

// wait returns a channel that is closed at the next outcome for key. f.mu is held.
func (f *Fleet) wait(key string) <-chan struct{} {
	c, ok := f.waits[key]
	if !ok {
		for len(f.waits) >= maxWaits { // those for accounts that never change
			for other := range f.waits {
				f.wake(other)
			}
		}
		c = make(chan struct{})
		f.waits[key] = c
	}
	return c
}

// wake wakes who waits for an outcome for key. f.mu is held.
func (f *Fleet) wake(key string) {
	if c, ok := f.waits[key]; ok {
		close(c)
		delete(f.waits, key)
	}
}

// upNow returns the servers that answer now, with the run that they are in.
func (f *Fleet) upNow() map[string]*Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]*Server{}
	for _, s := range f.servers {
		if s.up {
			out[s.id] = s
		}
	}
	return out
}

// still reports whether a server is up in the given run.
func (f *Fleet) still(s *Server, id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.up && s.id == id
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
