package cli_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// mutation is the JSON of a mutation, as docs/json-output.md describes it.
type mutation struct {
	Schema                        int
	Kind, Name, Key, JTI, Outcome string
	Revision                      uint64
	Proven                        bool
	Nodes                         []api.NodeProof
	Error                         *api.Error
	Revoked                       map[string]int64
	Warnings                      []string
}

func TestAddAccountPublishes(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "pub1").says("account pub1", "revision 1", "nats-0  in force", "in force on 3 of 3 nodes")
	doc, _ := p.account("pub1")
	if pub := p.published("pub1"); pub != (nscstore.Publication{ID: doc.ID, Revision: 1}) {
		t.Errorf("publication %+v", pub)
	}
	var m mutation
	p.ok("add", "account", "pub2", "--json").json(&m)
	if m.Schema != 1 || m.Kind != "account" || m.Name != "pub2" || m.Revision != 1 || m.Outcome != "committed" || !m.Proven || len(m.Nodes) != 3 {
		t.Errorf("%+v", m)
	}
	p.ok("add", "account", "pub3", "--wait=false").says("committed; not waited for the proof")
	p.ok("add", "account", "pub4", "--no-push").says("local only: not published, as --no-push says")
	if pub := p.published("pub4"); pub != (nscstore.Publication{Unpublished: true}) {
		t.Errorf("publication %+v", pub)
	}
	p.ok("push", "-a", "pub4").says("account pub4", "revision 1", "in force on 3 of 3 nodes")
	p.ok("push", "-a", "pub4").says("(already so)")
	p.ok("push", "-a", "pub1", "-a", "pub2").says("account pub1", "account pub2")
	p.ok("status", "pub1").says("account pub1", "revision 1", "on host laptop-7", "in force on 3 of 3 nodes")
	p.run("status").says("operator dev", "delegated custody", "3 nodes", "in force everywhere") // 0, or 8 while other tests change accounts
	p.unchanged(func() { p.run("status", "nosuch").exits(3) })
}

// TestRevokeCutsAndTells: a real client is cut, the receipt names it, and it
// returns after the revocation is taken back.
func TestRevokeCutsAndTells(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "cut")
	p.ok("add", "user", "u1", "-a", "cut")
	creds, err := p.store().Keystore().CredsPath("dev", "cut", "u1")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds), nats.Name("laptop"), nats.NoReconnect(),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p.ok("revoke", "user", "u1", "-a", "cut").
		says("revoked u1 in cut (U", "revision 2", `closed 1 connection (client "laptop", `, "none connected",
			"refused everywhere, sweep clean", "undo: nsc unrevoke user u1 -a cut")
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the client is still connected")
	}
	if _, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds)); err == nil {
		t.Error("the revoked user connects")
	}
	p.ok("unrevoke", "user", "u1", "-a", "cut").says("unrevoked u1 in cut", "revision 3")
	back, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	var m mutation
	p.ok("delete", "user", "u1", "-a", "cut", "--json").json(&m)
	if m.Outcome != "committed" || len(m.Revoked) != 1 || !m.Proven {
		t.Errorf("%+v", m)
	}
}

func TestDeleteAndRestoreAccount(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "gone")
	p.ok("add", "user", "u1", "-a", "gone")
	p.ok("revoke", "user", "*", "-a", "gone")
	q := p.twin()
	p.ok("delete", "account", "gone", "--yes").says("deleted account gone", "and 1 user, revision 3", "refused everywhere", "undo: nsc restore account gone")
	if _, err := p.operator().AccountJWT("gone"); err == nil {
		t.Error("the account is still in the store")
	}
	q.unchanged(func() {
		q.run("push", "-a", "gone").exits(4).complains("was deleted (tombstone)", "nsc restore account gone")
		q.run("revoke", "user", "u1", "-a", "gone").exits(4)
		q.run("pull", "-a", "gone").exits(5).complains("was deleted by operator key")
	})
	q.ok("delete", "account", "gone", "--yes").says("(already so)")
	p.unchanged(func() { p.ok("restore", "account", "gone", "--dry-run").says("would restore account gone") })
	p.ok("restore", "account", "gone").says("restored account gone", "revision 4", "in force on 3 of 3 nodes")
	if _, ac := p.account("gone"); len(ac.Revocations) != 1 {
		t.Errorf("the restored account has the revocations %v", ac.Revocations)
	}
	p.unchanged(func() {
		p.run("restore", "account", "gone").exits(5).complains("is not deleted")
		p.run("restore", "account", "nosuch").exits(3)
	})
	p.ok("add", "account", "onlyhere", "--no-push")
	p.ok("delete", "account", "onlyhere", "--yes").says("local only: accountd never knew it")
}

