package stock

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// TestServerOfAnotherOperator: it answers 200 to every push and enforces none;
// the proof says so and why.
func TestServerOfAnotherOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	other, at := must(keys.NewOperator()), time.Now().Unix()
	oc := jwt.NewOperatorClaims(other.PublicKey())
	oc.Name, oc.SystemAccount = "other", w.system.PublicKey()
	m := w.members[1]
	m.stop()
	sys := jwt.NewAccountClaims(w.system.PublicKey())
	sys.Name = "SYS"
	m.operator = must(must(claims.New(oc)).Sign(other, at)).Token
	m.system = must(must(claims.New(sys)).Sign(other, at+10)).Token
	m.dir = t.TempDir()
	m.start()
	w.start()
	w.up("s0", "s1")
	rec := w.tenant("coke").put()
	w.shows(api.Stored, rec, "s0")
	w.shows(api.Rejected, rec, "s1")
	if p := w.server("s1").Proof(rec.Key); p.State != api.Rejected || !strings.Contains(p.Reason, "does not trust") {
		t.Fatalf("asked anew: %+v", p)
	}
}

// TestOperatorKeyBeforeTheRestart: that servers trust a new key of the operator
// only after a restart is known at once, and said without a wait.
func TestOperatorKeyBeforeTheRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	w.start()
	w.up("s0")
	oc := jwt.NewOperatorClaims(w.root.PublicKey())
	oc.Name, oc.SystemAccount = "acme", w.system.PublicKey()
	oc.SigningKeys.Add(w.sk.PublicKey(), must(keys.NewOperator()).PublicKey())
	rec := w.write(store.Record{Kind: store.Operator, Key: w.root.PublicKey(), JWT: must(must(claims.New(oc)).Sign(w.root, time.Now().Unix())).Token})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if p := w.server("s0").Await(ctx, rec.Key, rec.Revision); ctx.Err() != nil || p.State != api.Pending || !p.Restart {
		t.Fatalf("%+v (%v)", p, ctx.Err())
	}
}

// TestServerThatIsNotHeard: a server of the cluster with an operator and system
// account of its own is named, though nothing of it is ever heard.
func TestServerThatIsNotHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full)
	m, at := w.members[1], time.Now().Unix()
	m.stop()
	other, system := must(keys.NewOperator()), must(keys.NewAccount())
	oc := jwt.NewOperatorClaims(other.PublicKey())
	oc.Name, oc.SystemAccount = "other", system.PublicKey()
	sys := jwt.NewAccountClaims(system.PublicKey())
	sys.Name = "SYS"
	routes := m.routes
	natstest.StartServer(t, fmt.Sprintf(`
server_name: stranger
operator: %s
system_account: %s
resolver: MEMORY
resolver_preload: { %s: %s }
cluster { name: acme, listen: "127.0.0.1:%d", routes: [ %s ], no_advertise: true }
`, must(must(claims.New(oc)).Sign(other, at)).Token, system.PublicKey(), system.PublicKey(),
		must(must(claims.New(sys)).Sign(other, at)).Token, m.cluster, routes))
	w.start()
	w.up("s0")
	natstest.Eventually(t, patience, func() error {
		if w.server("stranger") == nil {
			return fmt.Errorf("not found")
		}
		return nil
	})
	rec := w.tenant("coke").put()
	w.shows(api.Stored, rec, "s0")
	if p := w.await("stranger", rec); p.State != api.Rejected || !strings.Contains(p.Reason, "another operator") {
		t.Fatalf("%+v", p)
	}
}

// TestLeafIsNotExpected: a server that is linked to the cluster as a leaf node
// of the system account answers as those of the cluster do, and is none.
func TestLeafIsNotExpected(t *testing.T) {
	t.Parallel()
	leafPort := natstest.FreePort(t)
	w := newWorld(t, func(m *member) string {
		return full(m) + fmt.Sprintf("leafnodes { listen: \"127.0.0.1:%d\" }\n", leafPort)
	})
	u := w.user(w.system)
	creds := must(jwt.FormatUserConfig(u.jwt, u.kp.Seed()))
	file := filepath.Join(t.TempDir(), "leaf.creds")
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	leaf := natstest.StartServer(t, fmt.Sprintf(`
server_name: leaf
operator: %s
system_account: %s
resolver: { type: full, dir: %q, allow_delete: true }
resolver_preload: { %s: %s }
leafnodes { remotes [ { urls: [ "nats-leaf://127.0.0.1:%d" ], credentials: %q, account: %s } ] }
`, w.operator, w.system.PublicKey(), t.TempDir(), w.system.PublicKey(), w.sysJWT, leafPort, file, w.system.PublicKey()))
	natstest.Eventually(t, patience, leaf.Linked)
	w.start()
	w.up("s0")
	natstest.Eventually(t, patience, func() error {
		w.fleet.mu.Lock()
		defer w.fleet.mu.Unlock()
		if len(w.fleet.leafs) != 1 {
			return fmt.Errorf("%d leaf nodes seen", len(w.fleet.leafs))
		}
		return nil
	})
	w.shows(api.Stored, w.tenant("coke").put(), "s0")
	if w.server("leaf") != nil {
		t.Fatal("the leaf node is expected")
	}
}
