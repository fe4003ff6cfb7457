package node

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/store"
)

// terms says when to look at the contracts of which loaded account: at the start
// and end of each of its activations, and shortly afterwards for what was being
// loaded at that moment. What it holds grows with the accounts that have one to come.
type terms struct {
	mu    sync.Mutex
	at    map[string]time.Time // by importer
	queue termQueue
	wake  chan struct{} // holds one element when the queue has a new head
}

type term struct {
	at  time.Time
	key string
}

func newTerms() *terms {
	return &terms{at: map[string]time.Time{}, wake: make(chan struct{}, 1)}
}

// look makes the contracts of an account be looked at now.
func (t *terms) look(key string) { t.set(key, time.Time{}) }

func (t *terms) set(key string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if was, ok := t.at[key]; ok && !at.Before(was) {
		return
	}
	t.at[key] = at
	heap.Push(&t.queue, term{at, key})
	if t.queue[0].key == key {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// due takes an account whose time has come, or says when that of the next one
// does; the zero time is never.
func (t *terms) due(now time.Time) (key string, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) > 0 {
		head := t.queue[0]
		if at, ok := t.at[head.key]; !ok || !at.Equal(head.at) {
			heap.Pop(&t.queue) // an earlier one has taken its place
			continue
		}
		if head.at.After(now) {
			return "", head.at
		}
		heap.Pop(&t.queue)
		delete(t.at, head.key)
		return head.key, time.Time{}
	}
	return "", time.Time{}
}

// clockCheck bounds a wait for a time of the clock, which somebody may set.
const clockCheck = time.Second

// keepTerms opens and ends imports with their activations. The server opens none,
// and has a timer for the end, which misses services under another name and
// activations that are wider than the import; and a clock that is set makes it late.
func (n *Node) keepTerms(ctx context.Context) {
	for ctx.Err() == nil {
		now := n.cfg.Now()
		key, next := n.terms.due(now)
		if key != "" {
			if at := n.keepTermsOf(key, now); !at.IsZero() {
				n.terms.set(key, at)
			}
			continue
		}
		var come <-chan time.Time
		if !next.IsZero() {
			come = time.After(min(next.Sub(now), clockCheck))
		}
		select {
		case <-ctx.Done():
		case <-n.terms.wake:
		case <-come:
		}
	}
}

// keepTermsOf opens what has started and ends what has ended for an importer, and
// returns when to look again, never for the zero time. It loads no account.
func (n *Node) keepTermsOf(key string, now time.Time) (again time.Time) {
	held, err := n.copy.get(store.Account, key)
	if err != nil || held.missing() {
		return time.Time{}
	}
	claims, err := claimsOf(held)
	if err != nil {
		return time.Time{} // no server takes it
	}
	look := func(at time.Time) {
		for _, after := range []time.Duration{0, firstLook, secondLook, lastLook} {
			if at := at.Add(after); at.After(now) && (again.IsZero() || at.Before(again)) {
				again = at
			}
		}
	}
	started := false
	for _, at := range accounts.Starts(claims) {
		start := time.Unix(at, 0)
		look(start)
		started = started || !start.After(now)
	}
	if started {
		n.open(key)
	}
	acc := n.kernel.loaded(n.srv, key)
	for _, e := range accounts.Endings(claims) {
		end := time.Unix(e.At, 0)
		look(end)
		if end.After(now) || acc == nil {
			continue
		}
		subject := e.Remote
		if e.Type == jwt.Service {
			subject = e.Local
		}
		if exporter := n.kernel.loaded(n.srv, e.Exporter); exporter != nil {
			expireActivation(acc, exporter, subject, e.Type)
		}
	}
	return again
}

// open has the server read a loaded account anew that lacks imports: it looks at
// the start of an activation only then.
func (n *Node) open(key string) {
	unlock := n.lock(key)
	defer unlock()
	held, err := n.copy.get(store.Account, key)
	acc := n.kernel.loaded(n.srv, key)
	if err != nil || held.missing() || acc == nil || n.kernel.claimJWT(acc) != held.JWT {
		return // what comes is read at its own time
	}
	info, err := n.srv.Accountz(&server.AccountzOptions{Account: key})
	if err != nil || info.Account == nil || info.Account.Complete {
		return
	}
	if err := applyClaims(n.srv, acc, held.JWT); err != nil {
		n.cfg.Logger.Warn("cannot open contracts that have started", "node", n.cfg.Name, "account", key, "err", err)
	}
}

// ended counts the activations of an account that have ended, and names an import
// that the server honours all the same.
func (n *Node) ended(info *server.AccountInfo) (ended int, open string) {
	if info.Claim == nil {
		return 0, ""
	}
	now := n.cfg.Now()
	for _, e := range accounts.Endings(info.Claim) {
		since := now.Sub(time.Unix(e.At, 0))
		if since >= 0 {
			ended++
		}
		if since < secondLook {
			continue
		}
		for _, im := range info.Imports {
			of := string(im.Subject) == e.Remote
			if e.Type == jwt.Service {
				of = string(im.LocalSubject) == e.Local
			}
			if !im.Invalid && im.Type == e.Type && im.Account == e.Exporter && of {
				open = e.Remote
			}
		}
	}
	return ended, open
}

// termQueue is a heap, the earliest first.
type termQueue []term

func (q termQueue) Len() int           { return len(q) }
func (q termQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q termQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *termQueue) Push(x any)        { *q = append(*q, x.(term)) }

func (q *termQueue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	*q = (*q)[:last]
	return t
}
