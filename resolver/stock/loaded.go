package stock

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// When the accounts that servers have loaded are listed instead of asked about
// one by one: while many are delivered or looked at, and as long as a list is
// the shorter answer.
const (
	manyAtWork = 16
	listShare  = 8 // loaded accounts, for each one that is delivered or looked at
)

// lists asks what servers have loaded, once for all who want to know at a time.
type lists struct {
	mu      sync.Mutex
	next    *list // the one that who comes now waits for, nil if nobody does
	running bool
	loaded  int // accounts of the longest answer of the last list
}

// list is what each server has loaded, by its run. Servers that did not answer
// are missing.
type list struct {
	done    chan struct{}
	servers map[string]map[string]bool
}

// bulk reports whether a list pays now.
func (f *Fleet) bulk() bool {
	f.lists.mu.Lock()
	defer f.lists.mu.Unlock()
	return len(f.slots)+int(f.asked.Load()) >= max(manyAtWork, f.lists.loaded/listShare)
}

// loadedNow returns what servers have loaded at a time after the call.
func (f *Fleet) loadedNow(ctx context.Context) *list {
	q := &f.lists
	q.mu.Lock()
	if q.next == nil {
		q.next = &list{done: make(chan struct{}), servers: map[string]map[string]bool{}}
	}
	l := q.next
	if !q.running {
		q.running = true
		f.wg.Go(func() { f.listLoop(ctx) })
	}
	q.mu.Unlock()
	<-l.done
	return l
}

// listLoop makes lists as long as somebody waits for one.
func (f *Fleet) listLoop(ctx context.Context) {
	q := &f.lists
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.next != nil {
		l := q.next
		q.next = nil
		q.mu.Unlock()
		f.fill(ctx, l)
		close(l.done)
		q.mu.Lock()
		q.loaded = 0
		for _, keys := range l.servers {
			q.loaded = max(q.loaded, len(keys))
		}
	}
	q.running = false
}

// fill asks all servers for their lists.
func (f *Fleet) fill(ctx context.Context, l *list) {
	up := f.upNow()
	// Who does not answer is asked about each account.
	_, _ = f.ask.gather(ctx, fmt.Sprintf(subjectPing, "ACCOUNTZ"), nil, f.cfg.Answer, f.stirred, func(m *nats.Msg) bool {
		if m != nil {
			a, err := decode[accountz](m)
			if err != nil || up[a.Server.ID] == nil {
				return false
			}
			keys := make(map[string]bool, len(a.Data.Accounts))
			for _, key := range a.Data.Accounts {
				keys[key] = true
			}
			l.servers[a.Server.ID] = keys
		}
		for id, s := range up {
			if l.servers[id] == nil && f.still(s, id) {
				return false
			}
		}
		return true
	})
}

// fromLists judges the servers that have not loaded the account, as one list
// for many accounts tells, and takes them from missing.
func (r *round) fromLists(ctx context.Context, missing map[string]bool) {
	l := r.f.loadedNow(ctx)
	for id := range missing {
		if keys, ok := l.servers[id]; ok && !keys[r.rec.Key] {
			delete(missing, id)
			r.judge(r.verdicts[id], answer[accountz]{})
		}
	}
}
