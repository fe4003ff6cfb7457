package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
)

// served is a person with operator acme, account app with user one, and a
// system account.
func served(t *testing.T) *person {
	t.Helper()
	p := local(t)
	p.ok("add", "user", "one", "-a", "app")
	return p
}

// config runs nsc generate config and returns what it prints.
func (p *person) config(args ...string) string {
	p.t.Helper()
	return p.ok(append([]string{"generate", "config"}, args...)...).out
}

// creds is the path of a user's credentials.
func (p *person) credsFile(account, user string) string {
	p.t.Helper()
	path, err := p.store().Keystore().CredsPath(p.operatorName(), account, user)
	if err != nil {
		p.t.Fatal(err)
	}
	return path
}

// inFolder makes the folder of a generated configuration the test's.
func inFolder(t *testing.T, config string) string {
	t.Helper()
	return strings.ReplaceAll(config, `"./jwt"`, `"`+t.TempDir()+`"`)
}

// accepts checks that a server takes credentials, and echoes a message.
func accepts(t *testing.T, url, creds string) {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserCredentials(creds), nats.MaxReconnects(0), nats.Timeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("greeting")
	if err == nil {
		err = nc.Publish("greeting", []byte("hello"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(5 * time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestServersTakeTheMemoryConfig(t *testing.T) {
	t.Parallel()
	p := served(t)
	server := natstest.StartServer(t, p.config("--mem-resolver"))
	accepts(t, server.URL, p.credsFile("app", "one"))
	accepts(t, server.URL, p.credsFile("SYS", "sys"))

	dir := filepath.Join(t.TempDir(), "conf")
	p.ok("generate", "config", "--mem-resolver", "--dir", dir)
	text, err := os.ReadFile(filepath.Join(dir, "resolver.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"acme.jwt", "app.jwt", "SYS.jwt"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	accepts(t, natstest.StartServer(t, string(text)).URL, p.credsFile("app", "one"))
}

func TestServersTakeTheResolverConfigs(t *testing.T) {
	t.Parallel()
	p := served(t)
	full := natstest.StartServer(t, inFolder(t, p.config("--nats-resolver", "--allow-delete"))+"server_name: full\n")
	accepts(t, full.URL, p.credsFile("SYS", "sys"))
	p.pointTo(full.URL)
	p.ok("push", "-a", "app").says("full", "no proof")
	accepts(t, full.URL, p.credsFile("app", "one"))

	cache := natstest.StartServer(t, inFolder(t, p.config("--nats-resolver-cache")))
	accepts(t, cache.URL, p.credsFile("SYS", "sys"))
}

func TestServersTakeTheLeafConfig(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.ok("add", "account", "other")
	port := strconv.Itoa(natstest.FreePort(t))
	hub := natstest.StartServer(t, p.config("--mem-resolver")+"server_name: hub\nleafnodes { listen: \"127.0.0.1:"+port+"\" }\n")
	text := p.config("--leaf", "nats://127.0.0.1:"+port, "-a", "app")
	if other, _ := p.account("other"); strings.Contains(text, other.Subject) {
		t.Error("the leaf holds an account that it does not serve")
	}
	leaf := natstest.StartServer(t, text+"server_name: leaf\n")
	natstest.Eventually(t, 20*time.Second, leaf.Linked)
	accepts(t, leaf.URL, p.credsFile("app", "one"))

	at, err := nats.Connect(hub.URL, nats.UserCredentials(p.credsFile("app", "one")))
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	edge, err := nats.Connect(leaf.URL, nats.UserCredentials(p.credsFile("app", "one")))
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	if _, err := edge.Subscribe("ask", func(m *nats.Msg) { _ = m.Respond([]byte("from the edge")) }); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, 10*time.Second, func() error {
		_, err := at.Request("ask", nil, time.Second)
		return err
	})
}

// TestServersTakeTags: servers are tagged, for streams that are to lie on them.
func TestServersTakeTags(t *testing.T) {
	t.Parallel()
	p := served(t)
	for _, form := range []string{"--mem-resolver", "--nats-resolver"} {
		s := natstest.StartServer(t, inFolder(t, p.config(form, "--server-tag", "dedicated:app", "--server-tag", "eu")))
		var varz struct{ Tags []string }
		if err := s.Monitoring("/varz", &varz); err != nil || !slices.Equal(varz.Tags, []string{"dedicated:app", "eu"}) {
			t.Errorf("%s: %v, %v", form, varz.Tags, err)
		}
	}
}

// TestSharedOnly: a leaf node's user may do at the hub what the account shares,
// and nothing more.
func TestSharedOnly(t *testing.T) {
	t.Parallel()
	p := served(t)
	config := func(user string, more ...string) result {
		return p.run(append([]string{"generate", "config", "--leaf", "nats://hub:7422", "-a", "app", "-u", user, "--shared-only"}, more...)...)
	}
	config("one").exits(4).complains("user one of app could do at the hub", "publish >; receive >", "--template edge")
	p.ok("add", "role", "edge", "-a", "app", "--template", "edge")
	p.ok("add", "user", "edge", "-a", "app", "-K", "edge")
	config("edge").exits(0).says(`deny_imports: ["$JS.>","$KV.>","$O.>","$SYS.>"]`) // nothing is shared, nothing crosses
	p.ok("add", "export", "-a", "app", "-s", "stock.*")
	p.ok("add", "export", "-a", "app", "-s", "$KV.public.>")
	config("edge").exits(0).complains("not all that app shares crosses as user edge: it lacks publish $KV.public.>, stock.*")
	p.ok("edit", "role", "edge", "-a", "app", "--template", "edge")
	if r := config("edge", "--domain", "edge").exits(0).says(`deny_imports: ["$JS.>","$O.>","$SYS.>"]`, `domain: "edge"`); strings.Contains(r.err, "not all") {
		t.Error(r.err)
	}
	p.ok("edit", "role", "edge", "-a", "app", "--allow-pub", "secret")
	config("edge").exits(4).complains("publish secret", "nsc edit role edge -a app --template edge")
	config("edge", "--domain", "a b").exits(2)
	p.run("generate", "config", "--mem-resolver", "--shared-only").exits(2)
}

func TestGenerateConfigRefuses(t *testing.T) {
	t.Parallel()
	p := served(t)
	file := filepath.Join(p.dir, "server.conf")
	p.run("generate", "config").exits(2).complains("the kind of configuration is missing")
	p.run("generate", "config", "--mem-resolver", "--nats-resolver").exits(2)
	p.run("generate", "config", "--nats-resolver", "--dir", "x").exits(2)
	p.run("generate", "config", "--leaf", "hub:7422").exits(2).complains("no URL of a leaf-node listener")
	p.run("generate", "config", "--mem-resolver", "-a", "app").exits(2)
	p.run("generate", "config", "--mem-resolver", "--sys-account", "app").exits(7).complains("servers take only the system account")
	p.run("generate", "config", "--leaf", "nats://hub:7422", "-a", "SYS").exits(2).complains("is not linked unasked")
	if err := os.Remove(p.credsFile("app", "one")); err != nil {
		t.Fatal(err)
	}
	p.run("generate", "config", "--leaf", "nats://hub:7422", "-a", "app").exits(3).complains("nsc generate creds -a app -n one")
	p.ok("generate", "config", "--leaf", "nats://hub:7422", "-a", "app", "--creds", "/etc/edge.creds").says(`credentials: "/etc/edge.creds"`)

	p.unchanged(func() {
		p.ok("generate", "config", "--mem-resolver", "--config-file", file, "--dry-run").says("would write")
	})
	p.ok("generate", "config", "--mem-resolver", "--config-file", file)
	p.unchanged(func() {
		p.run("generate", "config", "--nats-resolver", "--config-file", file).exits(5).complains("exists already", "--force")
	})
	p.ok("edit", "operator", "--tag", "x")
	before, _ := os.ReadFile(file)
	p.ok("generate", "config", "--mem-resolver", "--config-file", file, "--force")
	if after, _ := os.ReadFile(file); string(after) == string(before) {
		t.Error("--force did not replace the file")
	}
	q := alone(t)
	q.ok("add", "operator", "bare")
	q.run("generate", "config", "--mem-resolver").exits(3).complains("nsc add account")
	q.run("generate", "config", "--nats-resolver").exits(7).complains("has no system account")
}

// TestServersTakeTheStaticConfig: without an operator, users prove their keys,
// and may do and share what their claims say.
func TestServersTakeTheStaticConfig(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.ok("edit", "signing-key", "-a", "app", "--sk", "generate", "--role", "r", "--allow-pub", "{{name()}}.out", "--allow-sub", ">")
	p.ok("add", "user", "scoped", "-a", "app", "-K", "r")
	p.ok("add", "user", "gone", "-a", "app")
	p.ok("revoke", "user", "gone", "-a", "app")
	p.ok("add", "account", "other")
	p.ok("add", "user", "reader", "-a", "other")
	app, _ := p.account("app")
	p.editAccount("app", func(c *jwt.AccountClaims) {
		c.Exports.Add(
			&jwt.Export{Subject: "*.out", Type: jwt.Stream},
			&jwt.Export{Subject: "ask", Type: jwt.Service, ResponseThreshold: time.Second},
			&jwt.Export{Subject: "secret", Type: jwt.Stream, TokenReq: true})
		c.Mappings = jwt.Mapping{"from": {{Subject: "scoped.out"}}}
		c.Limits.Conn = 10
	})
	p.editAccount("other", func(c *jwt.AccountClaims) {
		c.Imports.Add(
			&jwt.Import{Account: app.Subject, Subject: "*.out", LocalSubject: "app.$1", Type: jwt.Stream},
			&jwt.Import{Account: app.Subject, Subject: "ask", LocalSubject: "ask.app", Type: jwt.Service},
			&jwt.Import{Account: app.Subject, Subject: "secret", Type: jwt.Stream})
	})
	r := p.ok("generate", "config", "--nkey").complains("user gone of app is left out", "the import of secret is left out")
	if strings.Contains(r.out, "secret") {
		t.Error("a private export that nobody may use is in the configuration")
	}
	s := natstest.StartServer(t, r.out)
	dial := func(account, user string) (*nats.Conn, error) {
		doc, _ := p.user(account, user)
		file, err := p.store().Keystore().SeedPath(doc.Subject)
		if err != nil {
			t.Fatal(err)
		}
		option, err := nats.NkeyOptionFromSeed(file)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect(s.URL, option, nats.MaxReconnects(0), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err == nil {
			t.Cleanup(nc.Close)
		}
		return nc, err
	}
	if _, err := dial("app", "gone"); err == nil {
		t.Error("a revoked user connects")
	}
	if _, err := dial("SYS", "sys"); err != nil {
		t.Error(err)
	}
	reader, err := dial("other", "reader")
	if err != nil {
		t.Fatal(err)
	}
	scoped, err := dial("app", "scoped")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := reader.SubscribeSync("app.scoped")
	if err == nil {
		err = reader.Flush()
	}
	if err == nil {
		err = scoped.Publish("scoped.out", []byte("x"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(5 * time.Second); err != nil {
		t.Errorf("through the import: %v", err)
	}
	if err := scoped.Publish("other", nil); err != nil {
		t.Fatal(err)
	}
	if err := scoped.Flush(); err != nil || scoped.LastError() == nil {
		t.Errorf("a role's user publishes elsewhere: %v", err)
	}
	one, err := dial("app", "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Subscribe("ask", func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, 10*time.Second, func() error { _, err := reader.Request("ask.app", nil, time.Second); return err })
}
