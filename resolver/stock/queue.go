package stock

import (
	"context"
	"time"

	"github.com/accountd/accountd/store"
)

const (
	maxAtWork = 512         // accounts under delivery at a time
	spacing   = time.Second // between two versions of an account: full servers order by whole seconds
	retryMin  = 200 * time.Millisecond
)

// job is one account that some server may lack. It is guarded by f.mu.
type job struct {
	rec      store.Record
	received time.Time // when rec was followed
	imports  []string
	// blocked and blocks order exporters before importers.
	blocked string // account whose job goes first, "" for none
	blocks  []string
	queued  bool
	running bool
	again   bool // another version came while it ran
	pushed  bool // this version was sent at least once
	fails   int
}

// queue is what is ready to be delivered, and what will be later.
type queue struct {
	ready   []string
	later   map[string]time.Time
	last    map[string]sending // what was sent of an account, for a spacing at least
	recent  []string           // the keys of last, oldest first
	changed chan struct{}      // holds a token when there is something new
}

// sending is a version that was sent, and when.
type sending struct {
	at       time.Time
	revision uint64
	issued   int64 // iat, Unix seconds
}

func newQueue() queue {
	return queue{later: map[string]time.Time{}, last: map[string]sending{}, changed: make(chan struct{}, 1)}
}

func (q *queue) signal() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// note remembers that an account was sent now, and forgets what is long ago.
func (q *queue) note(rec store.Record) {
	now := time.Now()
	q.last[rec.Key] = sending{at: now, revision: rec.Revision, issued: rec.IssuedAt}
	q.recent = append(q.recent, rec.Key)
	for len(q.recent) > 0 && now.Sub(q.last[q.recent[0]].at) > 2*spacing {
		delete(q.last, q.recent[0])
		q.recent = q.recent[1:]
	}
}

// enqueue makes rec the wanted version of its account and queues it. f.mu is
// held.
func (f *Fleet) enqueue(rec store.Record, now time.Time) {
	j := f.jobs[rec.Key]
	if j == nil {
		j = &job{}
		f.jobs[rec.Key] = j
	}
	if rec.Revision > j.rec.Revision {
		j.rec, j.received, j.pushed, j.fails = rec, now, false, 0
		j.imports = nil
		if c, err := parse(rec.JWT); err == nil && !rec.Deleted {
			j.imports = c.imports()
		}
	}
	if j.running {
		j.again = true
		return
	}
	f.ready(rec.Key, j)
}

// ready queues a job for now. f.mu is held.
func (f *Fleet) ready(key string, j *job) {
	delete(f.queue.later, key)
	if !j.queued {
		j.queued = true
		f.queue.ready = append(f.queue.ready, key)
	}
	f.queue.signal()
}

// retry queues a job for later. f.mu is held.
func (f *Fleet) retry(key string, j *job) {
	backoff := min(retryMin<<min(j.fails, 10), backoffMax)
	j.fails++
	f.queue.later[key] = time.Now().Add(backoff)
	f.queue.signal()
}

// schedule starts what is ready, exporters before importers, for ever.
func (f *Fleet) schedule(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-f.queue.changed:
		case <-ctx.Done():
			return
		}
		timer.Reset(f.due())
		for {
			key, ok := f.take()
			if !ok {
				break
			}
			select {
			case f.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			f.wg.Go(func() {
				f.deliver(ctx, key)
				<-f.slots
			})
		}
	}
}

// due moves what is due to the ready ones and returns when the next is.
func (f *Fleet) due() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, next := time.Now(), time.Minute
	for key, at := range f.queue.later {
		if wait := at.Sub(now); wait > 0 {
			next = min(next, wait)
		} else if j := f.jobs[key]; j != nil && !j.running {
			f.ready(key, j)
		} else {
			delete(f.queue.later, key)
		}
	}
	return next
}

// take returns the next account to deliver. One that imports from another that
// was not sent yet waits for it.
func (f *Fleet) take() (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue.ready) > 0 {
		key := f.queue.ready[0]
		f.queue.ready = f.queue.ready[1:]
		j := f.jobs[key]
		if j == nil || !j.queued {
			continue
		}
		j.queued = false
		last := f.queue.last[key] // the same version may be sent again at any time
		if wait := spacing - time.Since(last.at); wait > 0 && last.revision != j.rec.Revision && !j.rec.Deleted && f.spaced() {
			f.queue.later[key] = time.Now().Add(wait)
			f.queue.signal()
			continue
		}
		if j.blocked = f.first(key, j); j.blocked != "" {
			f.jobs[j.blocked].blocks = append(f.jobs[j.blocked].blocks, key)
			continue
		}
		j.running, j.again = true, false
		return key, true
	}
	return "", false
}

// spaced reports whether a server that orders by whole seconds is expected.
// f.mu is held.
func (f *Fleet) spaced() bool {
	for _, s := range f.servers {
		if s.kind.seconds() {
			return true
		}
	}
	return false
}

// first returns an account that has to be sent before j, "" for none: in a
// cycle nobody waits. f.mu is held.
func (f *Fleet) first(key string, j *job) string {
	for _, from := range j.imports {
		other := f.jobs[from]
		if other == nil || other.pushed || other.rec.Deleted {
			continue
		}
		at, steps := from, 0
		for at != "" && at != key && steps <= len(f.jobs) {
			next := f.jobs[at]
			if next == nil {
				break
			}
			at, steps = next.blocked, steps+1
		}
		if at != key {
			return from
		}
	}
	return ""
}

// tied reports whether full servers would not order a version after the one that
// was sent before it: both are of one second, and when two directories are
// merged the older one may win. f.mu is held.
func (f *Fleet) tied(rec store.Record) bool {
	last := f.queue.last[rec.Key]
	return !rec.Deleted && last.revision != 0 && last.revision != rec.Revision && rec.IssuedAt <= last.issued && f.spaced()
}

// sent notes that the version of a job was sent, and lets those go that waited.
func (f *Fleet) sent(j *job, rec store.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue.note(rec)
	if j.rec.Revision == rec.Revision {
		j.pushed = true
	}
	f.release(j)
}

// release queues the jobs that wait for j. f.mu is held.
func (f *Fleet) release(j *job) {
	for _, key := range j.blocks {
		if b := f.jobs[key]; b != nil {
			b.blocked = ""
			f.ready(key, b)
		}
	}
	j.blocks = nil
}
