package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// held returns what a server holds of an account.
func (p *person) held(account string) (*claims.Document, *jwt.AccountClaims) {
	p.t.Helper()
	doc, _ := p.account(account)
	creds, err := p.store().Keystore().CredsPath("dev", "SYS", "sys")
	if err != nil {
		p.t.Fatal(err)
	}
	nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds))
	if err != nil {
		p.t.Fatal(err)
	}
	defer nc.Close()
	msg, err := nc.Request("$SYS.REQ.ACCOUNT."+doc.Subject+".CLAIMS.LOOKUP", nil, 5*time.Second)
	if err != nil {
		p.t.Fatal(err)
	}
	return decode[jwt.AccountClaims](p.t, string(msg.Data))
}

// TestEditAccountPublishes: the servers hold the edit, and enforce it, when the
// command ends.
func TestEditAccountPublishes(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "ed1")
	p.ok("edit", "account", "ed1", "--conns", "5", "--js-enable", "0", "--sk", "generate").
		says("account ed1", "revision 2", "+ nats.limits.conn: 5", "in force on 3 of 3 nodes")
	local, ac := p.account("ed1")
	served, _ := p.held("ed1")
	if served.Token != local.Token || p.published("ed1").Unpublished {
		t.Error("the servers do not hold what the local store holds")
	}
	p.ok("edit", "account", "ed1", "--conns", "5").says("nothing to change")
	key := ac.SigningKeys.Keys()[0]
	p.ok("add", "user", "u1", "-a", "ed1", "-K", key)
	creds, err := p.store().Keystore().CredsPath("dev", "ed1", "u1")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p.ok("edit", "account", "ed1", "--rm-sk", key).says("is retired for ever", "in force on 3 of 3 nodes")
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("a client of the retired key is still connected")
	}
	if nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds)); err == nil {
		nc.Close()
		t.Error("a user of the retired key connects")
	}
	seeds := p.seedCount()
	p.unchanged(func() {
		p.run("edit", "account", "ed1", "--sk", key).exits(4).complains("retired")
		p.run("edit", "account", "ed1", "--sk", key+",generate").exits(4)
	})
	if p.seedCount() != seeds {
		t.Error("the seed of a refused key is left")
	}
	if _, ac := p.held("ed1"); ac.SigningKeys.Contains(key) || ac.Limits.Conn != 5 {
		t.Errorf("the servers hold %+v", ac)
	}
}

// TestEditSigningKeyPublishes: a role's users may do what the role says, at
// once.
func TestEditSigningKeyPublishes(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "ed2")
	p.ok("edit", "signing-key", "--sk", "generate", "--role", "sensor", "-a", "ed2", "--allow-pub", "data.{{name()}}.>", "--allow-sub", "_INBOX.>").
		says("role sensor in ed2", "revision 2", "in force on 3 of 3 nodes")
	p.ok("add", "user", "s1", "-a", "ed2", "-K", "sensor")
	creds, err := p.store().Keystore().CredsPath("dev", "ed2", "s1")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 10)
	nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for subject, want := range map[string]bool{"data.s1.x": true, "data.s2.x": false} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if want {
				t.Errorf("publish to %s: %v", subject, err)
			}
		case <-time.After(time.Second):
			if !want {
				t.Errorf("publish to %s is allowed", subject)
			}
		}
	}
}

// TestEditAccountUnreachable: the edit is kept, marked, with the seed of its
// key, and a later push publishes it.
func TestEditAccountUnreachable(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "ed3")
	url := p.serverURL()
	p.pointTo(deadURL(t))
	p.run("edit", "account", "ed3", "--sk", "generate", "--timeout", "2").exits(6).complains("not known to be published", "nsc push -a ed3")
	_, ac := p.account("ed3")
	if len(ac.SigningKeys) != 1 || !p.store().Keystore().HasSeed(ac.SigningKeys.Keys()[0]) || !p.published("ed3").Unpublished {
		t.Errorf("%+v", ac)
	}
	p.pointTo(url)
	p.ok("push", "-a", "ed3").says("in force on 3 of 3 nodes")
}

// TestEditOperatorPublishes: accountd takes what the root key signs, refuses
// what would orphan accounts, and the local operator follows.
func TestEditOperatorPublishes(t *testing.T) {
	t.Parallel()
	c := own(t)
	p := c.person(t)
	late := c.person(t)
	p.ok("add", "account", "before")
	p.ok("add", "user", "u", "-a", "before")
	p.run("edit", "operator", "--sk", "generate", "--tag", "x").exits(8).says("operator dev", "revision 2", "signing key O",
		"nats-0  pending    restart needed: does not trust operator key O", "in force on 0 of 3 nodes; watch it complete: nsc status --watch")
	_, oc := p.operatorClaims()
	fresh := oc.SigningKeys[len(oc.SigningKeys)-1]
	p.run("status").exits(8).says("nats-0: restart needed: does not trust operator key "+keys.Short(fresh)+" yet", "nats-2: restart")
	p.unchanged(func() { // by the new key nothing that servers would refuse
		for _, args := range [][]string{{"add", "account", "early"}, {"edit", "account", "before", "--tag", "y"}, {"revoke", "user", "u", "-a", "before"}} {
			p.run(append(args, "-K", fresh)...).exits(7).complains("(restart)", "nats-0, nats-1, nats-2", "-K "+oc.SigningKeys[0])
		}
	})
	p.ok("add", "account", "unasked").says("in force on 3 of 3 nodes")
	p.ok("add", "account", "byfresh", "-K", oc.SigningKeys[0])
	late.unchanged(func() {
		late.run("edit", "operator", "--tag", "y").exits(5).complains("is at revision 2", "nsc add operator --url <file> --force")
	})
	p.ok("edit", "operator", "--tag", "local", "--no-push").says("local only")
	var m mutation
	p.ok("edit", "operator", "--tag", "z", "--json").json(&m) // publishes the local edit, too
	if m.Kind != "operator" || m.Outcome != "committed" || m.Revision != 3 || m.Proven {
		t.Errorf("%+v", m)
	}
	p.unchanged(func() {
		p.run("edit", "operator", "--system-account", "byfresh").exits(4).complains("system account")
	})
	p.ok("edit", "operator", "--rm-sk", fresh).says("revision 4", "is retired for ever")
	p.unchanged(func() { p.run("edit", "operator", "--sk", fresh).exits(4).complains("retired") })
	if _, oc := p.operatorClaims(); slices.Contains(oc.SigningKeys, fresh) {
		t.Error("the retired key is back")
	}
	// The way out of the conflict that the hint names.
	theirs := p.ok("describe", "operator", "--raw").out
	if err := os.WriteFile(filepath.Join(late.dir, "dev.jwt"), []byte(theirs), 0o600); err != nil {
		t.Fatal(err)
	}
	late.ok("add", "operator", "--url", "dev.jwt", "--force")
	late.ok("edit", "operator", "--tag", "y").says("revision 5")
	p.pointTo(deadURL(t))
	p.unchanged(func() { p.run("edit", "operator", "--tag", "w", "--timeout", "2").exits(6) })
}
