package node

import (
	"context"
	"sync"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/store"
)

// maxLanes bounds the accounts that are applied at the same time.
const maxLanes = 64

// work is one version to bring into force.
type work struct {
	entry    entry
	received time.Time
	out      *outcome
	batch    *staged // what it was written to the copy with
}

// lane serialises what is done to one account. It exists while there is
// something to do.
type lane struct {
	sync.Mutex       // held while the account is applied or repaired
	users      int   // runner and waiting lockers; guarded by Node.mu
	running    bool  // a goroutine takes next; guarded by Node.mu
	next       *work // the newest version that waits; guarded by Node.mu
}

// lock waits for the account's turn; the function it returns ends it.
func (n *Node) lock(key string) (unlock func()) {
	n.mu.Lock()
	l := n.laneLocked(key)
	n.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		n.mu.Lock()
		n.leaveLocked(key, l)
		n.mu.Unlock()
	}
}

func (n *Node) laneLocked(key string) *lane {
	l := n.lanes[key]
	if l == nil {
		l = &lane{}
		n.lanes[key] = l
	}
	l.users++
	return l
}

func (n *Node) leaveLocked(key string, l *lane) {
	l.users--
	if l.users == 0 {
		delete(n.lanes, key)
	}
}

// expect makes an outcome for each accepted version, so that who waits for it
// can tell "under way" from "long done".
func (n *Node) expect(b *staged, received time.Time) []*work {
	n.mu.Lock()
	defer n.mu.Unlock()
	todo := make([]*work, 0, len(b.accepted))
	for _, e := range b.accepted {
		todo = append(todo, &work{entry: n.copy.ruling(e), received: received, batch: b, out: n.results.add(e.Key, e.Revision, n.cfg.Name)})
	}
	close(n.moved)
	n.moved = make(chan struct{})
	return todo
}

// dispatch hands a version to its account's lane. Versions that come while the
// lane works replace each other: only the newest is applied. It blocks while
// too many lanes are at work.
func (n *Node) dispatch(ctx context.Context, w *work) {
	n.mu.Lock()
	if l := n.lanes[w.entry.Key]; l != nil && l.running {
		if l.next != nil {
			n.results.drop(w.entry.Key, l.next.out)
			w.received = l.next.received
		}
		l.next = w
		n.mu.Unlock()
		return
	}
	l := n.laneLocked(w.entry.Key)
	l.running, l.next = true, w
	n.mu.Unlock()
	select {
	case n.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	n.wg.Go(func() {
		defer func() { <-n.slots }()
		n.drive(ctx, w.entry.Key, l)
	})
}

func (n *Node) drive(ctx context.Context, key string, l *lane) {
	for {
		n.mu.Lock()
		w := l.next
		l.next = nil
		if w == nil || ctx.Err() != nil {
			l.running = false
			n.leaveLocked(key, l)
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		l.Lock()
		n.process(ctx, w)
		l.Unlock()
	}
}

// finish records what became of a version, once it is durable here, and wakes
// who waits for it.
func (n *Node) finish(w *work, p api.NodeProof) {
	n.remark(w, "waiting for the disk")
	if <-w.batch.done; w.batch.err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if w.out.done {
		return
	}
	p.Closed = w.out.proof.Closed
	p.Ms = n.since(w.received)
	w.out.proof = p
	n.results.finish(w.entry.Key, w.out)
}

// remark says why a version is still pending.
func (n *Node) remark(w *work, reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !w.out.done {
		w.out.proof.Reason = reason
	}
}

// swept records that what a version ends is gone, while the server is still at
// work on it.
func (n *Node) swept(w *work) {
	n.remark(w, "cut and swept; the server is still looking through its clients")
	n.mu.Lock()
	defer n.mu.Unlock()
	if !w.out.proof.Swept {
		w.out.proof.Swept, w.out.proof.Loaded = true, true
		n.results.wake(w.entry.Key)
	}
}

// superseded forgets a version that a newer one replaced before it was proven.
func (n *Node) superseded(w *work) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !w.out.done {
		n.results.drop(w.entry.Key, w.out)
	}
}

// closed adds connections to the outcome of a version.
func (n *Node) closed(w *work, list []api.Closed) {
	if len(list) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	have := w.out.proof.Closed
	room := min(len(list), maxClosed-len(have))
	w.out.proof.Closed = append(have[:len(have):len(have)], list[:max(room, 0)]...)
	n.results.wake(w.entry.Key)
}

// since is the time from t to now in milliseconds.
func (n *Node) since(t time.Time) float64 {
	return float64(n.cfg.Now().Sub(t)) / float64(time.Millisecond)
}

// process brings one version into force; the account's lane is held.
func (n *Node) process(ctx context.Context, w *work) {
	if w.entry.Kind == store.Operator {
		n.finish(w, n.operatorProof(w.entry))
		return
	}
	acc := n.kernel.loaded(n.srv, w.entry.Key)
	switch {
	case acc != nil:
		n.bring(ctx, w, acc)
	case n.res.wasAsked(w.entry.Key):
		n.wg.Go(func() { n.lookAgain(ctx, w) })
	default: // whoever asks from now on reads this version
		n.finish(w, n.unloadedProof(w.entry))
	}
}

// lookAgain waits until secondLook has passed since no read of the account was
// under way: one that began before the version was staged may have loaded an
// older one.
func (n *Node) lookAgain(ctx context.Context, w *work) {
	for reading := true; reading; {
		reading = n.res.reading(w.entry.Key)
		if !pause(ctx, secondLook) {
			return
		}
	}
	unlock := n.lock(w.entry.Key)
	defer unlock()
	if acc := n.kernel.loaded(n.srv, w.entry.Key); acc != nil {
		n.bring(ctx, w, acc)
		return
	}
	n.finish(w, n.unloadedProof(w.entry))
}
