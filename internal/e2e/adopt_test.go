package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// brownfield is an operator as it was run before accountd: the official store,
// and two stock servers in a cluster that were pushed to.
type brownfield struct {
	*cloud
	data   string // the official store and keystore
	system string
	ports  []int // client and cluster port of each server
	dirs   []string
	server []*natstest.Server
}

func newBrownfield(t *testing.T) *brownfield {
	t.Helper()
	b := &brownfield{cloud: &cloud{t: t, dir: filepath.Join(t.TempDir(), "D"), home: t.TempDir()}, ports: natstest.FreePorts(t, 4)}
	b.env = []string{"PATH=" + binDir(t) + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + b.home}
	b.data = filepath.Join(b.home, ".local/share/nats/nsc")
	says(t, b.official("add", "operator", "acme", "--sys", "--generate-signing-key"), 0)
	says(t, b.official("edit", "operator", "--account-jwt-server-url", fmt.Sprintf("nats://127.0.0.1:%d", b.ports[0])), 0)
	b.system = b.document("SYS").Subject
	for i := range 2 {
		b.dirs, b.server = append(b.dirs, t.TempDir()), append(b.server, nil)
		b.start(i)
	}
	return b
}

func (b *brownfield) start(i int) {
	b.t.Helper()
	b.server[i] = natstest.StartServer(b.t, fmt.Sprintf(`
listen: "127.0.0.1:%d"
server_name: s%d
cluster { name: C, listen: "127.0.0.1:%d", routes: ["nats://127.0.0.1:%d"] }
operator: %q
system_account: %s
resolver: { type: full, dir: %q, allow_delete: true, interval: "1h" }
resolver_preload: { %s: %s }
`, b.ports[i], i, b.ports[2+i], b.ports[2+(1-i)], filepath.Join(b.data, "stores/acme/acme.jwt"), b.system, b.dirs[i], b.system, b.document("SYS").Token))
}

// document is the version of an account in the local store.
func (b *brownfield) document(account string) *claims.Document {
	b.t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.data, "stores/acme/accounts", account, account+".jwt"))
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := claims.Decode(string(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *brownfield) userCreds(account, user string) string {
	return filepath.Join(b.data, "keys/creds/acme", account, user+".creds")
}

// signingKey is the operator's signing key.
func (b *brownfield) signingKey() keys.OperatorPair {
	b.t.Helper()
	store, err := nscstore.Open(nscstore.Dirs{Stores: filepath.Join(b.data, "stores"), Keys: filepath.Join(b.data, "keys")})
	if err != nil {
		b.t.Fatal(err)
	}
	seed, err := store.Keystore().Seed(b.document("SYS").Issuer)
	if err != nil {
		b.t.Fatal(err)
	}
	pair, err := keys.OperatorFromSeed(seed)
	if err != nil {
		b.t.Fatal(err)
	}
	return pair
}

// diverge revokes user two of an account on one server, and gives the other one
// a newer version without that, as a stale laptop would.
func (b *brownfield) diverge(app *claims.Document) {
	b.t.Helper()
	b.server[1].Stop()
	says(b.t, b.official("revocations", "add-user", "-a", "app", "-n", "two"), 0)
	says(b.t, b.official("push", "-a", "app"), 0)
	stale, err := claims.Edit(app, func(c *jwt.AccountClaims) error { c.Tags.Add("stale"); return nil })
	if err != nil {
		b.t.Fatal(err)
	}
	pushed, err := stale.Sign(b.signingKey(), b.document("app").IssuedAt+1)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dirs[1], app.Subject+".jwt"), []byte(pushed.Token), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.start(1)
	natstest.Eventually(b.t, patience, func() error {
		var routes struct {
			NumRoutes int `json:"num_routes"`
		}
		if err := b.server[1].Monitoring("/routez", &routes); err != nil || routes.NumRoutes == 0 {
			return fmt.Errorf("%d routes, error %v", routes.NumRoutes, err)
		}
		return nil
	})
}

