package device

import (
	"time"

	"github.com/accountd/accountd/accounts/fleet"
)

// told is when accountd told its time.
type told struct {
	at    time.Time // by the device's clock
	ahead time.Duration
}

// clockSlack is how much the clock of a device may be set, or stand still while it
// sleeps, before what accountd told of it is forgotten.
const clockSlack = time.Minute

// hear notes the time of accountd in an answer, Unix seconds. Answers over NATS are
// not signed: what clocks cannot differ by is not believed.
func (a *Agent) hear(now int64) {
	at := a.now()
	ahead := time.Unix(now, 0).Sub(at)
	if now == 0 || ahead.Abs() > fleet.Skew+clockSlack {
		a.told.Store(nil)
		return
	}
	a.told.Store(&told{at, ahead})
}

// time returns what time it is for accountd; by the device's clock, if known is
// false.
func (a *Agent) time() (now time.Time, known bool) {
	now = a.now()
	t := a.told.Load()
	if t == nil {
		return now, false
	}
	// Round strips the monotonic clock, which nobody sets.
	if set := now.Round(0).Sub(t.at.Round(0)) - now.Sub(t.at); set.Abs() > clockSlack {
		return now, false
	}
	return now.Add(t.ahead), true
}

// passed reports whether a time, Unix seconds, has passed even if the device's clock
// is ahead.
func (a *Agent) passed(at int64) bool {
	now, known := a.time()
	if !known {
		now = now.Add(-fleet.Skew)
	}
	return at <= now.Unix()
}

// due returns how long it is until a time, Unix seconds, that is not to be missed
// if the device's clock is behind.
func (a *Agent) due(at int64) time.Duration {
	now, known := a.time()
	if !known {
		now = now.Add(fleet.Skew)
	}
	return time.Unix(at, 0).Sub(now)
}
