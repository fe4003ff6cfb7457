package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// Fact 33: a deletion uses the server's own removal; the equal JWT stays dead.
func TestDeletionTombstoneRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	n := w.start(Config{Dir: dir})
	app := w.account("APP")
	inForce(t, n, app.rec)
	u := app.user("u", nil)
	c := connect(t, n, u)
	last := app.rec.JWT

	p := inForce(t, n, app.delete())
	c.gone(t)
	refused(t, n, u)
	if len(p.Closed) != 1 || !p.Swept || !p.Loaded {
		t.Errorf("deletion: %+v", p)
	}
	if _, err := n.res.Fetch(app.key); err == nil {
		t.Error("a tombstone is not missing")
	}

	if p := await(t, n, app.putJWT(last)); p.State != api.Rejected || !strings.Contains(p.Reason, "sign it anew") {
		t.Errorf("restore with the JWT of the removed account: %+v", p)
	}
	refused(t, n, u)

	stop(t, n, Now)
	n = w.start(Config{Dir: dir})
	refused(t, n, u)

	inForce(t, n, app.put())
	connect(t, n, u).alive(t)

	// Deleted and restored without a restart in between.
	inForce(t, n, app.delete())
	refused(t, n, u)
	inForce(t, n, app.put())
	connect(t, n, u).alive(t)
}

// Invariant 11: the store is gone; nodes serve, also after a restart.
func TestWithoutTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	n := w.start(Config{Dir: dir})
	known, other := w.account("KNOWN"), w.account("OTHER")
	inForce(t, n, other.rec)
	alice, mallory := known.user("alice", nil), known.user("mallory", nil)
	c := connect(t, n, alice)
	inForce(t, n, known.revoke(mallory))

	w.src.setGone(errors.New("connection refused"))
	eventually(t, "noticed", func() bool { return fault.Is(n.Healthy(t.Context()), fault.Unavailable) })
	c.alive(t)
	connect(t, n, alice)
	connect(t, n, other.user("first", nil)) // not loaded before
	refused(t, n, mallory)

	stop(t, n, Drain)
	n = w.start(Config{Dir: dir})
	connect(t, n, alice)
	refused(t, n, mallory)

	rec := known.revoke(alice)
	if p := await2(n, rec.Key, rec.Revision, 50*time.Millisecond); p.State != api.Pending || p.Reason != "the store cannot be read" {
		t.Errorf("proof without the store: %+v", p)
	}
	w.src.setGone(nil)
	inForce(t, n, rec)
	refused(t, n, alice)
	eventually(t, "healthy", func() bool { return n.Healthy(t.Context()) == nil })
}

// A node that was away converges by itself.
func TestStoppedNodeConverges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, cfgs := w.cluster(3)
	app, doomed := w.account("APP"), w.account("DOOMED")
	alice, mallory, late := app.user("alice", nil), app.user("mallory", nil), doomed.user("late", nil)
	for _, n := range nodes {
		inForce(t, n, doomed.rec)
		connect(t, n, alice)
		connect(t, n, late)
	}
	stop(t, nodes[1], Drain)
	recs := []uint64{app.revoke(mallory).Seq, doomed.delete().Seq, w.account("NEW").rec.Seq}
	inForce(t, nodes[0], app.rec)
	nodes[1] = w.start(cfgs[1])
	if got := nodes[1].Applied(); got < recs[2] {
		t.Errorf("started at %d, behind %d", got, recs[2])
	}
	refused(t, nodes[1], mallory)
	refused(t, nodes[1], late)
	connect(t, nodes[1], alice)
	inForce(t, nodes[1], app.rec)
	inForce(t, nodes[1], doomed.rec)
}