// TestAdoption: a running operator comes under accountd while clients are
// connected. One server lacks a revocation that the other has, because a stale
// laptop pushed to it alone; an account is on the servers and not in the store;
// another was removed while servers had it loaded, and does not come back.
func TestAdoption(t *testing.T) {
	t.Parallel()
	b := newBrownfield(t)
	for _, account := range []string{"app", "calm", "gone", "removed"} {
		says(t, b.official("add", "account", account), 0)
		says(t, b.official("add", "user", "one", "-a", account), 0)
	}
	says(t, b.official("add", "user", "two", "-a", "app"), 0)
	says(t, b.official("push", "-A"), 0)

	app := b.document("app")
	b.diverge(app)

	var cuts atomic.Int64
	calm := nats.DisconnectErrHandler(func(*nats.Conn, error) { cuts.Add(1) })
	for _, s := range b.server {
		for _, account := range []string{"app", "calm", "gone"} {
			b.dial(s.URL, b.userCreds(account, "one"), calm)
		}
	}
	b.dial(b.server[1].URL, b.userCreds("app", "two")).Close() // revoked on the other one
	if err := os.RemoveAll(filepath.Join(b.data, "stores/acme/accounts/gone")); err != nil {
		t.Fatal(err)
	}

	for _, s := range b.server {
		b.dial(s.URL, b.userCreds("removed", "one"))
	}
	says(t, b.official("push", "-R", "removed"), 0)

	says(t, b.official("add", "user", "accountd", "-a", "SYS"), 0)
	daemon := b.resolver()
	says(t, b.nsc("adopt", "--dry-run"), 0, "+ nats.revocations", "in force on s1", "dry run: nothing was changed")
	if raw, err := os.ReadFile(filepath.Join(b.dirs[0], app.Subject+".jwt")); err != nil || string(raw) != b.document("app").Token {
		t.Fatalf("a dry run changed a server: %v", err)
	}
	var got struct {
		Results []struct {
			Name, Outcome string
			Proven        bool
		}
	}
	out := b.nsc("adopt", "--json", "--timeout", "30s")
	if err := json.Unmarshal([]byte(out.out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	outcomes := map[string]string{}
	for _, r := range got.Results {
		outcomes[r.Name] = r.Outcome
		if !r.Proven {
			t.Errorf("%s is not proven: %s", r.Name, out)
		}
	}
	if outcomes["app"] != "committed" || outcomes["calm"] != "committed" || outcomes["gone"] != "committed" || outcomes["SYS"] != "unchanged" || len(outcomes) != 4 {
		t.Fatalf("outcomes %v", outcomes)
	}
	for _, s := range b.server {
		natstest.Eventually(t, patience, func() error { return refused(s.URL, b.userCreds("app", "two")) })
	}
	if n := cuts.Load(); n != 0 {
		t.Errorf("%d connections were cut", n)
	}
	merged, err := claims.As[jwt.AccountClaims](b.document("app"))
	if err != nil || len(merged.Revocations) != 1 || !merged.Tags.Contains("stale") {
		t.Fatalf("the store holds %+v, error %v", merged, err)
	}
	if b.document("gone").Name != "gone" {
		t.Fatal("the lost account is not back")
	}
	again := b.nsc("adopt")
	if strings.Contains(again.out, "signed anew") || strings.Count(again.out, "(already so)") != 4 {
		t.Errorf("a second adoption: %s", again)
	}
	if code := daemon.Stop(); code != 0 {
		t.Errorf("accountd resolver ends with %d:\n%s", code, daemon.Output())
	}
}

// resolver runs accountd resolver for the servers and returns when it serves
// both.
func (b *brownfield) resolver() *natstest.Process {
	b.t.Helper()
	dir := b.t.TempDir()
	ready := filepath.Join(dir, "ready.json")
	p := natstest.StartProcess(b.t, b.env, filepath.Join(binDir(b.t), "accountd"), "resolver",
		"--operator", filepath.Join(b.data, "stores/acme/acme.jwt"), "--system-creds", b.userCreds("SYS", "accountd"),
		"--servers", b.server[0].URL+","+b.server[1].URL, "--store", "bolt:"+filepath.Join(dir, "accountd.db"),
		"--http", "off", "--ready-file", ready)
	natstest.Eventually(b.t, patience, func() error {
		if _, err := os.Stat(ready); err != nil {
			return fmt.Errorf("%w\n%s", err, p.Output())
		}
		if r := b.run("nsc", "servers", "list"); r.code != 0 || strings.Count(r.out, "healthy") != 2 {
			return fmt.Errorf("servers: %s", r)
		}
		return nil
	})
	return p
}