// TestRefused: the local store holds what it held before.
func TestRefused(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "refused")
	p.ok("add", "user", "u1", "-a", "refused")
	real := p.now
	p.now = func() time.Time { return real().Add(time.Hour) } // the signed request is from the future
	var m mutation
	p.unchanged(func() {
		p.run("add", "account", "never").exits(p.run("add", "account", "never").code).complains("nsc: error:")
		r := p.run("revoke", "user", "u1", "-a", "refused", "--json").json(&m)
		if r.code == 0 || m.Outcome != "refused" || m.Error == nil {
			t.Errorf("exit %d, %+v", r.code, m)
		}
		if r := p.run("delete", "account", "refused", "--yes"); r.code == 0 {
			t.Error("deleted")
		}
	})
	p.now = real
	p.ok("revoke", "user", "u1", "-a", "refused")
}

// TestConflictRedoesTheEdit: two people edit an account; both edits survive.
func TestConflictRedoesTheEdit(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "both")
	p.ok("add", "user", "u1", "-a", "both")
	p.ok("add", "user", "u2", "-a", "both")
	q := p.twin()
	p.ok("revoke", "user", "u1", "-a", "both")
	q.ok("revoke", "user", "u2", "-a", "both").says("revision 3")
	if doc, ac := q.account("both"); len(ac.Revocations) != 2 || q.published("both") != (nscstore.Publication{ID: doc.ID, Revision: 3}) {
		t.Errorf("revocations %v, publication %+v", ac.Revocations, q.published("both"))
	}
	p.ok("pull", "-a", "both").says("account both", "revision 3")
	if _, ac := p.account("both"); len(ac.Revocations) != 2 {
		t.Errorf("pulled revocations %v", ac.Revocations)
	}
	p.ok("pull", "-a", "both").says("(already so)")
}

