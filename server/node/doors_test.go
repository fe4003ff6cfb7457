package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// system connects a user of the system account with full rights to a node.
func (w *world) system(n *Node) *nats.Conn {
	w.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(n), w.sys.user("sys", nil).option(), nats.NoReconnect(), nats.Timeout(patience))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// attack tries every subject through which stock servers take claims, on a
// connection with full rights, and wants nobody to answer.
func attack(t *testing.T, nc *nats.Conn, key, token string) {
	t.Helper()
	for _, subject := range []string{
		"$SYS.REQ.ACCOUNT." + key + ".CLAIMS.UPDATE",
		"$SYS.ACCOUNT." + key + ".CLAIMS.UPDATE",
		"$SYS.REQ.CLAIMS.UPDATE",
		"$SYS.REQ.CLAIMS.DELETE",
		"$SYS.REQ.CLAIMS.LIST",
		"$SYS.REQ.CLAIMS.PACK",
		"$SYS.REQ.ACCOUNT." + key + ".CLAIMS.LOOKUP",
	} {
		if msg, err := nc.Request(subject, []byte(token), patience); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: answered %v, %v", subject, msg, err)
		}
	}
}

// Facts 2, 3, 5, 6: nobody on a node takes a claim from the system account.
func TestSystemUserCannotBringBackAnOlderClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, cfgs := w.cluster(3)
	app := w.account("APP")
	older := app.rec.JWT
	mallory := app.user("mallory", nil)
	for _, n := range nodes {
		connect(t, n, mallory)
	}
	rec := app.revoke(mallory)
	for _, n := range nodes {
		inForce(t, n, rec)
	}
	check := func(when string) {
		for _, n := range nodes {
			attack(t, w.system(n), app.key, older)
		}
		for _, n := range nodes {
			refused(t, n, mallory)
			if p := n.Proof(app.key); p.State != api.InForce || p.Revision != rec.Revision {
				t.Errorf("%s: %+v", when, p)
			}
		}
	}
	check("before the restart")
	for i := range nodes {
		stop(t, nodes[i], Drain)
		nodes[i] = w.start(cfgs[i])
	}
	for _, n := range nodes {
		healthy(t, n)
	}
	check("after the restart")
}

// Fact 7: the server re-applies an incomplete account when its exporter
// appears. It must find the newest JWT there.
func TestExporterThatAppearsLaterBringsNothingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	exporter := w.unsaved("EXP")
	exporter.claims.Exports.Add(&jwt.Export{Subject: "feed.>", Type: jwt.Stream})
	app := w.unsaved("APP")
	app.claims.Imports.Add(&jwt.Import{Account: exporter.key, Subject: "feed.>", Type: jwt.Stream})
	inForce(t, n, app.put()) // not loaded: nothing to object to
	mallory, bob := app.user("mallory", nil), app.user("bob", nil)
	connect(t, n, mallory)
	cb := connect(t, n, bob)
	rec := app.revoke(mallory)
	if p := await(t, n, rec); p.State != api.Rejected || !p.Loaded {
		t.Errorf("an unresolved import that nobody admitted: %+v", p)
	}
	refused(t, n, mallory)
	inForce(t, n, exporter.put())
	connect(t, n, exporter.user("e", nil)) // loads it
	eventually(t, "import resolved", func() bool { return n.Proof(app.key).State == api.InForce })
	inForce(t, n, rec)
	refused(t, n, mallory)
	cb.alive(t)
}

// An import that was admitted as unresolved does not keep a version from being
// in force.
func TestAdmittedFindings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)
	connect(t, n, app.user("u", nil))
	app.claims.Imports.Add(&jwt.Import{Account: w.unsaved("EXP").key, Subject: "feed.>", Type: jwt.Stream})
	rec := store.Record{Kind: store.Account, Key: app.key, JWT: app.sign(), ID: app.claims.ID, Findings: []string{"import"}}
	inForce(t, n, w.src.put(rec))
}

