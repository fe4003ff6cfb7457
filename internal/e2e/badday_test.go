package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

// Commands run while accountd is killed under them. What they acknowledged is
// there when it is back, and what they kept locally is published by a push.
func TestKilledUnderCommands(t *testing.T) {
	t.Parallel()
	const rounds, workers = 3, 3
	c := newCloud(t)
	var acked, local ledger
	for round := range rounds {
		enough := make(chan struct{}) // the round has seen some acknowledged changes
		var count sync.Once
		begin := acked.len()
		var commands errgroup.Group
		stop := make(chan struct{})
		for w := range workers {
			commands.Go(func() error {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return nil
					default:
					}
					if err := c.addAndRevoke(fmt.Sprintf("a%d-%d-%d", round, w, i), &acked, &local); err != nil {
						return err
					}
					if acked.len() >= begin+2+3*round {
						count.Do(func() { close(enough) })
					}
				}
			})
		}
		within(t, "some changes are acknowledged", enough)
		c.daemon.Kill()
		close(stop)
		if err := commands.Wait(); err != nil {
			t.Fatal(err)
		}
		c.start()
		c.holds(&acked)
	}
	c.nsc("push", "-A")
	c.holds(&acked)
	c.holds(&local)
}

// ledger is what commands have said: names of accounts, and whether their user
// is revoked.
type ledger struct {
	mu       sync.Mutex
	accounts map[string]bool
}

func (l *ledger) set(account string, revoked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accounts == nil {
		l.accounts = map[string]bool{}
	}
	l.accounts[account] = revoked
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accounts)
}

// addAndRevoke adds an account with a user and revokes the user. Exit code 0 or
// 8 means committed, 6 that the change is in the local store and may be in force.
func (c *cloud) addAndRevoke(account string, acked, local *ledger) error {
	for i, line := range [][]string{
		{"add", "account", account}, {"add", "user", "u", "-a", account}, {"revoke", "user", "u", "-a", account},
	} {
		r := c.run("nsc", append(line, "--timeout", "5s")...)
		switch {
		case i == 1 && r.code == 0:
		case r.code == 0 || r.code == 8:
			acked.set(account, i == 2)
		case r.code == 6:
			local.set(account, i == 2)
			return nil
		default:
			return fmt.Errorf("expected exit code 0, 6 or 8:\n%s", r)
		}
	}
	return nil
}

// holds requires accountd to serve what the ledger says, or more.
func (c *cloud) holds(l *ledger) {
	c.t.Helper()
	h := c.mustHand()
	for name, revoked := range l.accounts {
		reply, err := h.Get(context.Background(), api.GetRequest{Account: name})
		if err == nil {
			err = reply.Error.Fault()
		}
		if fault.Is(err, fault.NotFound) {
			c.t.Errorf("account %s is lost", name)
			continue
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if revoked && len(account(c.t, reply.Version.JWT).Revocations) == 0 {
			c.t.Errorf("the revocation in %s is lost", name)
		}
	}
}