// TestParallelEdits: many commands at once on one account lose nothing, from
// one store and from two.
func TestParallelEdits(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "busy")
	q := p.twin()
	const each = 10
	var wg sync.WaitGroup
	for i := range each {
		for _, who := range []*person{p, q} {
			key, err := keys.NewUser()
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				args := []string{"revoke", "user", key.PublicKey(), "-a", "busy", "--timeout", "60"}
				for r := who.run(args...); r.code != 0; r = who.run(args...) {
					if r.code != 5 { // the five tries are used up
						t.Errorf("%d: exit %d: %s", i, r.code, r.err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	p.ok("pull", "-a", "busy")
	if _, ac := p.account("busy"); len(ac.Revocations) != 2*each {
		t.Errorf("%d of %d revocations are left", len(ac.Revocations), 2*each)
	}
}

// TestConflictWithEditsOfOnesOwn: nothing is taken or lost unasked.
func TestConflictWithEditsOfOnesOwn(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "own")
	p.ok("add", "user", "u1", "-a", "own")
	p.ok("add", "user", "u2", "-a", "own")
	q, f := p.twin(), p.twin()
	q.ok("revoke", "user", "u2", "-a", "own", "--no-push")
	q.ok("pull", "-a", "own").says("local edits are not published")
	p.ok("revoke", "user", "u1", "-a", "own")
	q.unchanged(func() {
		q.run("push", "-a", "own").exits(5).complains("own revision 2 was put by operator key O", "your copy builds on revision 1 (conflict)", "nsc pull -a own --merge")
		q.run("pull", "-a", "own").exits(5).complains("nsc pull -a own --merge")
		q.run("revoke", "user", "*", "-a", "own").exits(5).complains("nsc pull -a own --merge")
		q.ok("pull", "-a", "own", "--merge", "--dry-run")
	})
	q.ok("pull", "-a", "own", "--merge").says("publish it with: nsc push -a own")
	if _, ac := q.account("own"); len(ac.Revocations) != 2 {
		t.Errorf("merged revocations %v", ac.Revocations)
	}
	q.ok("push", "-a", "own").says("revision 3")
	f.editAccount("own", func(c *jwt.AccountClaims) { c.Limits.Conn = 5 }) // by the official tool
	f.run("pull", "-a", "own").exits(5)
	f.ok("pull", "-a", "own", "--overwrite-newer").says("gave up local edits")
	if _, ac := f.account("own"); ac.Limits.Conn != jwt.NoLimit || len(ac.Revocations) != 2 {
		t.Errorf("%+v", ac)
	}
	f.editAccount("own", func(c *jwt.AccountClaims) { c.Limits.Conn = 7 })
	p.ok("pull", "-a", "own")
	p.ok("revoke", "user", "*", "-a", "own")
	f.ok("pull", "-a", "own", "--merge").says("nats.limits.conn: -1 (yours: 7)")
	g := shared.get(t).person(t)
	g.ok("pull", "-a", "own").says("account own")
	g.ok("pull", "--all").says("account own", "account SYS")
}

// TestUnreachable: the edit stays, marked unpublished, and a later command
// publishes it.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	url := p.serverURL()
	p.ok("add", "account", "far")
	p.ok("add", "user", "u1", "-a", "far")
	p.pointTo(deadURL(t))
	var m mutation
	p.run("revoke", "user", "u1", "-a", "far", "--json").exits(6).complains("not known to be published", "nsc push -a far").json(&m)
	if m.Outcome != "unknown" || m.Error == nil || m.Error.Code != fault.Unavailable {
		t.Errorf("%+v", m)
	}
	if _, ac := p.account("far"); len(ac.Revocations) != 1 || !p.published("far").Unpublished {
		t.Errorf("revocations %v, publication %+v", ac.Revocations, p.published("far"))
	}
	p.run("add", "account", "farther").exits(6)
	if !p.published("farther").Unpublished {
		t.Error("the new account is not marked as unpublished")
	}
	p.unchanged(func() {
		p.run("delete", "account", "far", "--yes").exits(6)
		p.run("push", "--all").exits(6)
		p.run("pull", "--all").exits(6)
		p.run("status").exits(6)
	})
	p.pointTo(url)
	p.ok("revoke", "user", "*", "-a", "far").says("revision 2")
	p.ok("push", "-a", "farther").says("revision 1")
	if p.published("far").Unpublished || p.published("farther").Unpublished {
		t.Error("still marked as unpublished")
	}
}

// TestCommittedWithoutAnAnswer: accountd commits, the answer is lost. The edit
// stays, and neither push nor a further edit stumbles over it.
func TestCommittedWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	url := p.serverURL()
	p.ok("add", "account", "lost")
	p.ok("add", "user", "u1", "-a", "lost")
	for name, again := range map[string][]string{"push": {"push", "-a", "lost"}, "edit": {"revoke", "user", "*", "-a", "lost"}} {
		proxy := newDeafProxy(t, url)
		p.pointTo(proxy.url)
		args := []string{"revoke", "user", "u1", "-a", "lost", "--timeout", "1"}
		if name == "edit" {
			args = []string{"unrevoke", "user", "u1", "-a", "lost", "--timeout", "1"}
		}
		_, before := p.account("lost")
		if name == "edit" && len(before.Revocations) == 0 {
			args[0] = "revoke"
		}
		p.run(args...).exits(6).complains("not known to be published")
		<-proxy.seen
		if !p.published("lost").Unpublished {
			t.Error("not marked as unpublished")
		}
		p.pointTo(url)
		p.ok(again...)
		if pub := p.published("lost"); pub.Unpublished {
			t.Errorf("%s: publication %+v", name, pub)
		}
	}
}

// TestPending: a node that is down is named, and the change completes when it
// returns.
func TestPending(t *testing.T) {
	t.Parallel()
	c := own(t)
	p := c.person(t)
	p.ok("add", "account", "late")
	p.ok("add", "user", "u1", "-a", "late")
	c.node(t, "stop", "nats-2")
	p.run("revoke", "user", "u1", "-a", "late", "--timeout", "500ms").exits(8).
		says("nats-2  pending", "in force on 2 of 3 nodes; watch it complete: nsc status late --watch")
	var m mutation
	p.run("unrevoke", "user", "u1", "-a", "late", "--timeout", "0.5", "--json").exits(8).json(&m)
	if m.Outcome != "committed" || m.Proven || m.Error == nil || m.Error.Code != fault.Pending || !strings.Contains(m.Error.Message, "nats-2") {
		t.Errorf("%+v", m)
	}
	if pub := p.published("late"); pub.Unpublished || pub.Revision != 3 {
		t.Errorf("a committed change is recorded as %+v", pub)
	}
	p.run("status", "late").exits(8).says("nats-2  pending")
	p.run("status").exits(8).says("late: revision 3 not yet on nats-2")
	p.run("push", "-a", "late", "--timeout", "500ms").exits(8)
	c.node(t, "start", "nats-2")
	p.ok("status", "late", "--watch").says("in force on 3 of 3 nodes")
}

// TestAccountdAway: the process is killed and comes back.
func TestAccountdAway(t *testing.T) {
	t.Parallel()
	c := own(t)
	p := c.person(t)
	p.ok("add", "account", "kept")
	c.kill()
	p.run("add", "account", "during").exits(6)
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	p.ok("push", "-A").says("account during", "account kept")
}

// TestStockServers: without accountd the servers take the claim, and nsc says
// that nothing is proven.
func TestStockServers(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.ok("add", "operator", "acme", "--sys")
	sys, _ := p.account("SYS")
	token, err := p.operator().JWT()
	if err != nil {
		t.Fatal(err)
	}
	s := natstest.StartServer(t, "operator: "+token+"\nsystem_account: "+sys.Subject+
		"\nresolver: { type: full, dir: '"+filepath.Join(p.dir, "jwt")+"' }\nresolver_preload: { "+sys.Subject+": "+sys.Token+" }\n")
	p.pointTo(s.URL)
	p.ok("add", "account", "plain").says("no proof")
	p.ok("add", "user", "u1", "-a", "plain")
	creds, _ := p.store().Keystore().CredsPath("acme", "plain", "u1")
	nc, err := nats.Connect(s.URL, nats.UserCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	p.ok("push", "-A").says("no proof")
	p.unchanged(func() { p.run("delete", "account", "plain", "--yes").exits(4).complains("--no-push") })
}

// TestUntrustedAnswer: another operator's accountd is not believed.
func TestForeignAccountd(t *testing.T) {
	t.Parallel()
	url := shared.get(t).person(t).serverURL()
	p := local(t)
	p.pointTo(url)
	p.unchanged(func() {
		r := p.run("revoke", "user", "*", "-a", "app")
		if r.code == 0 {
			t.Error("a foreign operator's accountd was used")
		}
	})
}

// TestOverHTTP: the account server may be an HTTP URL; no system user is needed.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	p := c.person(t)
	p.pointTo(c.http(t) + "/jwt/v1")
	p.ok("add", "account", "web", "--sys-user", "nobody").says("revision 1", "in force on 3 of 3 nodes")
	p.ok("add", "user", "u1", "-a", "web")
	p.ok("revoke", "user", "u1", "-a", "web").says("refused everywhere")
	p.ok("pull", "-a", "web")
	p.ok("status", "web")
	p.ok("delete", "account", "web", "--yes")
	p.pointTo(strings.Replace(deadURL(t), "nats://", "http://", 1))
	p.run("add", "account", "web2").exits(6)
}

// TestDeleteWhatOthersNeed: the importers are named, --force goes on.
func TestDeleteWhatOthersNeed(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "exporter")
	p.ok("add", "account", "importer")
	from, _ := p.account("exporter")
	p.editAccount("exporter", func(c *jwt.AccountClaims) {
		c.Exports.Add(&jwt.Export{Name: "orders", Subject: "orders.*", Type: jwt.Stream})
	})
	p.editAccount("importer", func(c *jwt.AccountClaims) {
		c.Imports.Add(&jwt.Import{Name: "orders", Subject: "orders.*", Account: from.Subject, Type: jwt.Stream})
	})
	p.ok("push", "-a", "importer", "-a", "exporter")
	p.unchanged(func() {
		r := p.run("delete", "account", "exporter", "--yes").complains("importer", "--force")
		if r.code != 4 && r.code != 5 {
			t.Errorf("exit %d", r.code)
		}
	})
	p.ok("delete", "account", "exporter", "--yes", "--force")
}