// Fact 24: a JetStream tenant's replica comes back on a restart without the store.
func TestJetStreamReplicaComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, cfgs := w.cluster(3)
	app := w.account("APP", jetStream)
	u := app.user("u", nil)
	for _, n := range nodes {
		inForce(t, n, app.rec)
	}
	js, err := connect(t, nodes[0], u).JetStream(nats.MaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := js.Publish("s", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	w.src.setGone(errors.New("down"))
	stop(t, nodes[2], Drain)
	nodes[2] = w.start(cfgs[2])
	eventually(t, "replica current on nats-2", func() bool {
		info, err := js.StreamInfo("S")
		if err != nil || info.State.Msgs != 10 || info.Cluster == nil {
			return false
		}
		for _, r := range info.Cluster.Replicas {
			if r.Name == "nats-2" {
				return r.Current && !r.Offline
			}
		}
		return info.Cluster.Leader == "nats-2"
	})
	acc := nodes[2].kernel.loaded(nodes[2].srv, app.key)
	if acc == nil || !acc.JetStreamEnabled() {
		t.Error("the tenant has no JetStream on the restarted node")
	}
}

// A store that was restored from an older backup rolls nothing back.
func TestStoreWentBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	n := w.start(Config{Dir: dir})
	app := w.account("APP")
	mallory := app.user("mallory", nil)
	backup := w.src.clone()
	inForce(t, n, app.revoke(mallory))
	stop(t, n, Now)

	now := w.src
	w.src = backup
	n = w.start(Config{Dir: dir})
	refused(t, n, mallory)
	if err := n.Healthy(t.Context()); fault.RuleOf(err) != "rollback" || fault.As(err).Hint == "" {
		t.Errorf("health: %v", err)
	}
	if p := n.Proof(app.key); p.Reason == "" {
		t.Errorf("proof says nothing: %+v", p)
	}
	// What is new in that store still arrives.
	other := w.account("OTHER")
	inForce(t, n, other.rec)
	connect(t, n, other.user("u", nil))
	refused(t, n, mallory)
	// Higher revisions of that history do not undo what this one revoked.
	app.claims.ClearRevocation(mallory.key)
	for range 3 {
		app.put()
	}
	inForce(t, n, other.put())
	refused(t, n, mallory)
	stop(t, n, Now)

	w.src = now
	n = w.start(Config{Dir: dir})
	if err := n.Healthy(t.Context()); err != nil {
		t.Errorf("health with the right store: %v", err)
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	for name, ports := range map[string]Ports{
		"client":    {Client: port},
		"leaf":      {Client: -1, Leaf: port},
		"websocket": {Client: -1, WebSocket: port},
		"mqtt":      {Client: -1, MQTT: port},
	} {
		n, err := w.tryStart(Config{Dir: dir, Ports: ports})
		if err == nil {
			stop(t, n, Now)
		}
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.As(err).Hint, fmt.Sprint(port)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.start(Config{Dir: dir}) // nothing is left locked
}

func TestDamagedCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	stop(t, w.start(Config{Dir: dir}), Now)
	file := filepath.Join(dir, "claims.db")
	size, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("damage", int(size.Size())/6)), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := w.tryStart(Config{Dir: dir})
	if err == nil {
		stop(t, n, Now)
	}
	if fault.As(err) == nil || !strings.Contains(fault.As(err).Hint, "delete it") {
		t.Fatalf("damaged copy: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.start(Config{Dir: dir})
}

func TestSecondProcessOnTheSameFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	w.start(Config{Dir: dir})
	n, err := w.tryStart(Config{Dir: dir})
	if err == nil {
		stop(t, n, Now)
	}
	if !fault.Is(err, fault.Conflict) {
		t.Fatalf("got %v", err)
	}
}

// Fact 34: trusted keys are fixed when a server starts.
func TestOperatorChangeNeedsRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	n := w.start(Config{Dir: dir})
	w.operator.Tags.Add("harmless:tag")
	inForce(t, n, w.putOperator())
	next := newWorld(t)
	w.operator.SigningKeys.Add(pub(t, next.signer))
	rec := w.putOperator()
	p := await(t, n, rec)
	if p.State != api.Pending || !p.Restart {
		t.Errorf("proof %+v", p)
	}
	stop(t, n, Drain)
	n = w.start(Config{Dir: dir})
	inForce(t, n, rec)
	w.signer = next.signer
	app := w.account("APP")
	inForce(t, n, app.rec)
	connect(t, n, app.user("u", nil))
}

// A version that the server refuses is reported with the server's reason.
func TestServerRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)
	c := connect(t, n, app.user("u", nil))
	app.claims.Expires = time.Now().Add(-time.Minute).Unix()
	if p := await(t, n, app.put()); p.State != api.Rejected || p.Reason == "" || !p.Loaded {
		t.Errorf("expired: %+v", p)
	}
	app.claims.Expires = 0
	inForce(t, n, app.put())
	c.alive(t)
}

