package cli_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// sharing is a person with accounts app and shop, of which shop is the current
// one.
func sharing(t *testing.T) *person {
	t.Helper()
	p := local(t)
	p.ok("add", "account", "shop")
	return p
}

// TestExportsSayWhatTheyDoToImporters: what nothing exports is said at once, by
// name, in a dry run as well, and near names help.
func TestExportsSayWhatTheyDoToImporters(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("add", "import", "-a", "shop", "--src-account", "app", "--remote-subject", "price.get", "--service", "--local-subject", "app.price").
		says("import price.get in shop", "from app", "finding: account shop: import of price.get from app: no service export covers it")
	p.ok("add", "export", "-a", "app", "-s", "price.*", "--service", "--latency", "lat", "--sampling", "header").
		says("export price.* in app", "undo: nsc delete export -a app -s 'price.*'")
	p.ok("describe", "account", "shop").says("service  price.get from app as app.price")
	p.unchanged(func() {
		r := p.ok("delete", "export", "-a", "app", "--dry-run").
			says("service export price.* in app", "finding: account shop: import of price.get from app: no service export covers it", "nothing was changed")
		if strings.Contains(r.out, "account app:") {
			t.Error("app itself has a finding")
		}
		p.ok("edit", "export", "-a", "app", "--private", "--dry-run").says("finding: account shop: import of price.get from app: the export is private")
		p.ok("edit", "export", "-a", "app", "--response-type", "singleton").says("nothing to change")
		p.run("edit", "export", "-a", "app").exits(2).complains("nothing to change")
		p.run("edit", "export", "-a", "app", "-s", "price.x", "--name", "x").exits(3).complains("did you mean", "price.*")
		p.run("edit", "export", "-a", "app", "--latency", "x", "--rm-latency-sampling").exits(2)
		p.run("add", "export", "-a", "app", "-s", "price.get", "--service").exits(5).complains("overlaps", "nsc edit export -a app -s 'price.*'")
		p.run("add", "export", "-a", "app").exits(2)
		p.run("add", "export", "-a", "app", "-s", "x", "--sampling", "often").exits(2)
		p.run("add", "import", "--src-account", "apq", "--remote-subject", "x").exits(3).complains(`did you mean "app"`)
		p.run("add", "import", "--src-account", "shop", "--remote-subject", "x").exits(7).complains("from itself")
		p.run("add", "import").exits(2)
		p.run("delete", "import", "-a", "shop", "-s", "price.gt").exits(3).complains("did you mean", "price.get")
		p.run("delete", "import", "-a", "app").exits(3)
	})
	var rec struct {
		Outcome  string
		Findings []string
		Changes  []string
	}
	p.ok("delete", "export", "-a", "app", "--json").json(&rec)
	if rec.Outcome != "local" || len(rec.Findings) != 1 || len(rec.Changes) == 0 {
		t.Errorf("%+v", rec)
	}
}

// TestCycleIsAFinding: two services that import each other.
func TestCycleIsAFinding(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("add", "export", "-a", "app", "-s", "q", "--service")
	p.ok("add", "export", "-a", "shop", "-s", "q", "--service")
	p.ok("add", "import", "-a", "shop", "--src-account", "app", "--remote-subject", "q", "--service")
	p.ok("add", "import", "-a", "app", "--src-account", "shop", "--remote-subject", "q", "--service").
		says("finding: account app: import of q from shop: forms a cycle of imports")
	p.ok("describe", "account", "shop").says("service  q from app", "findings      import of q from app: forms a cycle of imports")
}

