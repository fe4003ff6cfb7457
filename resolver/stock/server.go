package stock

import (
	"time"

	"github.com/accountd/accountd/api"
)

// Kind is how a server gets its accounts.
type Kind string

// The kinds.
const (
	Full    Kind = "full"   // a directory of all accounts
	Cache   Kind = "cache"  // a directory of those that were used, looked up elsewhere
	URL     Kind = "url"    // fetched from our HTTP address
	Memory  Kind = "memory" // fixed in its configuration, or fetched elsewhere: not served by us
	Unknown Kind = ""       // not seen since the start
)

// seconds reports whether servers of that kind, or who may be of it, order
// versions by whole seconds.
func (k Kind) seconds() bool { return k == Full || k == Unknown }

// Server is one expected stock server. It implements resolver.Node.
type Server struct {
	f             *Fleet
	name, cluster string

	// Guarded by f.mu.
	id          string // of the run that was seen last
	up          bool   // it answers and its kind is known
	stranger    bool   // it has routes, and does not answer on the system account
	fresh       bool   // nothing was ever opened for it
	probing     bool
	kind        Kind
	trusts      []string        // as it is stored until the first look is over; none of one that is away
	undeletable bool            // its resolver refuses deletions
	deletable   bool            // it has confirmed one
	files       map[string]bool // accounts in the folder of a cache server that it had not loaded
	url         string
	since       time.Time // of up, or of its end
	heard       time.Time
	skip        uint64            // changes up to this one need not be opened for it
	open        map[string]uint64 // accounts of which it lacks the version of a change, by that change's number
	outcomes    outcomes
}

// outcome is what became of one version on one server.
type outcome struct {
	proof api.NodeProof
	done  bool
}

// maxOutcomes bounds the accounts whose last outcome a server remembers.
const maxOutcomes = 20_000

type outcomes struct {
	byKey map[string]*outcome
	order []string
}

func (o *outcomes) set(key string, out outcome) {
	if o.byKey == nil {
		o.byKey = map[string]*outcome{}
	}
	if _, ok := o.byKey[key]; !ok {
		o.order = append(o.order, key)
	}
	o.byKey[key] = &out
	if len(o.order) > maxOutcomes {
		delete(o.byKey, o.order[0])
		o.order = o.order[1:]
	}
}

// identity is what a server is known by.
func (s *Server) identity() string { return identity(s.cluster, s.name) }

func identity(cluster, name string) string { return cluster + "/" + name }

// Name returns the server's name.
func (s *Server) Name() string { return s.name }

// Cluster returns the name of the server's cluster, "" for none.
func (s *Server) Cluster() string { return s.cluster }

// Kind returns how the server gets its accounts.
func (s *Server) Kind() Kind {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	return s.kind
}

// applied returns the change up to which the server lacks nothing. f.mu is held.
func (s *Server) applied() uint64 {
	low := max(s.f.followed, s.skip)
	for _, seq := range s.open {
		low = min(low, seq-1)
	}
	return low
}
