package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/operator/nscstore"
)

// directory starts a stock server with a generated configuration and makes it
// the person's account server.
func (p *person) directory(flags ...string) *natstest.Server {
	p.t.Helper()
	config := p.config(append([]string{"--nats-resolver"}, flags...)...)
	s := natstest.StartServer(p.t, inFolder(p.t, config))
	p.pointTo(s.URL)
	return s
}

// TestStockServersWithoutAccountd: the official way to work with servers, push,
// pull, compare, remove and prune, works where there is no accountd.
func TestStockServersWithoutAccountd(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.ok("add", "account", "other")
	s := p.directory("--allow-delete")
	p.ok("push", "--diff").says("app", "only here", "1 account the same")
	p.ok("push", "--all").says("answered by 1 server, no proof")
	accepts(t, s.URL, p.credsFile("app", "one"))
	p.ok("push", "-D").says("3 accounts the same on both sides")

	q := p.twin()
	q.ok("env", "-s", filepath.Join(q.dir, "data/nats/nsc/stores"), "-o", "acme")
	q.ok("edit", "account", "app", "--tag", "theirs")
	p.ok("push", "--diff", "-a", "app").says("another version on the servers")
	p.ok("pull", "-a", "app")
	if _, ac := p.account("app"); !ac.Tags.Contains("theirs") {
		t.Errorf("tags %v", ac.Tags)
	}
	p.ok("edit", "account", "app", "--tag", "mine", "--no-push")
	p.ok("pull", "--all").says("local edits are not published")
	q.ok("edit", "account", "app", "--tag", "again")
	p.run("pull", "--all").exits(5).complains("app")
	p.ok("pull", "--all", "-F")
	if _, ac := p.account("app"); ac.Tags.Contains("mine") {
		t.Errorf("tags %v", ac.Tags)
	}

	q.ok("add", "account", "stray")
	stray, _ := q.account("stray")
	p.ok("push", "--diff").says("stray", "only on the servers")
	p.unchanged(func() {
		p.run("push", "--prune").exits(2).complains("1 account (stray) will be cut")
		p.ok("push", "--prune", "--dry-run").says("stray", "nothing was changed")
		p.run("push", "-R", "SYS", "--yes").exits(4).complains("is the system account")
		p.run("push", "-R", "nobody", "--yes").exits(3)
	})
	p.ok("push", "-P", "--yes").says("removed account stray", "answered by 1 server, no proof")
	p.ok("push", "-R", "app", "--yes").says("removed account app")
	if connects(t, s.URL, p.credsFile("app", "one")) {
		t.Error("a user of a removed account connects")
	}
	p.ok("push", "--diff").says("app", "only here", "2 accounts the same")
	p.run("push", "-R", stray.Subject, "--yes").exits(3).complains("no server has the account")
	p.ok("push", "-a", "app", "--prune", "--yes")

	r := p.run("push", "--diff", "--json")
	var diffs struct {
		Schema   int
		Accounts []struct{ Name, Key, State string }
	}
	if r.json(&diffs); diffs.Schema != 1 || len(diffs.Accounts) != 3 || diffs.Accounts[0].State != "same" {
		t.Errorf("%+v", diffs)
	}
	p.run("push", "-P", "-D").exits(2)
	p.run("push", "-A", "-a", "app").exits(2)
}

// TestServersThatTakeNoDeletions: the server and what to do are named.
func TestServersThatTakeNoDeletions(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.directory()
	p.ok("push", "-A")
	p.run("push", "-R", "app", "--yes").exits(8).complains("delete must be enabled", "--allow-delete")
}

