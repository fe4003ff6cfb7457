package stock

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

// patience bounds every wait of a test.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// world is an operator, a store of what it signed, and a cluster of stock
// servers.
type world struct {
	t        testing.TB
	root, sk keys.OperatorPair
	system   keys.AccountPair
	sysJWT   string
	operator string // JWT
	store    *bolt.Store
	members  []*member
	log      *logs

	fleet *Fleet
	nc    *nats.Conn
}

// member is one server of the cluster, running or not.
type member struct {
	w                *world
	name             string
	dir              string
	config           func(*member) string
	port             int
	cluster          int
	group, routes    string // name of its cluster, and whom it links to there
	operator, system string
	running          *natstest.Server
}

// logs collects the fleet's log lines.
type logs struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// full is a directory that permits deletions.
func full(m *member) string {
	return fmt.Sprintf("resolver: { type: full, dir: %q, allow_delete: true }\n", m.dir)
}

// newWorld makes a store with an operator and its system account, and starts a
// server for each config.
func newWorld(t testing.TB, configs ...func(*member) string) *world {
	t.Helper()
	w := &world{t: t, root: must(keys.NewOperator()), sk: must(keys.NewOperator()), system: must(keys.NewAccount()), log: &logs{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.log.String())
		}
	})
	oc := jwt.NewOperatorClaims(w.root.PublicKey())
	oc.Name, oc.SystemAccount = "acme", w.system.PublicKey()
	oc.SigningKeys.Add(w.sk.PublicKey())
	w.operator = must(must(claims.New(oc)).Sign(w.root, time.Now().Unix())).Token
	ac := jwt.NewAccountClaims(w.system.PublicKey())
	ac.Name = "SYS"
	w.sysJWT = must(must(claims.New(ac)).Sign(w.sk, time.Now().Unix())).Token
	w.store = must(bolt.Open(filepath.Join(t.TempDir(), "accountd.db"), bolt.Options{}))
	t.Cleanup(func() { _ = w.store.Close() })
	w.write(store.Record{Kind: store.Operator, Key: w.root.PublicKey(), JWT: w.operator})
	w.write(store.Record{Kind: store.Account, Key: w.system.PublicKey(), JWT: w.sysJWT})
	ports := natstest.FreePorts(t, 2*len(configs))
	var routes []string
	for i := range configs {
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", ports[2*i+1]))
	}
	for i, config := range configs {
		m := &member{
			w: w, name: fmt.Sprintf("s%d", i), dir: t.TempDir(), config: config, port: ports[2*i], cluster: ports[2*i+1],
			group: "acme", routes: strings.Join(routes, ", "), operator: w.operator, system: w.sysJWT,
		}
		w.members = append(w.members, m)
	}
	for _, m := range w.members {
		m.start()
	}
	return w
}

// start runs the server on the ports and in the folder that it had before.
func (m *member) start() {
	m.w.t.Helper()
	config := m.config(m)
	if !strings.Contains(config, "URL(") { // those fetch the system account
		config += fmt.Sprintf("resolver_preload: { %s: %s }\n", m.w.system.PublicKey(), m.system)
	}
	m.running = natstest.StartServer(m.w.t, fmt.Sprintf(`
listen: "127.0.0.1:%d"
server_name: %s
operator: %s
system_account: %s
cluster { name: %s, listen: "127.0.0.1:%d", routes: [ %s ], no_advertise: true }
%s`, m.port, m.name, m.operator, m.w.system.PublicKey(), m.group, m.cluster, m.routes, config))
}

func (m *member) stop() { m.running.Stop() }

func (m *member) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", m.port) }

// user is a user with its credentials.
type user struct {
	kp  keys.UserPair
	jwt string
}

// user issues a user of an account.
func (w *world) user(account keys.AccountPair, edits ...func(*jwt.UserClaims)) *user {
	u := &user{kp: must(keys.NewUser())}
	uc := jwt.NewUserClaims(u.kp.PublicKey())
	uc.Name = "u"
	for _, edit := range edits {
		edit(uc)
	}
	u.jwt = must(must(claims.New(uc)).Sign(account, time.Now().Unix())).Token
	return u
}

func (u *user) option() nats.Option {
	return nats.UserJWT(func() (string, error) { return u.jwt, nil }, u.kp.Sign)
}

