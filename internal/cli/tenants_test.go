package cli_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
)

// locals are the subjects at which an account imports.
func locals(ac *jwt.AccountClaims) []string {
	var out []string
	for _, im := range ac.Imports {
		out = append(out, string(im.LocalSubject))
	}
	slices.Sort(out)
	return out
}

// TestImportAll: what tenants call the same is apart at who imports it, and
// stays so when they change what they export, are renamed, and go.
func TestImportAll(t *testing.T) {
	t.Parallel()
	p := local(t)
	for _, name := range []string{"platform", "coke", "pepsi"} {
		p.ok("add", "account", name)
	}
	imports := func(want ...string) {
		t.Helper()
		if _, ac := p.account("platform"); !slices.Equal(locals(ac), want) {
			t.Errorf("imported: %v, not %v", locals(ac), want)
		}
	}
	for _, name := range []string{"coke", "pepsi"} {
		p.ok("add", "export", "-a", name, "-s", "orders.>")
		p.ok("add", "export", "-a", name, "-s", "price.*", "--service")
	}
	p.ok("add", "export", "-a", "coke", "-s", "coke.news")
	p.ok("add", "export", "-a", "coke", "-s", "secret.>", "--private")
	p.ok("add", "export", "-a", "coke", "-s", "for.*.only", "--account-token-position", "2")
	p.ok("add", "import", "-a", "platform", "--src-account", "coke", "--all").complains("private and need a contract", "secret.>")
	p.ok("add", "import", "-a", "platform", "--src-account", "pepsi", "--all")
	me := p.accountKey("platform")
	imports("coke.for."+me+".only", "coke.news", "coke.orders.>", "coke.price.$1", "pepsi.orders.>", "pepsi.price.$1")
	p.ok("add", "import", "-a", "platform", "--src-account", "pepsi", "--all").says("nothing to change")
	p.ok("delete", "export", "-a", "coke", "-s", "for.*.only")
	p.ok("delete", "export", "-a", "coke", "-s", "coke.news")
	p.ok("add", "import", "-a", "platform", "--src-account", "coke", "--all")
	imports("coke.orders.>", "coke.price.$1", "pepsi.orders.>", "pepsi.price.$1")
	p.unchanged(func() {
		p.run("add", "import", "-a", "platform", "--all").exits(2)
		p.run("add", "import", "-a", "platform", "--src-account", "coke", "--all", "--remote-subject", "x").exits(2)
		p.run("delete", "import", "-a", "platform", "--all").exits(2)
		p.ok("delete", "account", "coke", "--dry-run").says("imported by: 1: platform")
	})
	p.ok("add", "import", "-a", "app", "--src-account", "pepsi", "--remote-subject", "orders.>", "--local-subject", "coke.orders.>").
		complains("in the namespace of account coke")
	p.ok("rename", "account", "coke", "cola", "--OK").says("account platform imports it below cola now")
	imports("cola.orders.>", "cola.price.$1", "pepsi.orders.>", "pepsi.price.$1")
	p.ok("edit", "account", "cola", "--namespace", "drinks.cola").says("account platform imports it below drinks.cola now")
	imports("drinks.cola.orders.>", "drinks.cola.price.$1", "pepsi.orders.>", "pepsi.price.$1")
	p.ok("delete", "account", "cola", "--yes").says("account platform imports it no more")
	imports("pepsi.orders.>", "pepsi.price.$1")
	p.ok("delete", "import", "-a", "platform", "--src-account", "pepsi", "--all")
	imports()
}

// TestEqualSubjectsNeverMeet: on servers, one account that imports two tenants
// hears each below its own namespace alone, and asks each its own service.
func TestEqualSubjectsNeverMeet(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	for _, name := range []string{"pfm", "dr-pepper", "fanta"} {
		p.ok("add", "account", name)
	}
	tenants := map[string]*nats.Conn{}
	for _, name := range []string{"dr-pepper", "fanta"} {
		p.ok("add", "export", "-a", name, "-s", "orders.*")
		p.ok("add", "export", "-a", name, "-s", "price.*", "--service")
		p.ok("add", "import", "-a", "pfm", "--src-account", name, "--all").says("in force on 3 of 3 nodes")
		nc := p.connect(name)
		if _, err := nc.Subscribe("price.*", func(m *nats.Msg) { _ = m.Respond([]byte(name)) }); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		tenants[name] = nc
	}
	platform := p.connect("pfm")
	all, err := platform.SubscribeSync(">")
	if err == nil {
		err = platform.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	hears := func(want string) {
		t.Helper()
		for {
			msg, err := all.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatalf("%s: %v", want, err)
			}
			if msg.Subject == want {
				break
			}
			if msg.Header.Get("of") != "" {
				t.Errorf("heard %s, not %s", msg.Subject, want)
			}
		}
	}
	for name, nc := range tenants {
		msg := nats.NewMsg("orders.new")
		msg.Header.Set("of", name)
		if err := nc.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
		hears(name + ".orders.new")
		answer, err := platform.Request(name+".price.get", nil, 10*time.Second)
		if err != nil || string(answer.Data) != name {
			t.Errorf("the price of %s: %v, %v", name, answer, err)
		}
	}
	p.run("delete", "account", "fanta", "--yes").exits(4).complains("pfm")
	p.ok("rename", "account", "fanta", "sprite", "--OK").says("account pfm imports it below sprite now")
	msg := nats.NewMsg("orders.new")
	msg.Header.Set("of", "sprite")
	if err := tenants["fanta"].PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	hears("sprite.orders.new")
	p.ok("delete", "account", "sprite", "--yes", "--force").says("account pfm imports it no more")
	if _, ac := p.held("pfm"); len(ac.Imports) != 2 {
		t.Errorf("imports: %v", locals(ac))
	}
}

// TestRenameReachesAll: the imports of others follow an account to its new name, by
// contracts too and in accounts that the store of who renames it has never seen.
func TestRenameReachesAll(t *testing.T) {
	t.Parallel()
	p := own(t).person(t)
	p.ok("add", "account", "coke")
	p.ok("add", "export", "-a", "coke", "-s", "news.*")
	twin := p.twin()
	p.ok("add", "account", "pepsi")
	p.ok("add", "import", "-a", "pepsi", "--src-account", "coke", "--all")
	p.ok("offer", "--from", "coke", "--to", "pepsi", "--subject", "price.*", "--service")
	p.ok("accept", p.contract("offered").ID)
	from, to := p.connect("coke"), p.connect("pepsi")
	hears := func(subject, publish string) {
		t.Helper()
		sub, err := to.SubscribeSync(subject)
		if err == nil {
			err = to.Flush()
		}
		if err == nil {
			err = from.Publish(publish, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sub.NextMsg(10 * time.Second); err != nil {
			t.Errorf("%s: %v", subject, err)
		}
	}
	hears("coke.news.a", "news.a")
	twin.ok("pull", "-a", "coke")
	twin.ok("delete", "account", "coke", "--dry-run").says("imported by: 1: pepsi")
	twin.ok("rename", "account", "coke", "cola", "--OK").says("account pepsi imports it and was pulled", "account pepsi imports it below cola now")
	if _, ac := p.held("pepsi"); !slices.Equal(locals(ac), []string{"cola.news.$1", "cola.price.$1"}) {
		t.Errorf("imports: %v", locals(ac))
	}
	p.ok("pull", "--all")
	p.ok("contracts", "list").says("active", "cola.price.$1")
	hears("cola.news.a", "news.a")
}
