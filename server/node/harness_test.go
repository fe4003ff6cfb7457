package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"go.etcd.io/bbolt"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/store"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

// memory is a Source that can go away.
type memory struct {
	mu      sync.Mutex
	recs    map[string]store.Record
	log     []store.Change
	changed chan struct{}
	gone    error
}

func newMemory() *memory {
	return &memory{recs: map[string]store.Record{}, changed: make(chan struct{})}
}

func (m *memory) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func (m *memory) View(_ context.Context, f func(store.Reader) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone != nil {
		return m.gone
	}
	return f(memoryReader{m})
}

// setGone makes every View fail with err, or work again with nil.
func (m *memory) setGone(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = err
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) put(rec store.Record) store.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := string(rec.Kind) + rec.Key
	sum := sha256.Sum256([]byte(rec.JWT))
	rec.Revision = m.recs[id].Revision + 1
	rec.Seq = uint64(len(m.log) + 1)
	m.recs[id] = rec
	m.log = append(m.log, store.Change{Seq: rec.Seq, Kind: rec.Kind, Key: rec.Key, Revision: rec.Revision, ID: rec.ID, After: hex.EncodeToString(sum[:])})
	close(m.changed)
	m.changed = make(chan struct{})
	return rec
}

// clone is a backup.
func (m *memory) clone() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemory()
	for k, v := range m.recs {
		c.recs[k] = v
	}
	c.log = append(c.log, m.log...)
	return c
}

type memoryReader struct{ m *memory }

func (r memoryReader) Get(kind store.Kind, key string) (store.Record, error) {
	rec, ok := r.m.recs[string(kind)+key]
	if !ok {
		return rec, store.ErrNotFound
	}
	return rec, nil
}

func (r memoryReader) Scan(kind store.Kind, _ string, f func(store.Record) bool) error {
	for _, rec := range r.m.recs {
		if rec.Kind == kind && !f(rec) {
			break
		}
	}
	return nil
}

func (r memoryReader) Changes(after uint64, limit int) ([]store.Change, error) {
	if after >= uint64(len(r.m.log)) {
		return nil, nil
	}
	l := r.m.log[after:]
	return l[:min(limit, len(l))], nil
}

func (r memoryReader) Head() (uint64, error)       { return uint64(len(r.m.log)), nil }
func (r memoryReader) Meta(string) (string, error) { return "", nil }

// world is an operator with its keys and a store of what it signed.
type world struct {
	t        testing.TB
	src      *memory
	root     nkeys.KeyPair
	signer   nkeys.KeyPair
	operator *jwt.OperatorClaims
	sys      *tenant
	logger   *slog.Logger
}

// tenant is an account with all its keys.
type tenant struct {
	w      *world
	kp     nkeys.KeyPair
	key    string
	claims *jwt.AccountClaims
	rec    store.Record
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, src: newMemory(), root: pair(t, nkeys.CreateOperator), signer: pair(t, nkeys.CreateOperator)}
	w.logger = slog.New(slog.DiscardHandler)
	if os.Getenv("NODE_TEST_LOG") != "" {
		w.logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	w.sys = w.unsaved("SYS")
	w.operator = jwt.NewOperatorClaims(pub(t, w.root))
	w.operator.Name = "test"
	w.operator.SigningKeys.Add(pub(t, w.signer))
	w.operator.SystemAccount = w.sys.key
	w.putOperator()
	w.sys.put()
	return w
}

func (w *world) putOperator() store.Record {
	w.t.Helper()
	token := must(w.t)(w.operator.Encode(w.root))
	return w.src.put(store.Record{Kind: store.Operator, Key: w.operator.Subject, JWT: token, ID: w.operator.ID})
}

func pair(t testing.TB, make func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	kp, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return kp
}

func pub(t testing.TB, kp nkeys.KeyPair) string {
	t.Helper()
	return must(t)(kp.PublicKey())
}