// connect opens a connection that stays away once it is closed.
func (u *user) connect(url string, opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(url, append([]nats.Option{
		u.option(), nats.NoReconnect(), nats.Timeout(patience),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, opts...)...)
}

// system opens a connection of a user of the system account to any server.
func (w *world) systemConn(opts ...nats.Option) *nats.Conn {
	w.t.Helper()
	var urls []string
	for _, m := range w.members {
		urls = append(urls, m.url())
	}
	u := w.user(w.system)
	var nc *nats.Conn
	natstest.Eventually(w.t, patience, func() (err error) {
		nc, err = nats.Connect(strings.Join(urls, ","), append([]nats.Option{
			u.option(), nats.NoEcho(), nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond), nats.DontRandomize(),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		}, opts...)...)
		return err
	})
	w.t.Cleanup(nc.Close)
	return nc
}

// start runs the fleet until the test ends or stopFleet is called.
func (w *world) start(edits ...func(*Config)) {
	w.t.Helper()
	w.nc = w.systemConn()
	cfg := Config{
		Source: w.store, Conn: w.nc, Signer: w.sk, Ping: 100 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(w.log, io.Discard), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if os.Getenv("STOCK_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	w.fleet = must(Start(context.Background(), cfg))
	w.t.Cleanup(w.fleet.Close)
}

// up waits until the named servers are up.
func (w *world) up(names ...string) {
	w.t.Helper()
	natstest.Eventually(w.t, patience, func() error {
		for _, name := range names {
			if s := w.server(name); s == nil || !s.Status().Healthy && s.Kind() != Memory {
				return fmt.Errorf("%s is not up", name)
			}
		}
		return nil
	})
}

func (w *world) server(name string) *Server {
	for _, s := range w.fleet.Servers() {
		if s.Name() == name {
			return s
		}
	}
	return nil
}

// write puts a record as it is, conditional on nothing.
func (w *world) write(rec store.Record) store.Record {
	w.t.Helper()
	if c, err := parse(rec.JWT); err == nil {
		rec.ID, rec.IssuedAt, rec.Issuer = c.ID, c.IssuedAt, c.Issuer
	}
	if err := w.store.Update(context.Background(), func(tx store.Tx) error {
		old, _ := tx.Get(rec.Kind, rec.Key)
		var err error
		rec, err = tx.Put(old.Revision, rec, store.Change{Time: time.Now().UTC(), Action: "put"})
		return err
	}); err != nil {
		w.t.Fatalf("write: %v", err)
	}
	return rec
}

// tenant is an account whose versions the test signs.
type tenant struct {
	w  *world
	kp keys.AccountPair
	ac *jwt.AccountClaims
	at int64 // iat of the last version
}

func (w *world) tenant(name string) *tenant {
	a := &tenant{w: w, kp: must(keys.NewAccount()), at: time.Now().Unix() - 1}
	a.ac = jwt.NewAccountClaims(a.kp.PublicKey())
	a.ac.Name = name
	return a
}

// sign signs the claims as they are now.
func (a *tenant) sign() string {
	a.at++
	return must(must(claims.New(a.ac)).Sign(a.w.sk, a.at)).Token
}

// put signs and stores the claims.
func (a *tenant) put() store.Record {
	a.w.t.Helper()
	return a.w.write(store.Record{Kind: store.Account, Key: a.kp.PublicKey(), Name: a.ac.Name, JWT: a.sign()})
}

func (a *tenant) revoke(u *user) store.Record {
	a.w.t.Helper()
	if a.ac.Revocations == nil {
		a.ac.Revocations = jwt.RevocationList{}
	}
	a.ac.Revocations[u.kp.PublicKey()] = time.Now().Unix()
	return a.put()
}

func (a *tenant) delete() store.Record {
	a.w.t.Helper()
	rec := must(a.w.fleet.record(context.Background(), a.kp.PublicKey()))
	rec.Deleted = true
	return a.w.write(rec)
}

// await returns what the named server shows for a record.
func (w *world) await(name string, rec store.Record) api.NodeProof {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return w.server(name).Await(ctx, rec.Key, rec.Revision)
}

// shows fails the test unless every named server shows state for a record.
func (w *world) shows(state api.State, rec store.Record, names ...string) {
	w.t.Helper()
	for _, name := range names {
		if p := w.await(name, rec); p.State != state || p.Revision < rec.Revision {
			w.t.Fatalf("%s shows %q for revision %d, wanted %q: %+v", name, p.State, rec.Revision, state, p)
		}
	}
}