// TestPullTrustsNobody: what a foreign operator signed, and what names another
// account, is not taken from a server.
func TestPullTrustsNobody(t *testing.T) {
	t.Parallel()
	p := served(t)
	s := p.directory()
	p.ok("push", "-A")
	foreign := alone(t)
	foreign.ok("add", "operator", "evil", "--sys")
	app, ac := p.account("app")
	_, oc := foreign.operatorClaims()
	seed, err := foreign.store().Keystore().Seed(oc.Subject)
	if err != nil {
		t.Fatal(err)
	}
	key, err := nkeys.FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	evil := jwt.NewAccountClaims(app.Subject)
	evil.Name, evil.Tags = ac.Name, jwt.TagList{"evil"}
	token, err := evil.Encode(key)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.URL, nats.UserCredentials(p.credsFile("SYS", "sys")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Request("$SYS.REQ.CLAIMS.UPDATE", []byte(token), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	p.unchanged(func() { p.run("pull", "--all", "-F").exits(7).complains("issued by") })
}

// TestPushWithoutSystemUser: a key of the system account is enough, as with the
// official tool.
func TestPushWithoutSystemUser(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.directory()
	p.ok("delete", "user", "sys", "-a", "SYS", "--force", "--no-push", "--revoke=false", "-C", "-D")
	p.ok("push", "--all").says("answered by 1 server")
	p.ok("pull", "--all")
	_, sys := p.account("SYS")
	if users, err := p.operator().Users("SYS"); err != nil || len(users) != 0 {
		t.Errorf("stored users: %v, %v", users, err)
	}
	for _, key := range append(sys.SigningKeys.Keys(), sys.Subject) {
		if err := p.store().Update(t.Context(), "acme", func(tx *nscstore.Tx) error { return tx.RemoveSeed(key) }); err != nil {
			t.Fatal(err)
		}
	}
	p.run("push", "--all").exits(4).complains("(system-user)", "nsc add user sys -a SYS")
}

func TestPushElsewhere(t *testing.T) {
	t.Parallel()
	p := served(t)
	s := p.directory()
	p.pointTo(deadURL(t))
	p.run("push", "-a", "app", "--timeout", "1s").exits(6)
	p.ok("push", "-a", "app", "-u", s.URL).says("no proof")
	p.ok("push", "-a", "app", "--account-jwt-server-url", s.URL, "--system-account", "SYS", "--system-user", "sys")
	p.run("push", "-a", "app", "-u", "nonsense").exits(2)
	p.run("push", "-a", "app", "--system-account", "nobody").exits(3)
	p.run("push", "-a", "app", "-u", s.URL, "--tls-curves", "P1").exits(2)
	p.run("push", "-a", "app", "-u", s.URL, "--ca-cert", "none.pem").exits(7).complains("none.pem")
	p.run("push", "-a", "app", "-u", s.URL, "--client-cert", "x.pem").exits(2)
	if err := os.WriteFile(p.dir+"/empty.pem", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("push", "-a", "app", "-u", s.URL, "--ca-cert", "empty.pem").exits(7).complains("holds no certificate")
}

// TestPruneWithAccountd: what accountd serves and the local store lacks goes,
// with a proof.
func TestPruneWithAccountd(t *testing.T) {
	t.Parallel()
	c := own(t)
	p := c.person(t)
	p.ok("add", "account", "keep")
	q := p.twin()
	q.ok("add", "account", "stray")
	p.ok("push", "--diff").says("stray", "only on the servers")
	p.ok("push", "--prune", "--yes").says("removed account stray", "refused everywhere")
	p.ok("push", "-R", "keep", "--yes").says("removed account keep", "refused everywhere")
	p.ok("status").says("2 tombstones")
	p.run("push", "-a", "keep").exits(4).complains("nsc restore account keep")
}

// TestStockCluster: every server of a cluster answers for itself.
func TestStockCluster(t *testing.T) {
	t.Parallel()
	p := served(t)
	ports := natstest.FreePorts(t, 3)
	var routes []string
	for _, port := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	var servers []*natstest.Server
	for i, port := range ports {
		servers = append(servers, natstest.StartServer(t, inFolder(t, p.config("--nats-resolver", "--allow-delete"))+
			fmt.Sprintf("server_name: s%d\ncluster { name: c, listen: \"127.0.0.1:%d\", routes: [%s] }\n", i, port, strings.Join(routes, ", "))))
	}
	natstest.Eventually(t, 20*time.Second, func() error { return joined(servers, 2) })
	p.pointTo(servers[0].URL)
	p.ok("push", "-A").says("s0", "s1", "s2", "answered by 3 servers")
	for _, s := range servers {
		accepts(t, s.URL, p.credsFile("app", "one"))
	}
	servers[2].Stop()
	natstest.Eventually(t, 20*time.Second, func() error { return joined(servers[:2], 1) })
	p.ok("edit", "account", "app", "--tag", "x").says("answered by 2 servers")
	p.ok("push", "-D").says("2 accounts the same")
	p.ok("push", "-R", "app", "--yes").says("answered by 2 servers")
	for _, s := range servers[:2] {
		if connects(t, s.URL, p.credsFile("app", "one")) {
			t.Error("a user of a removed account connects")
		}
	}
}

// joined says which server has routes to fewer than n others.
func joined(servers []*natstest.Server, n int) error {
	for _, s := range servers {
		var routez struct {
			Routes []struct {
				Name string `json:"remote_name"`
			}
		}
		if err := s.Monitoring("/routez", &routez); err != nil {
			return err
		}
		others := map[string]bool{}
		for _, r := range routez.Routes {
			others[r.Name] = true
		}
		if len(others) != n {
			return fmt.Errorf("%s has routes to %d servers, not %d", s.URL, len(others), n)
		}
	}
	return nil
}
