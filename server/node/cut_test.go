package node

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/store"
)

// leaf runs a server that connects to n as a leaf node with the user.
func leaf(t *testing.T, n *Node, u *user) *server.Server {
	t.Helper()
	remote, err := url.Parse(fmt.Sprintf("nats-leaf://127.0.0.1:%d", n.Ports().Leaf))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "leaf-" + u.key[:8], Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		LeafNode: server.LeafNodeOpts{
			ReconnectInterval: 50 * time.Millisecond,
			Remotes:           []*server.RemoteLeafOpts{{URLs: []*url.URL{remote}, Credentials: u.creds(t)}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	return srv
}

// Facts 16, 19-21: every kind of connection is cut, whatever it calls itself.
func TestEveryKindOfConnectionIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP", jetStream)
	inForce(t, n, app.rec)
	victim, innocent := app.user("victim", nil, bearer), app.user("innocent", nil, bearer)

	tcp := connect(t, n, victim)
	ws, err := dialURL(fmt.Sprintf("ws://127.0.0.1:%d", n.Ports().WebSocket), victim)
	if err != nil {
		t.Fatal(err)
	}
	mqtt, err := mqttDial(n, "device", "innocent", victim.token)
	if err != nil {
		t.Fatal(err)
	}
	byName, err := rawDial(n, victim.token, map[string]any{"user": "innocent", "name": "harmless"})
	if err != nil {
		t.Fatal(err)
	}
	byKey, err := rawDial(n, victim.token, map[string]any{"nkey": innocent.key})
	if err != nil {
		t.Fatal(err)
	}
	edge := leaf(t, n, victim)
	other := leaf(t, n, innocent)
	eventually(t, "leaf nodes connected", func() bool { return n.srv.NumLeafNodes() == 2 })
	bystander := connect(t, n, innocent)

	p := inForce(t, n, app.revoke(victim))
	tcp.gone(t)
	ws.gone(t)
	for _, c := range []*rawClient{mqtt, byName, byKey} {
		c.gone(t)
	}
	kinds := map[string]int{}
	for _, c := range p.Closed {
		if c.User == victim.key {
			kinds[c.Kind]++
		} else {
			t.Errorf("closed %+v", c)
		}
	}
	if kinds["client"] != 3 || kinds["websocket"] != 1 || kinds["mqtt"] != 1 || kinds["leaf"] != 1 {
		t.Errorf("closed %v", kinds)
	}
	if !p.Swept {
		t.Errorf("proof %+v", p)
	}
	bystander.alive(t)
	if _, err := mqttDial(n, "device", "innocent", victim.token); err == nil {
		t.Error("MQTT lets the revoked user in")
	}
	if _, err := rawDial(n, victim.token, map[string]any{"nkey": innocent.key}); err == nil {
		t.Error("TCP lets the revoked user in")
	}

	inForce(t, n, app.unrevoke(victim))
	eventually(t, "leaf node came back", func() bool { return edge.NumLeafNodes() == 1 && other.NumLeafNodes() == 1 })
}

func TestRevokeAllBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)
	var old []*conn
	for range 5 {
		old = append(old, connect(t, n, app.user("old", nil)))
	}
	app.claims.Revocations = jwt.RevocationList{jwt.All: time.Now().Unix()}
	if p := inForce(t, n, app.put()); len(p.Closed) != len(old) {
		t.Errorf("closed %d of %d", len(p.Closed), len(old))
	}
	for _, c := range old {
		c.gone(t)
	}
}

// A signing key that goes takes its users along, and a scope that changes
// sends them away once.
func TestSigningKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	role, plain := pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateAccount)
	scope := jwt.NewUserScope()
	scope.Key, scope.Role = pub(t, role), "role"
	app := w.account("APP", func(c *jwt.AccountClaims) {
		c.SigningKeys.AddScopedSigner(scope)
		c.SigningKeys.Add(pub(t, plain))
	})
	inForce(t, n, app.rec)
	scoped := func(c *jwt.UserClaims) { c.UserPermissionLimits = jwt.UserPermissionLimits{} }
	a, b, own := app.user("a", role, scoped), app.user("b", plain), app.user("own", nil)
	ca, cb, co := connect(t, n, a), connect(t, n, b), connect(t, n, own)

	scope.Template.Pub.Deny.Add("secret.>")
	p := inForce(t, n, app.put())
	ca.gone(t)
	if len(p.Closed) != 1 || p.Closed[0].User != a.key {
		t.Errorf("closed %+v", p.Closed)
	}
	cb.alive(t)
	ca = connect(t, n, a)

	delete(app.claims.SigningKeys, pub(t, plain))
	p = inForce(t, n, app.put())
	cb.gone(t)
	refused(t, n, b)
	if len(p.Closed) != 1 || p.Closed[0].User != b.key {
		t.Errorf("closed %+v", p.Closed)
	}
	ca.alive(t)
	co.alive(t)
}

