package cli_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// lacks checks that stdout has not the text.
func (r result) lacks(text string) result {
	r.t.Helper()
	if strings.Contains(r.out, text) {
		r.t.Errorf("nsc %s: stdout has %q:\n%s", strings.Join(r.args, " "), text, r.out)
	}
	return r
}

// TestUnpublishedShows: what only the local store says is marked as that.
func TestUnpublishedShows(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "shown")
	p.ok("add", "user", "u1", "-a", "shown")
	p.ok("add", "user", "u2", "-a", "shown")
	p.ok("revoke", "user", "u1", "-a", "shown")
	const warning = "unpublished local changes of shown: publish with nsc push -a shown"
	p.ok("status", "shown").lacks(warning)
	p.ok("push", "-a", "shown", "--dry-run").says("published as revision 2")
	p.ok("revoke", "user", "u2", "-a", "shown", "--no-push")
	p.ok("status", "shown").says("warning: " + warning)
	if r := p.run("status"); r.code != 0 && r.code != 8 {
		t.Errorf("exit %d: %s", r.code, r.err)
	} else {
		r.says(warning)
	}
	var list struct {
		Revoked []struct {
			Name        string
			Unpublished bool
		}
	}
	p.ok("revocations", "list-users", "-a", "shown", "--json").json(&list)
	for _, e := range list.Revoked {
		if e.Unpublished != (e.Name == "u2") {
			t.Errorf("%+v", e)
		}
	}
	p.ok("revocations", "list-users", "-a", "shown").says("not published yet")
	p.ok("describe", "user", "u1", "-a", "shown").lacks("not published yet")
	p.ok("describe", "user", "u2", "-a", "shown").says("revoked, not published yet")
	p.ok("list", "users", "-a", "shown").says("revoked, not published yet")
	p.ok("push", "-a", "shown")
	p.ok("status", "shown").lacks(warning)
	p.ok("list", "users", "-a", "shown").lacks("not published yet")
	p.ok("add", "account", "unseen", "--no-push")
	p.ok("push", "-a", "unseen", "--dry-run").says("to publish for the first time")
	p.run("status", "unseen").exits(3).complains("only in the local store", "nsc push -a unseen")
}

// TestTombstonesOfOneName: a deleted account is found by its key where two had
// its name.
func TestTombstonesOfOneName(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	var keys []string
	for range 2 {
		p.ok("add", "account", "tmp1")
		doc, _ := p.account("tmp1")
		keys = append(keys, doc.Subject)
		p.ok("delete", "account", "tmp1", "--yes")
	}
	p.run("restore", "account", "tmp1").exits(5).complains("2 deleted accounts are called tmp1", keys[0], keys[1], "nsc restore account A")
	p.ok("list", "accounts", "--deleted").says("tmp1", keys[0], keys[1])
	p.ok("restore", "account", keys[1]).says("restored account tmp1")
	p.ok("list", "accounts", "--deleted").says(keys[0]).lacks(keys[1])
}

// TestWatchEndsWithTimeout: a node that stays away does not hold the command.
func TestWatchEndsWithTimeout(t *testing.T) {
	t.Parallel()
	c := own(t)
	p := c.person(t)
	c.node(t, "stop", "nats-1")
	p.run("add", "account", "waits", "--wait=false").exits(0)
	began := time.Now()
	p.run("status", "waits", "--watch", "--timeout", "2").exits(8)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestFlagValues: the error of a value speaks of the flag, not of the parser.
func TestFlagValues(t *testing.T) {
	t.Parallel()
	alone(t).run("tool", "sub", "x", "--max-messages", "abc").exits(2).complains("--max-messages abc: expected a whole number")
}

// TestManyUnpublished: the command that is named publishes all of them.
func TestManyUnpublished(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	for i := range 11 {
		p.ok("add", "account", fmt.Sprintf("many%02d", i), "--no-push")
	}
	p.ok("status", "--json").says("many00", "many09 and 1 more", "publish with nsc push -A").lacks("many10")
}
