package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountd/accountd/internal/natstest"
)

// official runs the official nsc on the store of the cloud.
func (c *cloud) official(args ...string) result {
	c.t.Helper()
	return c.run(natstest.OfficialNSC(c.t), args...)
}

// says requires a command to exit with code and to print each text.
func says(t testing.TB, r result, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("expected exit code %d of %s", code, r)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Fatalf("expected %q of %s", text, r)
		}
	}
}

// TestOfficialToolsWorkThroughTheDoors: who uses the official nsc and the nats
// tool changes nothing, and a stale push is refused in words.
func TestOfficialToolsWorkThroughTheDoors(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	says(t, c.official("add", "account", "coke"), 0)
	says(t, c.official("push", "-a", "coke"), 0, "nats-2: jwt updated: revision 1", "a total of 3 nats-server")
	c.acceptedEverywhere(c.user("coke", "device"))

	c.plansAndRoles()

	stale := filepath.Join(t.TempDir(), "stale")
	if err := os.CopyFS(stale, os.DirFS(filepath.Join(c.dir, "nsc"))); err != nil {
		t.Fatal(err)
	}
	c.nsc("revoke", "user", "device", "-a", "coke")
	old := &cloud{t: t, dir: c.dir, env: append(c.env[:len(c.env):len(c.env)], "NSC_HOME="+stale, "NKEYS_PATH="+filepath.Join(stale, "keys"))}
	config := fmt.Sprintf(`{"store_root":%q,"operator":"dev","account":"coke"}`, filepath.Join(stale, "stores"))
	if err := os.WriteFile(filepath.Join(stale, "nsc.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, old.official("push", "-a", "coke"), 1, "(older)")
	says(t, old.official("edit", "account", "coke", "--tag", "x"), 0)
	says(t, old.official("push", "-a", "coke"), 1, "lacks 1 of the revocations", "(revocation)")
	c.refusedEverywhere(c.creds("coke", "device"))
	says(t, old.official("pull", "-A", "-F"), 0, `stored account "coke"`)
	says(t, old.official("push", "-a", "coke"), 0, "jwt updated: revision 2", "a total of 3 nats-server")

	says(t, c.nats("auth", "account", "query", "coke", "--operator", "dev"), 0, "coke")
	says(t, c.nats("auth", "account", "push", "coke", "--operator", "dev"), 0)
	says(t, c.official("delete", "account", "coke"), 0)
	says(t, c.official("push", "-P"), 0, "deleted 1 accounts")
	says(t, c.nsc("status"), 0, "2 tombstone")
	// What is kept of a deleted account's users is not seen by the official tool.
	c.nsc("add", "account", "gone")
	c.nsc("add", "user", "departed", "-a", "gone")
	says(t, c.nsc("delete", "account", "gone", "--yes"), 0, "brings them back: departed")
	r := c.official("list", "accounts")
	says(t, r, 0, "SYS")
	if strings.Contains(r.out+r.err, "gone") {
		t.Errorf("the deleted account is listed: %s", r)
	}
	says(t, c.official("validate", "--all-accounts"), 0)
	says(t, old.official("push", "-a", "coke"), 1, "(tombstone)")
}

// plansAndRoles: the official nsc keeps plans and issues users of a role.
func (c *cloud) plansAndRoles() {
	t := c.t
	t.Helper()
	c.nsc("add", "plan", "gold", "--conns", "100", "--js-tier", "3", "--js-disk-storage", "1G")
	c.nsc("add", "account", "shop", "--plan", "gold", "--confine")
	c.nsc("add", "role", "device", "-a", "shop", "--template", "device")
	says(t, c.official("edit", "account", "SYS", "--tag", "blue"), 0)
	says(t, c.official("push", "-a", "SYS"), 0, "jwt updated")
	says(t, c.official("edit", "account", "shop", "--tag", "green"), 0)
	says(t, c.official("push", "-a", "shop"), 0, "jwt updated")
	says(t, c.official("add", "user", "till", "-a", "shop", "-K", "device"), 0)
	c.acceptedEverywhere(c.creds("shop", "till"))
	c.nsc("pull", "--all")
	says(t, c.nsc("describe", "plan", "gold"), 0, "connections 100", "R3", "accounts      1: shop")
	says(t, c.nsc("describe", "role", "device", "-a", "shop"), 0, "users         1: till")
	c.nsc("delete", "account", "shop", "--yes")
}

// nats runs the official nats tool as the system user. It looks for the store in
// its own place only.
func (c *cloud) nats(args ...string) result {
	c.t.Helper()
	data := c.t.TempDir()
	if err := os.MkdirAll(filepath.Join(data, "nats"), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(c.dir, "nsc"), filepath.Join(data, "nats", "nsc")); err != nil {
		c.t.Fatal(err)
	}
	own := &cloud{t: c.t, dir: c.dir, env: append(c.env[:len(c.env):len(c.env)], "XDG_DATA_HOME="+data)}
	at := []string{"--server", c.ready.Nodes[0].URL, "--creds", c.creds("SYS", "sys")}
	return own.run(natstest.NatsCLI(c.t), append(at, args...)...)
}

// TestStockServerWithURLResolver: a stock server that fetches accounts over HTTP
// authenticates through accountd.
func TestStockServerWithURLResolver(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.nsc("add", "account", "app")
	creds := c.user("app", "one")
	stock := natstest.StartServer(t, fmt.Sprintf("operator: %q\nsystem_account: %s\nresolver: URL(%q)\n",
		filepath.Join(c.dir, "nsc/stores/dev/dev.jwt"), c.accountServed("SYS").Subject, c.ready.HTTP+"/jwt/v1/accounts/"))
	nc, err := tryDial(stock.URL, creds)
	if err != nil {
		t.Fatalf("through the account server: %v", err)
	}
	nc.Close()
	c.nsc("add", "account", "other")
	nc, err = tryDial(stock.URL, c.user("other", "two"))
	if err != nil {
		t.Fatalf("an account that came later: %v", err)
	}
	nc.Close()
	c.nsc("revoke", "user", "one", "-a", "app")
	fresh := natstest.StartServer(t, fmt.Sprintf("operator: %q\nsystem_account: %s\nresolver: URL(%q)\n",
		filepath.Join(c.dir, "nsc/stores/dev/dev.jwt"), c.accountServed("SYS").Subject, c.ready.HTTP+"/jwt/v1/accounts/"))
	if nc, err := tryDial(fresh.URL, creds); err == nil {
		nc.Close()
		t.Fatal("a revoked user connects")
	}
}

// TestNatsToolUsesTheContext: the nats tool connects with a generated context,
// for which it asks nsc for the profile.
func TestNatsToolUsesTheContext(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.nsc("add", "account", "app")
	c.user("app", "one")
	own := &cloud{t: t, dir: c.dir, env: append(c.env[:len(c.env):len(c.env)], "XDG_CONFIG_HOME="+t.TempDir())}
	says(t, own.run("nsc", "generate", "context", "app-one", "-a", "app", "-u", "one"), 0)
	says(t, own.run(natstest.NatsCLI(t), "--context", "app-one", "pub", "greeting", "hello"), 0, "Published")
	says(t, own.run(natstest.NatsCLI(t), "--context", "app-one", "account", "info"), 0, c.accountServed("app").Subject)
	says(t, own.run("nsc", "generate", "context", "app-one", "-a", "app", "-u", "one"), 5, "exists already")
}
