package node

import (
	"slices"

	"github.com/accountd/accountd/api"
)

// Bounds of what a node remembers of past changes.
const (
	maxResults = 4096 // accounts with nothing under way; some times what one request changes
	maxClosed  = 1000 // connections listed for one change; all are closed
)

// outcome is what became of one version on this node.
type outcome struct {
	proof api.NodeProof
	done  bool          // proven or rejected
	moved chan struct{} // closed and replaced when there may be more to say
}

func (o *outcome) wake() {
	close(o.moved)
	o.moved = make(chan struct{})
}

// results keeps the outcomes of the last changes of a bounded number of
// accounts: of each the newest finished one, and those under way.
type results struct {
	byKey map[string][]*outcome
	order []string // keys, in the order in which they came
}

// add makes an outcome for a version of key.
func (r *results) add(key string, revision uint64, server string) *outcome {
	if r.byKey == nil {
		r.byKey = map[string][]*outcome{}
	}
	if _, ok := r.byKey[key]; !ok {
		r.order = append(r.order, key)
	}
	r.wake(key)
	o := &outcome{
		proof: api.NodeProof{Server: server, State: api.Pending, Revision: revision, Reason: "being applied"},
		moved: make(chan struct{}),
	}
	r.byKey[key] = append(r.byKey[key], o)
	for len(r.order) > maxResults && r.settled(r.order[0]) {
		delete(r.byKey, r.order[0])
		r.order = r.order[1:]
	}
	return o
}

// settled reports whether nothing is under way for key.
func (r *results) settled(key string) bool {
	return !slices.ContainsFunc(r.byKey[key], func(o *outcome) bool { return !o.done })
}

// wake wakes who waits for an outcome of key.
func (r *results) wake(key string) {
	for _, o := range r.byKey[key] {
		o.wake()
	}
}

// drop forgets the outcome of a version that a newer one replaced unapplied.
func (r *results) drop(key string, o *outcome) {
	r.wake(key)
	r.byKey[key] = slices.DeleteFunc(r.byKey[key], func(have *outcome) bool { return have == o })
}

// finish keeps o and forgets the finished outcomes of older versions.
func (r *results) finish(key string, o *outcome) {
	o.done = true
	r.wake(key)
	r.byKey[key] = slices.DeleteFunc(r.byKey[key], func(have *outcome) bool {
		return have.done && have.proof.Revision < o.proof.Revision
	})
}

// find returns the outcome that answers for revision: a finished one of that
// or a newer version if there is any, else the newest under way, else nil.
func (r *results) find(key string, revision uint64) *outcome {
	var best *outcome
	for _, o := range r.byKey[key] {
		if o.proof.Revision >= revision && (best == nil || o.done || !best.done) {
			best = o
		}
	}
	return best
}
