package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// agreed is what contracts list --json says of a contract.
type agreed struct {
	ID, State, Reason, Type, From, To, Subject string
	Local                                      string `json:"local_subject"`
	Expires                                    int64
	Onward                                     []string
}

func (p *person) contracts(args ...string) []agreed {
	p.t.Helper()
	var list struct{ Contracts []agreed }
	p.ok(append([]string{"contracts", "list", "--json"}, args...)...).json(&list)
	return list.Contracts
}

// contract is the only one that the person knows of.
func (p *person) contract(state string) agreed {
	p.t.Helper()
	list := p.contracts()
	if len(list) != 1 || list[0].State != state {
		p.t.Fatalf("want one contract, %s, got %+v", state, list)
	}
	return list[0]
}

// TestContract: offered, accepted, renewed and closed where both sides are here.
func TestContract(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.unchanged(func() {
		p.ok("offer", "--from", "app", "--to", "shop", "--subject", "orders.*", "--dry-run").says("would be offered: contract", "token_req: true", "nothing was changed")
		p.run("offer", "--from", "app", "--to", "app", "--subject", "x").exits(7).complains("cannot import from itself")
		p.run("offer", "--from", "app", "--to", "shp", "--subject", "x").exits(3).complains(`did you mean "shop"`)
		p.run("offer", "--from", "app", "--to", "shop", "--subject", "x..y").exits(7)
		p.run("offer", "--from", "app", "--to", "shop", "--subject", "x", "-K", "nosuch").exits(3)
		p.run("offer", "--from", "app", "--subject", "x").exits(2)
		p.run("offer", "--from", "app", "--to", "shop").exits(2)
		p.run("accept", "nosuch").exits(3).complains("nsc contracts list")
		p.run("contracts", "close", "nosuch").exits(3)
	})
	p.ok("offer", "--from", "app", "--to", "shop", "--subject", "orders.*", "--expiry", "90d").says("accept it with: nsc accept ", "undo: nsc contracts close ")
	c := p.contract("offered")
	if c.From != "app" || c.To != "shop" || c.Subject != "orders.*" || c.Type != "stream" || c.Expires == 0 {
		t.Errorf("%+v", c)
	}
	p.ok("expirations").says("activation   ", "/app/offer "+c.ID)
	p.ok("accept", c.ID).says("stream orders.* of app for shop as app.orders.$1")
	p.ok("accept", c.ID).says("already so")
	p.ok("contracts", "show", c.ID[:4]).says("active", "expires       20")
	p.ok("contracts", "renew", c.ID, "--expiry", "0").says("never expires")
	if c = p.contract("active"); c.Expires != 0 || c.Local != "app.orders.$1" {
		t.Errorf("%+v", c)
	}
	p.run("contracts", "close", c.ID, "-a", "SYS").exits(2).complains("has no part in contract")
	p.ok("contracts", "close", c.ID, "-a", "app").says("closed by app: contract "+c.ID, "its activation is revoked")
	p.contract("revoked")
	p.ok("contracts", "renew", c.ID) // in the second of the revocation, and not refused
	p.contract("active")
	p.ok("contracts", "close", c.ID, "-a", "shop").says("closed by shop")
	p.contract("offered") // it is still app's word
	p.ok("accept", c.ID, "--local-subject", "in.$1")
	p.ok("contracts", "close", c.ID).says("closed by app", "closed by shop")
	if list := p.contracts(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// TestContractsOfOneExport: what is already shared in another way is said.
func TestContractsOfOneExport(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("add", "export", "-a", "app", "-s", "pub")
	p.run("offer", "--from", "app", "--to", "shop", "--subject", "pub").exits(5).complains("public-export", "nsc edit export -a app -s pub --private")
	p.ok("add", "export", "-a", "app", "-s", "q.>", "--private", "--service")
	p.ok("offer", "--from", "app", "--to", "shop", "--subject", "q.a", "--service").says("offered", "already so")
	p.ok("offer", "--from", "app", "--to", "shop", "--subject", "q.b", "--service")
	list := p.contracts("-a", "shop")
	p.ok("accept", list[0].ID)
	p.ok("contracts", "renew", list[0].ID, "--expiry", "2h").complains("do not notice", "nsc contracts close "+list[0].ID)
	p.ok("offer", "--from", "app", "--to", "shop", "--subject", "q.c", "--service", "--expiry", "2h", "--dry-run").
		complains("do not notice", "nsc contracts close ")
	p.ok("generate", "activation", "-a", "app", "-t", "shop", "-s", "q.c", "--start", "1h", "-o", filepath.Join(p.dir, "later.jwt"))
	p.ok("accept", filepath.Join(p.dir, "later.jwt"), "--dry-run").complains("accountd opens it", "nsc contracts renew ")
	p.run("accept", list[1].ID, "--local-subject", "app."+list[0].Subject).exits(5).complains("local-overlap", "--local-subject")
	p.ok("accept", list[1].ID)
	p.ok("add", "export", "-a", "shop", "-s", "app.q.*", "--service")
	for _, c := range p.contracts() {
		if len(c.Onward) != 1 || c.Onward[0] != "app.q.*" {
			t.Errorf("a service that is passed on does not show as such: %+v", c)
		}
	}
	p.ok("contracts", "show", list[0].ID).says("passed on", "shop exports it as app.q.*")
	p.ok("add", "account", "third")
	p.ok("add", "import", "-a", "third", "--src-account", "shop", "--remote-subject", "app.q.*", "--service", "--local-subject", "q.$1")
	p.run("verify", "isolation", "third", "app").exits(9).says("third -> app  service q.*", "third imports the service app.q.* of shop", "shop imports the service q.a of app")
	p.ok("contracts", "close", list[0].ID, "-a", "app").complains("this ended too: contract "+list[1].ID, "nsc contracts renew "+list[1].ID)
	p.ok("contracts", "renew", list[1].ID)
	for _, c := range p.contracts() {
		if want := map[string]string{list[0].ID: "revoked", list[1].ID: "active"}[c.ID]; c.State != want {
			t.Errorf("%s is %s, want %s", c.ID, c.State, want)
		}
	}
}

// TestContractAcrossStores: by a file and by a link; only for whom it is, and
// nobody takes the namespace of somebody else.
func TestContractAcrossStores(t *testing.T) {
	t.Parallel()
	p, q := sharing(t), alone(t)
	q.ok("add", "operator", "other")
	q.ok("add", "account", "buyer")
	buyer := q.accountKey("buyer")
	var rec struct{ JWT string }
	p.ok("offer", "--from", "app", "--to", buyer, "--subject", "orders.*", "-o", "offer.jwt", "--json").json(&rec)
	file := filepath.Join(p.dir, "offer.jwt")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(p.text("offer.jwt"), rec.JWT) {
		t.Fatalf("%v, %v", info, err)
	}
	p.run("accept", file).exits(3)
	p.run("accept", file, "-a", "shop").exits(7).complains("activation-account")
	q.ok("accept", file, "--dry-run").says("nothing was changed")
	q.ok("add", "account", "app")
	q.run("accept", rec.JWT).exits(4).complains("namespace", "--local-subject")
	q.ok("delete", "account", "app", "--yes")
	q.ok("accept", rec.JWT).says("as app.orders.$1")
	c := q.contract("active")
	if p.contract("offered").ID != c.ID {
		t.Error("the two sides name it differently")
	}
	q.run("contracts", "renew", c.ID).exits(4).complains("which alone can renew it")
	p.ok("contracts", "renew", c.ID, "--expiry", "2h", "-o", "again.jwt").says("written to again.jwt")
	q.ok("accept", filepath.Join(p.dir, "again.jwt"))
	if c = q.contract("active"); c.Expires == 0 || c.Local != "app.orders.$1" {
		t.Errorf("%+v", c)
	}
	q.now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	q.contract("expired")
	p.ok("contracts", "close", c.ID).says("closed by app")
	q.ok("contracts", "close", c.ID).says("closed by buyer")
}

// TestContractsRenewDue: what ends soon is renewed for as long as before, and
// nothing that has ended or ends later; somebody else's by what is handed over.
func TestContractsRenewDue(t *testing.T) {
	t.Parallel()
	p, q := sharing(t), alone(t)
	q.ok("add", "operator", "other")
	q.ok("add", "account", "buyer")
	for subject, life := range map[string]string{"soon": "2d", "later": "90d", "gone": "1h", "never": "0"} {
		p.ok("offer", "--from", "app", "--to", "shop", "--subject", subject, "--expiry", life)
	}
	for _, c := range p.contracts() {
		p.ok("accept", c.ID)
	}
	p.ok("offer", "--from", "app", "--to", q.accountKey("buyer"), "--subject", "orders.*", "--expiry", "2d", "-o", "offer.jwt")
	q.ok("accept", filepath.Join(p.dir, "offer.jwt"))
	p.now = func() time.Time { return time.Now().Add(36 * time.Hour) }
	ends := func() map[string]int64 {
		out := map[string]int64{}
		for _, c := range p.contracts() {
			out[c.Subject] = c.Expires
		}
		return out
	}
	before := ends()
	p.unchanged(func() {
		p.ok("contracts", "renew", "--due", "7d", "--dry-run").says("soon", "orders.*")
		p.run("contracts", "renew").exits(2)
		p.run("contracts", "renew", "x", "--due", "7d").exits(2)
		p.run("contracts", "renew", "--due", "soon").exits(2)
	})
	p.ok("contracts", "renew", "--due", "7d").says("soon of app", "orders.* of app", "the other side accepts it with: nsc accept ")
	after := ends()
	life := int64((48 * time.Hour).Seconds())
	for subject, was := range before {
		want := was
		if subject == "soon" || subject == "orders.*" {
			want = p.now().Unix() + life
		}
		if got := after[subject]; got < want-30 || got > want+30 {
			t.Errorf("%s ends at %d, want %d", subject, got, want)
		}
	}
	p.ok("contracts", "renew", "--due", "1d").complains("no contract ends until")
}

// flow is a subscriber of one account and a publisher of another.
type flow struct {
	t        *testing.T
	from, to *nats.Conn
	sub      *nats.Subscription
	subject  string
}

// arrives publishes and says whether it came.
func (f flow) arrives() bool {
	f.t.Helper()
	for _, step := range []func() error{f.to.Flush, func() error { return f.from.Publish(f.subject, nil) }, f.from.Flush, f.to.Flush} {
		if err := step(); err != nil {
			f.t.Fatal(err)
		}
	}
	n, _, err := f.sub.Pending()
	if err != nil {
		f.t.Fatal(err)
	}
	for range n {
		if _, err := f.sub.NextMsg(time.Second); err != nil {
			f.t.Fatal(err)
		}
	}
	return n > 0
}

// becomes requires that messages flow, or do not, within a second.
func (f flow) becomes(want bool) {
	f.t.Helper()
	for begin := time.Now(); f.arrives() != want; {
		if took := time.Since(begin); took > time.Second {
			f.t.Fatalf("after %s it flows: %v", took, !want)
		}
	}
}

// TestContractIsInForce: it opens one subject, to live subscriptions too, and
// either side closes it for them.
func TestContractIsInForce(t *testing.T) {
	t.Parallel()
	p := own(t).person(t)
	p.ok("add", "account", "coke")
	p.ok("add", "account", "pepsi")
	from, to := p.connect("coke"), p.connect("pepsi")
	sub, err := to.SubscribeSync("coke.>")
	if err != nil {
		t.Fatal(err)
	}
	orders := flow{t, from, to, sub, "orders.eu"}
	if orders.arrives() {
		t.Fatal("it flows before there is a contract")
	}
	p.ok("offer", "--from", "coke", "--to", "pepsi", "--subject", "orders.*").says("in force on 3 of 3 nodes")
	c := p.contract("offered")
	for _, by := range []string{"coke", "pepsi"} {
		p.ok("accept", c.ID).says("in force on 3 of 3 nodes")
		orders.becomes(true)
		orders.subject = "secret"
		if orders.arrives() {
			t.Error("more flows than was agreed")
		}
		orders.subject = "orders.eu"
		p.ok("contracts", "close", c.ID, "-a", by).says("in force on 3 of 3 nodes")
		orders.becomes(false)
		if by == "coke" {
			p.ok("contracts", "renew", c.ID).says("in force on 3 of 3 nodes")
		}
	}
	got := make(chan struct{}, 1)
	if _, err := from.Subscribe("price.get", func(m *nats.Msg) { got <- struct{}{}; _ = m.Respond(nil) }); err != nil {
		t.Fatal(err)
	}
	p.ok("offer", "--from", "coke", "--to", "pepsi", "--subject", "price.get", "--service")
	for _, s := range p.contracts() {
		if s.Type != "service" {
			continue
		}
		p.ok("accept", s.ID)
		if _, err := to.Request("coke.price.get", nil, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		<-got
		p.ok("contracts", "close", s.ID, "-a", "coke")
		if _, err := to.Request("coke.price.get", nil, 200*time.Millisecond); err == nil || len(got) > 0 {
			t.Errorf("answered after the contract was closed: %v", err)
		}
	}
}

// TestContractsAndEdgeRoles: a role of leaf nodes that was written for what an account
// shares is named when that changes, with the command that writes it anew.
func TestContractsAndEdgeRoles(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("add", "export", "-a", "shop", "-s", "sales.>")
	p.ok("add", "role", "edge", "-a", "shop", "--template", "edge")
	p.ok("add", "role", "wide", "-a", "shop", "--template", "leaf")
	const anew = "nsc edit role edge -a shop --template edge"
	p.ok("offer", "--from", "app", "--to", "shop", "--subject", "orders.*").silent(anew)
	id := p.contract("offered").ID
	p.ok("accept", id).complains(anew).silent("role wide")
	p.ok("edit", "role", "edge", "-a", "shop", "--template", "edge")
	p.ok("accept", id).silent(anew)
	p.ok("offer", "--from", "shop", "--to", "app", "--subject", "price.get", "--service").complains(anew)
	p.ok("edit", "role", "edge", "-a", "shop", "--template", "edge")
	p.ok("contracts", "close", id, "-a", "shop").complains(anew)
}
