package stock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
)

// maxAnswers bounds the answers that wait to be read for one request.
const maxAnswers = 256

// asker sends requests that many servers answer, over one subscription.
type asker struct {
	nc     *nats.Conn
	prefix string
	sub    *nats.Subscription

	mu   sync.Mutex
	next uint64
	open map[string]chan *nats.Msg
}

func newAsker(nc *nats.Conn) (*asker, error) {
	a := &asker{nc: nc, prefix: ownInbox() + ".", open: map[string]chan *nats.Msg{}}
	var err error
	a.sub, err = nc.Subscribe(a.prefix+"*", a.deliver)
	if err == nil {
		err = a.sub.SetPendingLimits(-1, -1)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to answers: %w", err)
	}
	return a, nil
}

// ownInbox returns a new reply subject that the doors of accountd leave alone.
func ownInbox() string { return api.OwnInbox + strings.TrimPrefix(nats.NewInbox(), nats.InboxPrefix) }

func (a *asker) close() { _ = a.sub.Unsubscribe() }

func (a *asker) deliver(m *nats.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case a.open[m.Subject] <- m: // nil for a request that has ended
	default:
	}
}

// gather sends body and gives each answer to take, until take says that it has
// all, limit has passed, or ctx ends. Every change that wake announces asks
// take once more, with a nil answer. It reports whether take had all.
func (a *asker) gather(ctx context.Context, subject string, body []byte, limit time.Duration, wake func() <-chan struct{}, take func(*nats.Msg) bool) (bool, error) {
	answers := make(chan *nats.Msg, maxAnswers)
	a.mu.Lock()
	a.next++
	reply := fmt.Sprintf("%s%d", a.prefix, a.next)
	a.open[reply] = answers
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.open, reply)
		a.mu.Unlock()
	}()
	moved := wake()
	if take(nil) {
		return true, nil
	}
	if err := a.nc.PublishRequest(subject, reply, body); err != nil {
		return false, fmt.Errorf("ask %s: %w", subject, err)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case m := <-answers:
			if m.Header.Get("Status") == "503" {
				return false, fmt.Errorf("ask %s: %w", subject, nats.ErrNoResponders)
			}
			if take(m) {
				return true, nil
			}
		case <-moved:
			moved = wake()
			if take(nil) {
				return true, nil
			}
		case <-timer.C:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// one sends body to a single responder and returns its answer.
func (a *asker) one(ctx context.Context, subject string, body []byte, limit time.Duration) (*nats.Msg, error) {
	var got *nats.Msg
	never := func() <-chan struct{} { return nil }
	ok, err := a.gather(ctx, subject, body, limit, never, func(m *nats.Msg) bool {
		got = m
		return m != nil
	})
	if err == nil && !ok {
		err = errors.New("no answer")
	}
	return got, err
}
