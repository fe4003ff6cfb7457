package node

import (
	"errors"
	"sync"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/accountd/accountd/store"
)

// resolver answers the server from the local copy and from nothing else. It
// says that it tracks updates, so that the server subscribes to none of the
// subjects through which a system user could push an older claim.
type resolver struct {
	copy *local
	load func(key string) // called when the server has got an account

	mu    sync.Mutex
	asked map[string]reads
}

// reads says how often the server is reading an account right now, and whether
// it ever got one.
type reads struct {
	running int
	found   bool
}

func newResolver(copy *local, load func(key string)) *resolver {
	return &resolver{copy: copy, load: load, asked: map[string]reads{}}
}

// Fetch returns the held JWT. A tombstone is missing.
func (r *resolver) Fetch(key string) (token string, err error) {
	r.begin(key)
	defer func() { r.end(key, err == nil) }()
	e, err := r.copy.get(store.Account, key)
	if err == nil && e.missing() {
		err = errNotHeld
	}
	if errors.Is(err, errNotHeld) {
		return "", server.ErrMissingAccount
	}
	if err == nil {
		r.load(key)
	}
	return e.JWT, err
}

// begin and end keep, around a read, that the server may hold what it read:
// a late answer can bring a version that is no longer the newest. Names that
// the copy does not hold are forgotten: anybody can ask for those.
func (r *resolver) begin(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.asked[key]
	s.running++
	r.asked[key] = s
}

func (r *resolver) end(key string, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.asked[key]
	s.running--
	s.found = s.found || found
	if s.running == 0 && !s.found {
		delete(r.asked, key)
		return
	}
	r.asked[key] = s
}

// wasAsked reports whether the server may hold a version of the account that
// it read before now.
func (r *resolver) wasAsked(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.asked[key]
	return ok
}

// reading reports whether the server is reading the account right now.
func (r *resolver) reading(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[key].running > 0
}

// Store refuses: claims enter through the store that the node follows.
func (r *resolver) Store(string, string) error {
	return errors.New("claims are written to accountd, not to a server")
}

// IsReadOnly is true: see Store.
func (r *resolver) IsReadOnly() bool { return true }

// Start does nothing: the node follows the store, not the system account.
func (r *resolver) Start(*server.Server) error { return nil }

// IsTrackingUpdate is true: the server leaves the update subjects alone.
func (r *resolver) IsTrackingUpdate() bool { return true }

// Reload does nothing.
func (r *resolver) Reload() error { return nil }

// Close does nothing: the node closes the copy.
func (r *resolver) Close() {}
