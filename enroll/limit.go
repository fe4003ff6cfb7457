package enroll

import (
	"sync"
	"time"
)

// limiter bounds how often each of many may ask (GCRA): one every period on
// average, and a burst of them at once. It remembers a bounded number of askers:
// of more, those that were quiet the longest begin anew.
type limiter struct {
	every time.Duration
	burst int

	mu  sync.Mutex
	due lately[string, time.Time] // when what each has asked for so far is
}

func newLimiter(every time.Duration, burst, most int) *limiter {
	return &limiter{every: every, burst: burst, due: lately[string, time.Time]{most: most}}
}

// wait counts a request of who at now and returns 0, or counts nothing and
// returns after how long it would be allowed.
func (l *limiter) wait(who string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	due, _ := l.due.get(who)
	if due.Before(now) || due.Sub(now) > time.Duration(l.burst)*l.every { // or the clock went back
		due = now
	}
	if early := due.Sub(now) - time.Duration(l.burst-1)*l.every; early > 0 {
		return early
	}
	l.due.put(who, due.Add(l.every))
	return 0
}

// lately remembers at least the last so many that were put, and at most twice as
// many.
type lately[K comparable, V any] struct {
	most           int
	recent, before map[K]V
}

func (l *lately[K, V]) get(k K) (V, bool) {
	v, ok := l.recent[k]
	if !ok {
		v, ok = l.before[k]
	}
	return v, ok
}

func (l *lately[K, V]) put(k K, v V) {
	if _, ok := l.recent[k]; l.recent == nil || !ok && len(l.recent) >= l.most {
		l.before, l.recent = l.recent, map[K]V{}
	}
	l.recent[k] = v
}

// turns gives those that are sent away a time each, so that they do not come back
// at once.
type turns struct {
	mu  sync.Mutex
	due time.Time
}

// next returns in how many seconds the next one is to come back.
func (t *turns) next(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.due.Before(now) {
		t.due = now
	}
	t.due = t.due.Add(pace)
	return seconds(t.due.Sub(now))
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
