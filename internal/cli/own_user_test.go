package cli_test

import (
	"strings"
	"testing"
	"time"
)

// TestOwnUserIsNotTakenAwayByAccident: the user that carries the requests goes
// by force only, and then the errors say how to come back.
func TestOwnUserIsNotTakenAwayByAccident(t *testing.T) {
	t.Parallel()
	p := own(t).person(t)
	p.unchanged(func() {
		for _, args := range []string{
			"delete user sys -a SYS", "revoke user sys -a SYS", "revoke user * -a SYS", "revocations add-user -n sys -a SYS",
			"delete user sys -a SYS --dry-run", "delete user sys -a SYS --revoke=false", "revoke user sys -a SYS --yes",
		} {
			p.run(strings.Fields(args)...).exits(4).complains("carries the requests", "(own-user)", "--sys-user", "nsc add user <name> -a SYS", "--force")
		}
	})
	p.run("revoke", "user", "sys", "-a", "SYS", "--force")
	p.run("status").exits(4).complains("nsc add user sys -a SYS --reissue")
	p.ok("add", "user", "sys", "-a", "SYS", "--reissue")
	p.run("delete", "user", "sys", "-a", "SYS", "--force")
	p.run("status").exits(4).complains("nsc add user sys -a SYS, or")
	p.ok("add", "user", "sys", "-a", "SYS")
	p.ok("status")
	p.run("delete", "user", "sys", "-a", "SYS", "--force", "-C", "-D")
	p.ok("status") // a key of the system account makes one for the command
	p.run("status", "--sys-user", "sys").exits(4).complains("no credentials of system user", "nsc add user sys -a SYS, or")
	p.ok("add", "user", "sys", "-a", "SYS")
	p.ok("add", "user", "two", "-a", "SYS")
	p.run("delete", "user", "two", "-a", "SYS", "--sys-user", "two").exits(4)
	p.ok("delete", "user", "sys", "-a", "SYS", "--sys-user", "two")
	p.ok("status", "--sys-user", "two")
}

// TestRevokeAt: no time in the future, and the receipt shows the one that
// stands.
func TestRevokeAt(t *testing.T) {
	t.Parallel()
	p := local(t)
	now := time.Unix(1_800_000_000, 0)
	p.now = fixed(now)
	p.ok("add", "user", "u", "-a", "app")
	p.unchanged(func() {
		for _, at := range []string{"1800000301", "2099-01-01T00:00:00Z", "-5", "1969-01-01T00:00:00Z"} {
			p.run("revoke", "user", "u", "-a", "app", "--at", at).exits(2)
			p.run("revocations", "add-user", "-n", "u", "-a", "app", "--at="+at).exits(2)
		}
		p.run("revoke", "user", "u", "-a", "app", "--at", "2099-01-01T00:00:00Z").complains("--at 2099-01-01 00:00:00 UTC is in the future")
	})
	p.ok("revoke", "user", "u", "-a", "app", "--at", "1800000300").says("u: refused is what was issued until 2027-01-15 08:05:00 UTC")
	var m mutation
	p.ok("revoke", "user", "u", "-a", "app", "--at", "1000000000", "--json").json(&m)
	if doc, _ := p.user("app", "u"); m.Outcome != "unchanged" || m.Revoked[doc.Subject] != 1_800_000_300 {
		t.Errorf("%+v", m)
	}
}