func must(t testing.TB) func(string, error) string {
	return func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func (w *world) unsaved(name string) *tenant {
	kp := pair(w.t, nkeys.CreateAccount)
	a := &tenant{w: w, kp: kp, key: pub(w.t, kp)}
	a.claims = jwt.NewAccountClaims(a.key)
	a.claims.Name = name
	return a
}

// account makes a tenant, lets edits change its claims, and stores it.
func (w *world) account(name string, edits ...func(*jwt.AccountClaims)) *tenant {
	a := w.unsaved(name)
	for _, edit := range edits {
		edit(a.claims)
	}
	a.put()
	return a
}

func jetStream(c *jwt.AccountClaims) {
	c.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
}

// sign signs the claims as they are. Tags make each version's JWT unique.
func (a *tenant) sign() string {
	a.w.t.Helper()
	a.claims.Tags = jwt.TagList{fmt.Sprintf("n:%d", a.rec.Revision+1)}
	return must(a.w.t)(a.claims.Encode(a.w.signer))
}

func (a *tenant) put() store.Record {
	a.w.t.Helper()
	return a.putJWT(a.sign())
}

func (a *tenant) putJWT(token string) store.Record {
	a.rec = a.w.src.put(store.Record{Kind: store.Account, Key: a.key, Name: a.claims.Name, JWT: token, ID: a.claims.ID, Issuer: a.claims.Issuer})
	return a.rec
}

func (a *tenant) delete() store.Record {
	rec := a.rec
	rec.Deleted = true
	a.rec = a.w.src.put(rec)
	return a.rec
}

func (a *tenant) revoke(u *user) store.Record {
	a.w.t.Helper()
	a.claims.RevokeAt(u.key, time.Now())
	return a.put()
}

func (a *tenant) unrevoke(u *user) store.Record {
	a.w.t.Helper()
	a.claims.ClearRevocation(u.key)
	return a.put()
}

// user is a user with its credentials.
type user struct {
	kp    nkeys.KeyPair
	key   string
	token string
}

// user issues a user of the account; with a nil signer by the account's key.
func (a *tenant) user(name string, signer nkeys.KeyPair, edits ...func(*jwt.UserClaims)) *user {
	a.w.t.Helper()
	u := &user{kp: pair(a.w.t, nkeys.CreateUser)}
	u.key = pub(a.w.t, u.kp)
	c := jwt.NewUserClaims(u.key)
	c.Name = name
	if signer != nil {
		c.IssuerAccount = a.key
	} else {
		signer = a.kp
	}
	for _, edit := range edits {
		edit(c)
	}
	u.token = must(a.w.t)(c.Encode(signer))
	return u
}

func (u *user) option() nats.Option {
	return nats.UserJWT(
		func() (string, error) { return u.token, nil },
		func(nonce []byte) ([]byte, error) { return u.kp.Sign(nonce) })
}

func (u *user) creds(t testing.TB) string {
	t.Helper()
	seed, err := u.kp.Seed()
	if err != nil {
		t.Fatal(err)
	}
	body, err := jwt.FormatUserConfig(u.token, seed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// start runs a node that is stopped with the test.
func (w *world) start(cfg Config) *Node {
	w.t.Helper()
	n, err := w.tryStart(cfg)
	if err != nil {
		w.t.Fatalf("start %s: %v", cfg.Name, err)
	}
	w.t.Cleanup(func() { stop(w.t, n, Now) })
	return n
}

func (w *world) tryStart(cfg Config) (*Node, error) { return w.startWithin(patience, cfg) }

func (w *world) startWithin(limit time.Duration, cfg Config) (*Node, error) {
	if cfg.Name == "" {
		cfg.Name = "nats-0"
	}
	if cfg.Dir == "" {
		cfg.Dir = w.t.TempDir()
	}
	if cfg.Source == nil {
		cfg.Source = w.src
	}
	if cfg.Ports == (Ports{}) {
		cfg.Ports = Ports{Client: -1, Leaf: -1, WebSocket: -1, MQTT: -1}
	}
	cfg.Logger = w.logger
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return Start(ctx, cfg)
}

func stop(t testing.TB, n *Node, mode StopMode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Stop(ctx, mode); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// cluster runs n nodes and waits until they are healthy.
func (w *world) cluster(n int) ([]*Node, []Config) {
	w.t.Helper()
	cfgs := make([]Config, n)
	var routes []string
	for i, port := range freePorts(w.t, n) {
		cfgs[i] = Config{
			Name: fmt.Sprintf("nats-%d", i), Cluster: "test", Dir: w.t.TempDir(),
			Ports: Ports{Client: -1, Cluster: port, Leaf: -1, WebSocket: -1, MQTT: -1},
		}
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", port))
	}
	nodes := make([]*Node, n)
	for i := range cfgs {
		for j, r := range routes {
			if j != i {
				cfgs[i].Routes = append(cfgs[i].Routes, r)
			}
		}
		nodes[i] = w.start(cfgs[i])
	}
	for _, node := range nodes {
		healthy(w.t, node)
	}
	return nodes, cfgs
}

func healthy(t testing.TB, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.AwaitHealthy(ctx); err != nil {
		t.Fatalf("%s: %v", n.Name(), err)
	}
}

// lastPort is where the next search for a free port starts: below the range
// from which the system picks ports, so that none is taken meanwhile.
var lastPort atomic.Int32

func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range 10_000 {
		port := 10_000 + (os.Getpid()*97+int(lastPort.Add(1)))%20_000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("no free ports")
	return nil
}

func (n *Node) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.Ports().Client) }

// conn is a client that stays away once it is cut.
type conn struct {
	*nats.Conn
	closed chan struct{}
}

func dial(n *Node, u *user, opts ...nats.Option) (*conn, error) { return dialURL(n.url(), u, opts...) }

func dialURL(url string, u *user, opts ...nats.Option) (*conn, error) {
	c := &conn{closed: make(chan struct{})}
	opts = append([]nats.Option{
		u.option(), nats.NoReconnect(), nats.Timeout(patience),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
	}, opts...)
	nc, err := nats.Connect(url, opts...)
	c.Conn = nc
	return c, err
}

func connect(t testing.TB, n *Node, u *user, opts ...nats.Option) *conn {
	t.Helper()
	c, err := dial(n, u, opts...)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

func refused(t testing.TB, n *Node, u *user) {
	t.Helper()
	c, err := dial(n, u)
	if err == nil {
		c.Close()
		t.Fatalf("%s lets in a user that it must refuse", n.Name())
	}
}

func (c *conn) gone(t testing.TB) {
	t.Helper()
	select {
	case <-c.closed:
	case <-time.After(patience):
		t.Fatal("connection is still open")
	}
}

func (c *conn) alive(t testing.TB) {
	t.Helper()
	if err := c.FlushTimeout(patience); err != nil {
		t.Fatalf("connection is not alive: %v", err)
	}
}

func await(t testing.TB, n *Node, rec store.Record) api.NodeProof {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return n.Await(ctx, rec.Key, rec.Revision)
}

func await2(n *Node, key string, revision uint64, d time.Duration) api.NodeProof {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return n.Await(ctx, key, revision)
}

// replaceForTest puts another JWT under the same revision.
func (l *local) replaceForTest(key, token string) error {
	return l.db.Update(func(tx *bbolt.Tx) error {
		e, err := read(tx, store.Account, key)
		if err != nil {
			return err
		}
		e.JWT = token
		return write(tx, e)
	})
}

func inForce(t testing.TB, n *Node, rec store.Record) api.NodeProof {
	t.Helper()
	p := await(t, n, rec)
	if p.State != api.InForce || p.Revision < rec.Revision {
		t.Fatalf("%s: revision %d is not in force: %+v", n.Name(), rec.Revision, p)
	}
	return p
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
		<-tick.C
	}
}