// TestActivation: made for a name, taken by it alone, revoked and made anew.
func TestActivation(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("add", "export", "-a", "app", "-s", "orders.>", "--private")
	p.ok("generate", "activation", "-a", "app", "-t", "shop", "-s", "orders.*", "--expiry", "90d", "-o", "o.jwt").says("activation of orders.* in app for shop  expires")
	info, err := os.Stat(filepath.Join(p.dir, "o.jwt"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	p.ok("describe", "jwt", "-f", "o.jwt").says("allows        import of stream orders.*")
	p.unchanged(func() {
		p.run("generate", "activation", "-a", "app").exits(2)
		p.run("generate", "activation", "-a", "shop", "-t", "app").exits(3).complains("has no private export", "nsc add export --private")
		p.run("generate", "activation", "-a", "app", "-t", "shop", "-s", "orders").exits(3)
		p.run("generate", "activation", "-a", "app", "-t", "shop", "--push").exits(2).complains("no account server")
		p.ok("generate", "activation", "-a", "app", "-t", "shop", "-o", "x.jwt", "--dry-run").says(`+ nats.subject: "orders.>"`, "nothing was changed")
		p.run("add", "import", "-a", "app", "--token", "o.jwt").exits(7).complains("is for account shop", "activation-account", "nsc generate activation")
		p.run("add", "import", "-a", "shop", "--token", "o.jwt", "--service").exits(2)
		p.run("add", "import", "-a", "shop", "--token", "nosuch.jwt").exits(3)
		p.run("add", "import", "-a", "shop", "--token", "https://example.com/o.jwt").exits(2).complains("curl -O")
	})
	p.ok("add", "import", "-a", "shop", "--token", "o.jwt", "--local-subject", "app.orders.$1").says("import orders.* in shop")
	p.ok("describe", "account", "shop").says("orders.* from app as app.orders.$1  by activation")
	p.ok("revocations", "add_activation", "-a", "app", "-t", "shop").
		says("revocation of activations of the stream export orders.> in app", "+ nats.exports.stream orders.>.revocations.shop",
			"finding: account shop: import of orders.* from app: its activation is revoked", "undo: nsc revocations delete_activation -a app -s 'orders.>' -t shop")
	p.ok("describe", "account", "app").says("private  revoked for shop")
	p.ok("revocations", "list-activations", "-a", "app").says("shop  A")
	var list struct {
		Export, Type string
		Revoked      []struct{ Name, Key string }
	}
	p.ok("revocations", "list_activations", "-a", "app", "--json").json(&list)
	if list.Export != "orders.>" || list.Type != "stream" || len(list.Revoked) != 1 || list.Revoked[0].Name != "shop" {
		t.Errorf("%+v", list)
	}
	p.ok("delete", "import", "-a", "shop")
	p.run("add", "import", "-a", "shop", "--token", "o.jwt").exits(4).complains("activation-revoked")
	p.in = p.ok("generate", "activation", "-a", "app", "-t", "shop").out
	p.ok("add", "import", "-a", "shop", "--token", "-") // in the second of the revocation, and not refused
	p.run("revocations", "add_activation", "-a", "app", "-s", "orders.>").exits(2)
	p.run("revocations", "add_activation", "-a", "app", "-t", "shop", "--at", "2100-01-01T00:00:00Z").exits(2)
	p.ok("revocations", "delete_activation", "-a", "app", "-t", "shop")
	p.run("revocations", "list_activations", "-a", "app").exits(3).complains("has no revoked activations")
}

// TestActivationJSON: the token is part of the receipt where it has no file.
func TestActivationJSON(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("add", "export", "-a", "app", "-s", "q", "--private", "--service")
	p.ok("edit", "account", "app", "--sk", "generate")
	_, ac := p.account("app")
	key := ac.SigningKeys.Keys()[0]
	var rec struct{ Kind, Name, Account, Key, Outcome, JWT string }
	p.ok("generate", "activation", "-a", "app", "-t", "shop", "-K", key, "--json").json(&rec)
	shop, _ := p.account("shop")
	if rec.Kind != "activation" || rec.Name != "q" || rec.Account != "app" || rec.Key != shop.Subject || rec.Outcome != "issued" {
		t.Errorf("%+v", rec)
	}
	doc, act := decode[jwt.ActivationClaims](t, rec.JWT)
	if doc.Issuer != key || act.IssuerAccount != ac.Subject || act.ImportType != jwt.Service {
		t.Errorf("%+v", act)
	}
}

// TestActivationIsPushed: to an account server that keeps activations.
func TestActivationIsPushed(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("add", "export", "-a", "app", "-s", "q", "--private")
	var path, body string
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		path, body = r.URL.Path, string(data)
		w.WriteHeader(code)
	}))
	t.Cleanup(server.Close)
	p.ok("edit", "operator", "--account-jwt-server-url", server.URL+"/jwt/v1", "--no-push")
	p.ok("generate", "activation", "-a", "app", "-t", "shop", "--push", "-o", "a.jwt").says("stored at " + server.URL + "/jwt/v1/activations/")
	if doc, err := claims.Decode(body); err != nil || path != "/jwt/v1/activations" || doc.Type != claims.TypeActivation {
		t.Errorf("%s: %v", path, err)
	}
	code = http.StatusNotFound
	p.run("generate", "activation", "-a", "app", "-t", "shop", "--push", "-o", "b.jwt").exits(4).complains("keeps no activation: 404", "--output-file")
	if _, err := os.Stat(filepath.Join(p.dir, "b.jwt")); err == nil {
		t.Error("a refused activation was written")
	}
	server.Close()
	p.run("generate", "activation", "-a", "app", "-t", "shop", "--push").exits(6)
}