// TestIncomplete: an import without an export is refused unless the person
// insists; then the receipt says what is missing.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "early")
	from, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	p.editAccount("early", func(c *jwt.AccountClaims) {
		c.Imports.Add(&jwt.Import{Name: "x", Subject: "x", Account: from.PublicKey(), Type: jwt.Stream})
	})
	p.unchanged(func() {
		p.run("push", "-a", "early").exits(4).complains("--allow-incomplete")
		p.run("revoke", "user", "*", "-a", "early").exits(4)
	})
	p.ok("push", "-a", "early", "--allow-incomplete").says("finding: ", "in force on 3 of 3 nodes")
	p.run("status").says("findings", "early: ") // 0, or 8 while other tests change accounts
}

// TestSameName: two people add accounts of one name; neither replaces the
// other's in a store.
func TestSameName(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	q := p.twin()
	p.ok("add", "account", "twice")
	q.ok("add", "account", "twice", "--no-push")
	doc, _ := p.account("twice")
	q.unchanged(func() {
		q.run("pull", "-a", doc.Subject).exits(5).complains("the local account of that name is A")
	})
}

// TestTerminal: colour marks the state on a terminal and NO_COLOR ends that.
func TestTerminal(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.tty = true
	p.ok("add", "account", "colour").says("nats-0  \x1b[32min force\x1b[0m\n")
}

// TestInterrupted: an interrupt is exit 130, and what was written stays.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "stopped")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.ctx = ctx
	p.run("revoke", "user", "*", "-a", "stopped").exits(130)
}
