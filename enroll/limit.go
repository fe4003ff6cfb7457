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
	most  int // askers in each of the two maps

	mu     sync.Mutex
	recent map[string]time.Time // when what each has asked for so far is due
	before map[string]time.Time
}

func newLimiter(every time.Duration, burst, most int) *limiter {
	return &limiter{every: every, burst: burst, most: most, recent: map[string]time.Time{}}
}

// wait counts a request of who at now and returns 0, or counts nothing and
// returns after how long it would be allowed.
func (l *limiter) wait(who string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	due, known := l.recent[who]
	if !known {
		due = l.before[who]
	}
	if due.Before(now) || due.Sub(now) > time.Duration(l.burst)*l.every { // or the clock went back
		due = now
	}
	if early := due.Sub(now) - time.Duration(l.burst-1)*l.every; early > 0 {
		return early
	}
	if !known && len(l.recent) >= l.most {
		l.before, l.recent = l.recent, map[string]time.Time{}
	}
	l.recent[who] = due.Add(l.every)
	return 0
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