func TestMappingCommands(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("add", "mapping", "--from", "orders", "--to", "orders.v1", "--weight", "90").says("mapping of orders in shop")
	p.ok("add", "mapping", "-f", "orders", "-t", "orders.v2", "--weight", "10")
	p.ok("describe", "account", "shop").says("orders to orders.v1  90 %", "orders to orders.v2  10 %")
	p.unchanged(func() {
		p.ok("add", "mapping", "-f", "orders", "-t", "orders.v2", "--weight", "10").says("nothing to change")
		p.ok("delete", "mapping", "-f", "orders", "--dry-run").says("nothing was changed")
		p.run("add", "mapping", "-f", "orders", "-t", "orders.v3").exits(7).complains("200 %", "--weight")
		p.run("add", "mapping", "-f", "orders", "-t", "x", "--weight", "101").exits(2)
		p.run("add", "mapping", "-f", "orders").exits(2)
		p.run("delete", "mapping").exits(2)
		p.run("delete", "mapping", "-f", "order").exits(3).complains(`did you mean "orders"`)
		p.run("delete", "mapping", "-f", "orders", "--cluster", "eu").exits(3)
	})
	p.ok("delete", "mapping", "-f", "orders")
}

// TestAuthCallout: users and accounts by name, and no seed is left of a key that
// the claims do not name.
func TestAuthCallout(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("add", "user", "decider", "-a", "app")
	seeds := p.seedCount()
	p.unchanged(func() {
		p.ok("edit", "authcallout", "app", "--auth-user", "decider", "--curve", "generate", "--dry-run").says("new key", "nothing was changed")
		p.run("edit", "authcallout", "app", "--allowed-account", "shop", "--curve", "generate").exits(7).complains("no user that asks")
		p.run("edit", "authcallout", "app").exits(2)
		p.run("edit", "authcallout", "app", "--auth-user", "decidr").exits(3).complains("decider")
		p.run("edit", "authcallout", "app", "--auth-user", "decider", "--curve", "nosuch").exits(7)
		p.run("edit", "authcallout", "app", "--curve", "generate", "--rm-curve").exits(2)
		p.run("edit", "authcallout", "app", "--disable", "--curve", "generate").exits(2)
	})
	p.ok("edit", "authcallout", "app", "--auth-user", "decider", "--allowed-account", "shop", "--curve", "generate").says("curve key X", "nats.authorization.allowed_accounts: [\"shop\"]")
	user, _ := p.user("app", "decider")
	shop, _ := p.account("shop")
	_, ac := p.account("app")
	a := ac.Authorization
	if len(a.AuthUsers) != 1 || a.AuthUsers[0] != user.Subject || len(a.AllowedAccounts) != 1 || a.AllowedAccounts[0] != shop.Subject {
		t.Errorf("%+v", a)
	}
	if p.seedCount() != seeds+1 || !p.store().Keystore().HasSeed(a.XKey) {
		t.Error("the keystore does not hold the seed of the curve key, or others")
	}
	p.ok("describe", "account", "app").says("asks decider who connects, to shop, encrypted for " + keys.Short(a.XKey))
	p.ok("edit", "authcallout", "app", "--rm-allowed-account", "shop", "--allowed-account", "*")
	p.run("edit", "authcallout", "app", "--rm-allowed-account", "shop").exits(3)
	curve, err := keys.NewCurve()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "x.nk"), curve.Seed(), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("edit", "authcallout", "app", "-x", string(curve.Seed())).exits(2).complains("does not belong on the command line")
	p.ok("edit", "authcallout", "app", "-x", "x.nk")
	if _, ac := p.account("app"); ac.Authorization.XKey != curve.PublicKey() || p.store().Keystore().HasSeed(curve.PublicKey()) {
		t.Errorf("%+v, or the given seed was stored", ac.Authorization)
	}
	p.ok("edit", "authcallout", "app", "--disable")
	p.ok("edit", "authcallout", "app", "--disable").says("nothing to change")
}

