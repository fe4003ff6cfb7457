// Package natstest holds what tests of several packages need around a real
// NATS server: the stock programs built from pinned sources, servers run as
// processes, free ports, polling with a deadline, and a small MQTT client.
//
// It is for tests only. Every helper takes the test, fails it with a message
// that says what was awaited, and cleans up when the test ends.
package natstest

import (
	"testing"
	"time"
)

// pollEvery is the pause between two looks of Eventually: short enough not to
// add to what a test measures in tens of milliseconds, long enough to leave the
// processor to the servers under test.
const pollEvery = 5 * time.Millisecond

// Eventually calls check until it returns nil and fails the test with the last
// error once timeout has passed. It looks at least once, also after the
// deadline. It must be called from the goroutine of the test.
func Eventually(t testing.TB, timeout time.Duration, check func() error) {
	t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			if err = check(); err != nil {
				t.Fatalf("not within %v: %v", timeout, err)
			}
			return
		}
	}
}