// A disk that does not answer keeps no revocation from taking effect, and
// nothing counts as proven before it is written.
func TestStalledDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)
	mallory := app.user("mallory", nil)
	c := connect(t, n, mallory)
	stall, err := n.copy.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	rec := app.revoke(mallory)
	c.gone(t)
	refused(t, n, mallory)
	eventually(t, "waiting for the disk", func() bool {
		p := n.Proof(app.key)
		return p.State == api.Pending && strings.Contains(p.Reason, "disk")
	})
	if n.Applied() >= rec.Seq {
		t.Error("applied what is not written")
	}
	if err := stall.Rollback(); err != nil {
		t.Fatal(err)
	}
	if p := inForce(t, n, rec); !p.Swept || len(p.Closed) != 1 {
		t.Errorf("proof %+v", p)
	}
}

// A version whose issuer the running server does not trust waits for a restart:
// until then the version before it rules, on servers that have loaded the
// account and on those that have not, also after the loss of the store.
func TestUntrustedIssuerWaitsForRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	n := w.start(Config{Dir: dir})
	old := w.signer
	loaded, unloaded := w.account("LOADED"), w.account("UNLOADED")
	inForce(t, n, unloaded.rec)
	alice, mallory, bob := loaded.user("alice", nil), loaded.user("mallory", nil), unloaded.user("bob", nil)
	c := connect(t, n, alice)
	m := connect(t, n, mallory)

	w.signer = pair(t, nkeys.CreateOperator)
	w.operator.SigningKeys.Add(pub(t, w.signer))
	w.putOperator()
	fresh := w.account("FRESH")
	loaded.revoke(mallory)
	unloaded.put()
	waits := func(a *tenant, isLoaded bool) {
		t.Helper()
		for _, p := range []api.NodeProof{await(t, n, a.rec), n.Proof(a.key)} {
			if p.State != api.Pending || !p.Restart || p.Loaded != isLoaded || !strings.Contains(p.Reason, "does not trust operator key "+keys.Short(pub(t, w.signer))) {
				t.Errorf("%s: %+v", a.claims.Name, p)
			}
		}
	}
	waits(fresh, false)
	waits(loaded, true)
	waits(unloaded, false)
	refused(t, n, fresh.user("u", nil))
	connect(t, n, bob)
	waits(unloaded, true)
	n.reconcile(t.Context())
	c.alive(t)
	m.alive(t) // the revocation waits with its version

	w.src.setGone(errors.New("connection refused"))
	stop(t, n, Now)
	n = w.start(Config{Dir: dir})
	connect(t, n, alice)
	connect(t, n, bob)
	refused(t, n, mallory)
	connect(t, n, fresh.user("u", nil))
	w.src.setGone(nil)
	inForce(t, n, loaded.rec)
	w.signer = old
	inForce(t, n, unloaded.put())
}

// What a server registers without claims, because a client of another server
// subscribes, is not loaded, and no version is rejected for it.
func TestSubscriberElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, cfgs := w.cluster(3)
	app := w.account("APP")
	u := app.user("u", nil)
	subscribe := func() *conn {
		c := connect(t, nodes[0], u)
		if _, err := c.Subscribe("s", func(*nats.Msg) {}); err != nil {
			t.Fatal(err)
		}
		c.alive(t)
		return c
	}
	placeholder := func(n *Node) {
		t.Helper()
		eventually(t, "interest of nats-0 on "+n.Name(), func() bool {
			z, err := n.srv.Accountz(&server.AccountzOptions{Account: app.key})
			return err == nil && z.Account.Expired && z.Account.Jwt == ""
		})
	}
	proven := func() {
		t.Helper()
		for i, n := range nodes {
			for _, p := range []api.NodeProof{await(t, n, app.rec), n.Proof(app.key)} {
				if p.State != api.InForce || p.Loaded && i > 0 {
					t.Errorf("%s: %+v", n.Name(), p)
				}
			}
		}
	}
	for _, n := range nodes {
		inForce(t, n, app.rec)
	}
	subscribe()
	placeholder(nodes[1])
	placeholder(nodes[2])
	proven()
	app.put()
	proven()

	stop(t, nodes[2], Now)
	nodes[2] = w.start(cfgs[2])
	healthy(t, nodes[2])
	placeholder(nodes[2])
	proven()

	mallory := app.user("mallory", nil)
	app.revoke(mallory)
	proven()
	refused(t, nodes[1], mallory)
	connect(t, nodes[2], u)
	inForce(t, nodes[2], app.rec)
}
