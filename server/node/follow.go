package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

const (
	batch      = 1000                  // changes read in one View
	batchBytes = 16 * mebibyte         // JWTs read in one View, and at most one more
	backoffMin = 50 * time.Millisecond // after the first failure to read the Source
	backoffMax = 5 * time.Second       // between any two attempts
	lookLimit  = 10 * time.Second      // for one View
)

// follow reads the Source for ever: at each wakeup, and with growing pauses
// while it cannot be read. Authentication does not depend on it.
func (n *Node) follow(ctx context.Context) {
	backoff := backoffMin
	for ctx.Err() == nil {
		changed := n.cfg.Source.Changed()
		received := n.cfg.Now()
		more, err := n.step(ctx, received)
		if ctx.Err() != nil {
			return
		}
		n.sourceState(err)
		switch {
		case err != nil:
			pause(ctx, backoff)
			backoff = min(2*backoff, backoffMax)
		case !more:
			backoff = backoffMin
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// step takes what follows, and brings it into force while the disk writes it.
func (n *Node) step(ctx context.Context, received time.Time) (more bool, err error) {
	l, err := n.look(ctx)
	if err != nil {
		return false, err
	}
	n.intake.Lock()
	b, err := n.stage(l)
	var todo []*work
	if err == nil {
		todo = n.expect(b, received)
	}
	n.intake.Unlock()
	if err != nil {
		return false, err
	}
	n.wg.Go(func() { n.write(ctx, b) })
	for _, w := range todo {
		n.dispatch(ctx, w)
	}
	<-b.done
	if b.err == nil {
		n.advance(b)
	}
	return l.more, b.err
}

// pause waits for d, or not at all if d is not positive, and returns false when
// ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// look reads the changes that follow what the copy holds, and the records they
// lead to, newest version only.
func (n *Node) look(ctx context.Context) (look, error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	var l look
	err := n.cfg.Source.View(ctx, func(r store.Reader) (err error) {
		l, err = lookAfter(r, n.pos)
		return err
	})
	if err != nil {
		return look{}, fmt.Errorf("%w: %w", errUnread, err)
	}
	return l, nil
}

// errUnread is what people are told when the Source fails; the cause is for the
// log.
var errUnread = errors.New("the store cannot be read")

// reasonOf is what people are told of an error.
func reasonOf(err error) string {
	if errors.Is(err, errUnread) {
		return errUnread.Error()
	}
	return err.Error()
}

// look is one consistent view of what the Source has for a node.
type look struct {
	recs     []store.Record
	pos      position
	more     bool
	diverged error // the Source's history is not the one that the node followed
}

func lookAfter(r store.Reader, pos position) (look, error) {
	head, err := r.Head()
	if err != nil {
		return look{}, err
	}
	if err := sameHistory(r, pos, head); err != nil {
		if fault.As(err) == nil {
			return look{}, err
		}
		recs, scanErr := scanAll(r)
		return look{recs: recs, pos: pos, diverged: err}, scanErr
	}
	changes, err := r.Changes(pos.seq, batch)
	if err != nil || len(changes) == 0 {
		return look{pos: pos}, err
	}
	recs, covered, err := newest(r, changes)
	if err != nil {
		return look{}, err
	}
	last := changes[covered-1]
	return look{recs: recs, pos: position{last.Seq, markOf(last)}, more: last.Seq < head}, nil
}

// markOf is what tells two histories apart at one sequence number.
func markOf(c store.Change) string {
	return strconv.FormatUint(c.Seq, 10) + " " + c.Key + " " + c.ID + " " + c.After
}

// sameHistory checks that the change at the node's position is the one that it
// followed. It is not when the store was restored from an older backup.
func sameHistory(r store.Reader, pos position, head uint64) error {
	if pos.seq == 0 {
		return nil
	}
	if head >= pos.seq {
		at, err := r.Changes(pos.seq-1, 1)
		if err != nil {
			return err
		}
		if len(at) == 1 && markOf(at[0]) == pos.mark {
			return nil
		}
	}
	return fault.New(fault.Conflict, "the store's history is not the one this node followed (store at %d, node at %d)", head, pos.seq).
		ByRule("rollback").
		WithHint("restore the store from a newer copy, or publish the accounts of your store again: nsc push -A")
}

// newest returns the records that changes lead to, each once, and how many of
// the changes they cover: fewer when the JWTs would take too much memory.
func newest(r store.Reader, changes []store.Change) (recs []store.Record, covered int, err error) {
	type id struct {
		kind store.Kind
		key  string
	}
	seen := map[id]bool{}
	size := 0
	for i, c := range changes {
		if c.Kind != store.Operator && c.Kind != store.Account || seen[id{c.Kind, c.Key}] {
			continue // servers know nothing of the rest
		}
		seen[id{c.Kind, c.Key}] = true
		rec, err := r.Get(c.Kind, c.Key)
		if err != nil {
			return nil, 0, err
		}
		recs = append(recs, rec)
		if size += len(rec.JWT); size > batchBytes {
			return recs, i + 1, nil
		}
	}
	return recs, len(changes), nil
}

// scanAll returns every record: the slow way, for a store with another history.
func scanAll(r store.Reader) (recs []store.Record, err error) {
	for _, kind := range []store.Kind{store.Operator, store.Account} {
		err := r.Scan(kind, "", func(rec store.Record) bool {
			recs = append(recs, rec)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return recs, nil
}

// staged is what one look brought, on its way to the disk.
type staged struct {
	accepted []entry
	pos      position
	done     chan struct{} // closed when it is written, or err is set
	err      error
}

// stage takes what was seen. Nothing older replaces what is held.
func (n *Node) stage(l look) (*staged, error) {
	accepted, older, err := n.copy.stage(l.recs, l.diverged != nil)
	if err != nil {
		return nil, err
	}
	if l.diverged != nil && len(older) > 0 {
		l.diverged = fmt.Errorf("%w; %s older in the store, first %s: revision %d, held here %d",
			l.diverged, counted(len(older)), older[0].name, older[0].seen, older[0].held)
	}
	n.behindState(l.diverged)
	return &staged{accepted: accepted, pos: l.pos, done: make(chan struct{})}, nil
}

func counted(accounts int) string {
	if accounts == 1 {
		return "1 account is"
	}
	return fmt.Sprintf("%d accounts are", accounts)
}

// write makes b durable, and tries for ever: what is staged is in effect
// already, and not proven before it is written.
func (n *Node) write(ctx context.Context, b *staged) {
	defer close(b.done)
	if len(b.accepted) == 0 && b.pos == n.pos {
		return
	}
	backoff := backoffMin
	for {
		err := n.copy.flush(b.accepted, b.pos)
		if err == nil {
			return
		}
		n.sourceState(err)
		if !pause(ctx, backoff) {
			b.err = err
			return
		}
		backoff = min(2*backoff, backoffMax)
	}
}

// advance notes what is written.
func (n *Node) advance(b *staged) {
	n.pos = b.pos
	n.applied.Store(b.pos.seq)
}

// sourceState keeps, and logs once, whether the Source can be followed.
func (n *Node) sourceState(err error) {
	n.mu.Lock()
	was := n.source
	n.source = err
	n.mu.Unlock()
	switch {
	case err != nil && was == nil && !errors.Is(err, context.Canceled):
		n.cfg.Logger.Warn("cannot follow the store; serving from the local copy", "node", n.cfg.Name, "error", err)
	case err == nil && was != nil:
		n.cfg.Logger.Info("following the store again", "node", n.cfg.Name, "applied", n.Applied())
	}
}

// behindState keeps, and logs once, whether the Source went back.
func (n *Node) behindState(err error) {
	n.mu.Lock()
	was := n.behind
	n.behind = err
	n.mu.Unlock()
	if err != nil && was == nil {
		n.cfg.Logger.Error("store went back; keeping the newer claims", "node", n.cfg.Name, "error", err)
	}
}
