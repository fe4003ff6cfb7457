package cli_test

import (
	"syscall"
	"testing"
	"time"
)

// TestTimeoutBoundsTheCommand: a service that has stopped, with all its servers,
// costs no command more than --timeout.
func TestTimeoutBoundsTheCommand(t *testing.T) {
	t.Parallel()
	c := own(t)
	p := c.person(t)
	p.ok("add", "account", "slow")
	p.ok("add", "user", "u1", "-a", "slow")
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"status"}, {"pull", "-A"}, {"edit", "operator", "--tag", "x"}, {"revoke", "user", "u1", "-a", "slow"}, {"push", "-a", "slow"},
	} {
		began := time.Now()
		p.run(append(args, "--timeout", "500ms")...).exits(6)
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("nsc %v took %s", args, took)
		}
	}
}