// Fact 8: a read of the account that was answered late rolls the server back;
// the node notices and corrects it.
func TestLateFetchIsCorrected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{Reconcile: 20 * time.Millisecond})
	app := w.account("APP")
	inForce(t, n, app.rec)
	older := app.rec.JWT
	mallory := app.user("mallory", nil)
	connect(t, n, mallory)
	rec := app.revoke(mallory)
	inForce(t, n, rec)
	acc := n.kernel.loaded(n.srv, app.key)
	// What the server does at the end of such a read.
	if err := applyClaims(n.srv, acc, older); err != nil {
		t.Fatal(err)
	}
	eventually(t, "corrected", func() bool { return n.kernel.claimJWT(acc) == rec.JWT && n.Repaired() > 0 })
	refused(t, n, mallory)
	inForce(t, n, rec)
	// The effect alone is the older one, under the right JWT.
	claims, err := jwt.DecodeAccountClaims(older)
	if err != nil {
		t.Fatal(err)
	}
	before := n.Repaired()
	n.srv.UpdateAccountClaims(acc, claims)
	eventually(t, "effect corrected", func() bool {
		return n.Repaired() > before && n.enforces(n.kernel.effect(acc), app.claims)
	})
	refused(t, n, mallory)
}

// Fact 8 again: while a read is under way, a version of an account that is not
// loaded is not proven; the second look finds what the read has loaded.
func TestSecondLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)
	older := app.rec.JWT
	n.res.begin(app.key)
	rec := app.put()
	eventually(t, "followed", func() bool { return n.Applied() == rec.Seq })
	if p := n.Proof(app.key); p.State != api.Pending {
		t.Errorf("proven while a read is under way: %+v", p)
	}
	// The read ends with the older version: the account is loaded with it.
	if err := n.copy.replaceForTest(app.key, older); err != nil {
		t.Fatal(err)
	}
	if _, err := n.srv.LookupAccount(app.key); err != nil {
		t.Fatal(err)
	}
	if err := n.copy.replaceForTest(app.key, rec.JWT); err != nil {
		t.Fatal(err)
	}
	n.res.end(app.key, true)
	if p := inForce(t, n, rec); !p.Loaded {
		t.Errorf("proof %+v", p)
	}
	if got := n.kernel.claimJWT(n.kernel.loaded(n.srv, app.key)); got != rec.JWT {
		t.Error("the older version is still loaded")
	}
}

// Fact 9: without its system account a node refuses to start.
func TestNoStartWithoutSystemAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	empty := newMemory()
	for what, cfg := range map[string]Config{
		"nothing":            {Source: empty},
		"operator alone":     {Source: empty, Operator: must(t)(w.operator.Encode(w.root))},
		"store unreachable":  {Source: func() *memory { m := w.src.clone(); m.gone = errors.New("down"); return m }()},
		"system account off": {Source: func() *memory { m := w.src.clone(); r := w.sys.rec; r.Deleted = true; m.put(r); return m }()},
	} {
		n, err := w.tryStart(cfg)
		if err == nil {
			stop(t, n, Now)
		}
		if !fault.Is(err, fault.Unavailable) || fault.As(err).Hint == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Fact 11: what a system user can still do is to disturb, not to let in.
func TestSystemUserCanKick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)
	u := app.user("u", nil)
	c := connect(t, n, u)
	id, err := c.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]uint64{"cid": id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.system(n).Request(fmt.Sprintf("$SYS.REQ.SERVER.%s.KICK", n.srv.ID()), body, patience); err != nil {
		t.Fatal(err)
	}
	c.gone(t)
	connect(t, n, u)
}

// Facts 4, 26: looking at an account does not load it.
func TestProofLoadsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	loaded := n.srv.NumLoadedAccounts()
	for i := range 20 {
		a := w.account(fmt.Sprintf("A%d", i))
		inForce(t, n, a.rec)
		if p := inForce(t, n, a.put()); p.Loaded || p.Ms >= 200 && testing.Short() {
			t.Errorf("proof %+v", p)
		}
		n.Proof(a.key)
	}
	n.reconcile(t.Context())
	if now := n.srv.NumLoadedAccounts(); now != loaded {
		t.Errorf("%d accounts were loaded", now-loaded)
	}
}

// Facts 12, 13: claim and effect change together.
func TestClaimAndEffectTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)
	connect(t, n, app.user("u", nil))
	app.claims.Limits.Conn = 7
	rec := app.put()
	inForce(t, n, rec)
	z, err := n.srv.Accountz(&server.AccountzOptions{Account: app.key})
	if err != nil || z.Account.Jwt != rec.JWT || z.Account.Claim.Limits.Conn != 7 {
		t.Errorf("%+v, %v", z, err)
	}
}
