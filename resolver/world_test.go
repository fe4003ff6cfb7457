package resolver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/pgtest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

var server *pgtest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if server, err = pgtest.Start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = server.Close() }()
	return m.Run()
}

// world is a service over a real store, with the keys of everyone in it.
type world struct {
	t                         testing.TB
	s                         *Service
	store                     store.Store
	root, sk, sk2, accountd   keys.OperatorPair
	system, systemKey, tenant keys.AccountPair
	self                      keys.UserPair
	server                    keys.ServerPair
	clock                     time.Time
	operator                  *claims.Document
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newWorld(t testing.TB, edits ...func(*Config)) *world {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "accountd.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return newWorldIn(t, st, edits...)
}

func newWorldIn(t testing.TB, st store.Store, edits ...func(*Config)) *world {
	t.Helper()
	w := &world{
		t: t, root: must(keys.NewOperator()), sk: must(keys.NewOperator()), sk2: must(keys.NewOperator()), accountd: must(keys.NewOperator()),
		system: must(keys.NewAccount()), systemKey: must(keys.NewAccount()), tenant: must(keys.NewAccount()),
		self: must(keys.NewUser()), server: must(keys.NewServer()),
		clock: time.Unix(1_800_000_000, 0).UTC(),
	}
	w.store = st
	cfg := Config{
		Store: st, Nodes: func() []Node { return nil }, Server: w.server.Key(), Delegated: w.accountd.PublicKey(),
		Self: Self{User: w.self.PublicKey(), Issuer: w.systemKey.PublicKey(), IssuedAt: w.clock.Unix()},
		Now:  func() time.Time { return w.clock },
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	w.s = must(New(cfg))
	oc := jwt.NewOperatorClaims(w.root.PublicKey())
	oc.Name, oc.SystemAccount = "dev", w.system.PublicKey()
	oc.SigningKeys.Add(w.sk.PublicKey(), w.sk2.PublicKey(), w.accountd.PublicKey())
	w.operator = must(must(claims.New(oc)).Sign(w.root, w.clock.Unix()))
	sys := jwt.NewAccountClaims(w.system.PublicKey())
	sys.Name = "SYS"
	sys.SigningKeys.Add(w.systemKey.PublicKey())
	if err := w.s.Bootstrap(context.Background(), w.operator.Token, w.sign(w.sk, sys).Token); err != nil {
		t.Fatal(err)
	}
	w.tick()
	return w
}

// handler serves the service's doors over HTTP.
func (w *world) handler() http.Handler {
	mux := http.NewServeMux()
	w.s.Register(mux)
	return mux
}

func (w *world) tick() { w.clock = w.clock.Add(time.Second) }

func (w *world) sign(s claims.Signer, ac *jwt.AccountClaims) *claims.Document {
	return must(must(claims.New(ac)).Sign(s, w.clock.Unix()))
}

// account returns new claims of the tenant.
func (w *world) account() *jwt.AccountClaims {
	ac := jwt.NewAccountClaims(w.tenant.PublicKey())
	ac.Name = "coke"
	return ac
}

// edit signs a changed copy of d, a second later.
func (w *world) edit(d *claims.Document, f func(*jwt.AccountClaims)) *claims.Document {
	w.tick()
	return must(must(claims.Edit(d, func(ac *jwt.AccountClaims) error { f(ac); return nil })).Sign(w.sk, w.clock.Unix()))
}

func (w *world) envelope(s claims.Signer, body []byte) string {
	return must(api.SignRequest(s, w.root.PublicKey(), w.server.PublicKey(), body, w.clock))
}

// request sends req, signed by the operator's signing key.
func (w *world) request(req api.PutRequest) api.PutReply {
	body := must(json.Marshal(req))
	return w.s.Put(context.Background(), "test", w.envelope(w.sk, body), body)
}

// put sends one item and returns its outcome.
func (w *world) put(item api.Item) api.Result {
	w.t.Helper()
	reply := w.request(api.PutRequest{Items: []api.Item{item}})
	if reply.Error != nil {
		w.t.Fatalf("request refused: %+v", reply.Error)
	}
	return reply.Results[0]
}

// mustPut sends a version and fails the test unless it is committed.
func (w *world) mustPut(d *claims.Document, base string, more ...func(*api.Item)) api.Result {
	w.t.Helper()
	item := api.Item{JWT: d.Token, Base: base}
	for _, f := range more {
		f(&item)
	}
	res := w.put(item)
	if res.Error != nil {
		w.t.Fatalf("refused: %+v", res.Error)
	}
	return res
}

// record returns what is stored for the tenant.
func (w *world) record(key string) store.Record {
	w.t.Helper()
	var rec store.Record
	if err := w.store.View(context.Background(), func(r store.Reader) error {
		var err error
		rec, err = r.Get(store.Account, key)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return rec
}

func (w *world) head() uint64 {
	w.t.Helper()
	var n uint64
	if err := w.store.View(context.Background(), func(r store.Reader) error {
		var err error
		n, err = r.Head()
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) newAccountKey() string {
	w.t.Helper()
	return must(keys.NewAccount()).PublicKey()
}