// TestSharingIsInForce: a private stream flows once it is imported by its
// activation, and stops when that is revoked; what nothing exports is refused.
func TestSharingIsInForce(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "sh1")
	p.ok("add", "account", "sh2")
	p.unchanged(func() {
		p.run("add", "import", "-a", "sh2", "--src-account", "sh1", "--remote-subject", "orders.eu").exits(4).
			complains("no stream export covers it", "incomplete", "--allow-incomplete")
	})
	p.ok("add", "export", "-a", "sh1", "-s", "orders.>", "--private").says("revision 2", "in force on 3 of 3 nodes")
	p.ok("generate", "activation", "-a", "sh1", "-t", "sh2", "-o", "o.jwt")
	p.ok("add", "import", "-a", "sh2", "--token", "o.jwt", "-s", "sh1.>").says("in force on 3 of 3 nodes")
	from, to := p.connect("sh1"), p.connect("sh2")
	sub, err := to.SubscribeSync("sh1.>")
	if err != nil {
		t.Fatal(err)
	}
	receives := func(want bool) {
		t.Helper()
		for _, step := range []func() error{to.Flush, func() error { return from.Publish("orders.eu", nil) }, from.Flush, to.Flush} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		pending, _, err := sub.Pending()
		if err != nil || (pending > 0) != want {
			t.Fatalf("%d messages, %v; wanted some: %v", pending, err, want)
		}
		for range pending {
			if _, err := sub.NextMsg(time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	receives(true)
	p.run("delete", "export", "-a", "sh1").exits(4).complains("sh2")
	p.ok("revocations", "add_activation", "-a", "sh1", "-t", "sh2").says("in force on 3 of 3 nodes")
	receives(false)
	_, ac := p.held("sh1")
	if len(ac.Exports[0].Revocations) != 1 {
		t.Errorf("%+v", ac.Exports[0])
	}
	p.ok("edit", "export", "-a", "sh1", "--description", "orders")
	p.ok("revocations", "delete_activation", "-a", "sh1", "-t", "sh2").says("in force on 3 of 3 nodes")
	if _, ac := p.held("sh1"); len(ac.Exports[0].Revocations) != 0 || ac.Exports[0].Description != "orders" {
		t.Errorf("%+v", ac.Exports[0])
	}
	receives(true)
}

// connect connects to a server as a new user of an account.
func (p *person) connect(account string) *nats.Conn {
	p.t.Helper()
	p.ok("add", "user", "client", "-a", account)
	creds, err := p.store().Keystore().CredsPath(p.operatorName(), account, "client")
	if err != nil {
		p.t.Fatal(err)
	}
	nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(nc.Close)
	return nc
}