// What takes nothing away is in force at read-back, without waiting for a sweep.
func TestWideningNeedsNoSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)
	connect(t, n, app.user("u", nil))
	app.claims.SigningKeys.Add(pub(t, pair(t, nkeys.CreateAccount)))
	rec := app.put()
	p := inForce(t, n, rec)
	if p.Swept || len(p.Closed) != 0 || !p.Loaded {
		t.Errorf("proof %+v", p)
	}
	if now := n.Proof(app.key); !now.Swept || now.State != api.InForce {
		t.Errorf("proof %+v", now)
	}
}

// Changes that follow each other without a pause are each proven.
func TestBackToBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	app := w.account("APP")
	inForce(t, n, app.rec)
	const victims = 20
	users, conns := make([]*user, victims), make([]*conn, victims)
	for i := range users {
		users[i] = app.user("u", nil)
		conns[i] = connect(t, n, users[i])
	}
	recs := make([]store.Record, victims)
	for i, u := range users {
		recs[i] = app.revoke(u)
	}
	for i, rec := range recs {
		inForce(t, n, rec)
		conns[i].gone(t)
		refused(t, n, users[i])
	}
}

// Fact 17: dialers that hammer while their user is revoked leave nobody
// behind. NODE_HAMMER sets the number of revocations.
func TestHammeringDialersLeaveNoSurvivor(t *testing.T) {
	t.Parallel()
	rounds := 200
	if s := os.Getenv("NODE_HAMMER"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	w := newWorld(t)
	n := w.start(Config{Ports: Ports{Client: -1}})
	accounts := make([]*tenant, 100)
	for i := range accounts {
		accounts[i] = w.account(fmt.Sprintf("A%d", i))
		inForce(t, n, accounts[i].rec)
	}
	const lanes = 8 // accounts in work at the same time
	var found atomic.Int64
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for i := lane; i < rounds && !t.Failed(); i += lanes {
				found.Add(hammer(t, n, accounts[i%len(accounts)]))
			}
		})
	}
	wg.Wait()
	t.Logf("%d revocations, %d connections found by a later sweep", rounds, found.Load())
}

// hammer revokes a user while dialers connect as that user, and looks for
// connections that are still open once the revocation is proven.
func hammer(t *testing.T, n *Node, app *tenant) (late int64) {
	u := app.user("victim", nil, bearer)
	quit := make(chan struct{})
	var mu sync.Mutex
	var open []*rawClient
	var dialed atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				if c, err := rawDial(n, u.token, nil); err == nil {
					mu.Lock()
					open = append(open, c)
					mu.Unlock()
				}
				dialed.Add(1)
			}
		})
	}
	poll(func() bool { return dialed.Load() > 4 })
	app.claims.RevokeAt(u.key, time.Now())
	rec := app.put()
	after := dialed.Load()
	poll(func() bool { return dialed.Load() > after+4 })
	close(quit)
	wg.Wait()
	p := await(t, n, rec)
	if p.State != api.InForce || !p.Swept {
		t.Errorf("not proven: %+v", p)
	}
	for _, c := range p.Closed {
		if c.Found != "index" {
			late++
		}
	}
	for _, c := range open {
		if survives(c) {
			t.Errorf("%s: a revoked connection survived its proof", app.claims.Name)
		}
		c.Close()
	}
	return late
}

func survives(c *rawClient) bool {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return false
		}
		if line == "PONG\r\n" {
			return true
		}
	}
}

func poll(f func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !f() && time.Now().Before(deadline); {
		<-tick.C
	}
}

// A user of the system account is cut like any other, and claims of the system
// account are applied like any other.
func TestSystemAccountIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	u := w.sys.user("sys", nil)
	closed := make(chan struct{})
	if _, err := nats.Connect(n.url(), u.option(), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})); err != nil {
		t.Fatal(err)
	}
	inForce(t, n, w.sys.revoke(u))
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("still connected")
	}
	refused(t, n, u)
}
