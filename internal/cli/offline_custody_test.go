package cli_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/accountd/accountd/internal/cli/daemon"
	"github.com/accountd/accountd/internal/natstest"
)

// underResolver starts accountd resolver beside a stock server, with the custody
// of the person, and returns when it has looked at the server.
func (p *person) underResolver(s *natstest.Server) {
	p.t.Helper()
	token, err := p.operator().JWT()
	if err != nil {
		p.t.Fatal(err)
	}
	jwt, ready := filepath.Join(p.dir, "operator.jwt"), filepath.Join(p.dir, "ready.json")
	if err := os.WriteFile(jwt, []byte(token), 0o600); err != nil {
		p.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	var log bytes.Buffer // read when it has ended
	env := daemonEnv()
	env.Stdout, env.Stderr = &log, &log
	go func() {
		ended <- daemon.Run(ctx, []string{"resolver", "--operator", jwt, "--system-creds", p.credsFile("SYS", "sys"), "--servers", s.URL,
			"--store", "bolt:" + filepath.Join(p.dir, "accountd.db"), "--http", "off", "--ready-file", ready}, env)
	}()
	p.t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			p.t.Errorf("accountd resolver ends with %d: %s", code, log.String())
		}
	})
	natstest.Eventually(p.t, time.Minute, func() error {
		select {
		case code := <-ended:
			ended <- code
			p.t.Fatalf("accountd resolver ended: %s", log.String())
		default:
		}
		if _, err := os.Stat(ready); err != nil {
			return errors.New("accountd resolver is not ready")
		}
		return nil
	})
}

// TestVersionsOfOneSecond: where stock servers merge their directories and
// accountd signs nothing, no two versions are of one second, whichever way nsc
// publishes them.
func TestVersionsOfOneSecond(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.underResolver(p.directory("--allow-delete"))
	p.ok("push", "-A")
	last, _ := p.account("app")
	at := time.Unix(max(last.IssuedAt, time.Now().Unix()), 0)
	p.now = func() time.Time { return at }
	later := func(args ...string) {
		t.Helper()
		p.ok(args...)
		next, _ := p.account("app")
		if next.IssuedAt <= last.IssuedAt {
			t.Errorf("nsc %v: issued at %d, after one of %d", args, next.IssuedAt, last.IssuedAt)
		}
		last = next
	}
	later("edit", "account", "app", "--tag", "one") // at the latest now it is of this second
	later("edit", "account", "app", "--tag", "two")
	later("revoke", "user", "one", "-a", "app")
	at = time.Unix(last.IssuedAt, 0)
	p.ok("edit", "account", "app", "--tag", "three", "--no-push")
	later("push", "-a", "app")
	p.ok("edit", "account", "app", "--tag", "four", "--no-push")
	later("edit", "account", "app", "--tag", "five")
	p.ok("status", "app")
	if _, ac := p.account("app"); len(ac.Tags) != 5 {
		t.Errorf("tags %v", ac.Tags)
	}
	p.ok("push", "-a", "app").says("already")
}

// TestDeleteWithoutADelegatedKey: nsc signs the deletion for the stock servers,
// and nothing waits.
func TestDeleteWithoutADelegatedKey(t *testing.T) {
	t.Parallel()
	p := served(t)
	s := p.directory("--allow-delete")
	p.underResolver(s)
	p.ok("push", "-A")
	accepts(t, s.URL, p.credsFile("app", "one"))
	creds := p.credsFile("app", "one")
	p.ok("delete", "account", "app", "--yes").says("refused everywhere")
	if connects(t, s.URL, creds) {
		t.Error("a user of a deleted account connects")
	}
	p.ok("status")
}

// TestDeleteWhereServersRefuseIt: the proof tells whether who keeps a deleted
// account lets anybody in, and the next step ends that.
func TestDeleteWhereServersRefuseIt(t *testing.T) {
	t.Parallel()
	p := served(t)
	s := p.directory()
	p.underResolver(s)
	p.ok("push", "-A")
	creds := p.credsFile("app", "one")
	accepts(t, s.URL, creds)
	p.run("delete", "account", "app", "--yes").exits(8).says("undeletable", "stays alive there", "suspend it")
	if !connects(t, s.URL, creds) {
		t.Error("nobody connects to an account that is said to be alive")
	}
	p.ok("restore", "account", "app")
	p.ok("suspend", "account", "app")
	p.run("delete", "account", "app", "--yes").exits(8).says("undeletable", "nobody can connect")
	if connects(t, s.URL, creds) {
		t.Error("a user of a suspended account connects")
	}
	p.run("status", "app").exits(8).says("nobody can connect")
}
