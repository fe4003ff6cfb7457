package cli_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/accounts"
)

// TestRoles: a role comes from a template, is changed, described and deleted;
// what would widen it is refused wherever it comes in.
func TestRoles(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.unchanged(func() {
		p.ok("add", "role", "device", "-a", "app", "--template", "device", "--dry-run").says("app.{{name()}}.>", "nothing was changed")
		p.run("add", "role", "device", "-a", "app", "--template", "devise").exits(3).complains(`did you mean "device"?`, "leaf")
		p.run("add", "role", "device", "-a", "app").exits(2).complains("nothing says what users of the role may do")
		p.run("add", "role", "device", "-a", "app", "--template", "device", "--by", "tag").exits(2)
		p.run("add", "role", "a/b", "-a", "app", "--template", "device").exits(7).complains("(role-name)")
		p.run("add", "role", "x", "-a", "app", "--allow-pub", "{{account-name()}}.>", "--allow-pub", "bad..subject").exits(7)
		p.run("add", "role", "x", "-a", "SYS", "--template", "device", "--confine").exits(4).complains("(system account)")
		p.run("edit", "role", "nobody", "-a", "app", "--subs", "1").exits(3)
	})
	p.ok("add", "role", "device", "-a", "app", "--template", "device").
		says("role device in app", "told apart by {{name()}} and {{subject()}}", "could publish to app.> and subscribe to _INBOX.{{subject()}}.>, app.>")
	p.run("add", "role", "device", "-a", "app", "--template", "device").exits(5).complains("(role-exists)")
	p.ok("add", "user", "d1", "-a", "app", "--role", "device")
	if user, _ := p.user("app", "d1"); user.Issuer == "" || user.Issuer == user.Subject {
		t.Errorf("signed by %s", user.Issuer)
	}
	p.run("add", "user", "d2", "-a", "app", "--role", "device", "-K", "device").exits(2)
	p.run("add", "user", "d2", "-a", "app", "--role", "device", "--bearer").exits(7).complains("nsc edit signing-key device -a app")
	p.unchanged(func() {
		for _, name := range []string{">", "a*", "a.b"} {
			p.run("add", "user", name, "-a", "app", "--role", "device").exits(7)
		}
		p.run("add", "user", "a.b", "-a", "app", "--role", "device").exits(7).complains("no literal token", "(literal)")
	})
	p.ok("edit", "role", "device", "-a", "app", "--allow-sub", "app.{{tag(site)}}.news", "--role", "thing")
	p.ok("edit", "user", "d1", "-a", "app", "--tag", "site:7")
	p.run("edit", "user", "d1", "-a", "app", "--tag", "site:>").exits(7).complains("(literal)")
	var view struct {
		Name     string
		Template jwt.UserPermissionLimits
		Reach    accounts.Reach
		Users    []string
	}
	p.ok("describe", "role", "thing", "-a", "app", "--json").json(&view)
	if view.Name != "thing" || !slices.Equal(view.Users, []string{"d1"}) || !slices.Contains(view.Template.Sub.Allow, "app.{{tag(site)}}.news") ||
		!slices.Equal(view.Reach.Functions, []string{"name()", "subject()", "tag(site)"}) {
		t.Errorf("described: %+v", view)
	}
	p.ok("list", "roles", "-a", "app").says("thing", "app.{{name()}}.>")
	p.ok("list", "roles", "-a", "app", "-o", "name").says("thing")
	p.ok("add", "role", "plain", "-a", "app", "--template", "service")
	p.ok("add", "user", "a.b", "-a", "app", "--role", "plain")
	p.unchanged(func() {
		p.run("edit", "role", "plain", "-a", "app", "--template", "device").exits(7).complains(`user "a.b"`, "(literal)")
		p.run("edit", "signing-key", "plain", "-a", "app", "--allow-pub", "x.{{name()}}").exits(7).complains("(literal)")
	})
	p.editAccount("app", func(ac *jwt.AccountClaims) { // by another tool
		key, _, err := accounts.KeyNamed(ac, "plain")
		if err != nil {
			t.Fatal(err)
		}
		accounts.RoleOf(ac, key).Template.Pub.Allow.Add("x.{{name()}}")
	})
	p.run("generate", "creds", "-a", "app", "-n", "a.b").exits(7).complains("(literal)")
	p.ok("edit", "role", "thing", "-a", "app", "--template", "dashboard").says("could publish to nothing and subscribe to app.>")
	p.ok("delete", "role", "thing", "-a", "app", "--yes").says("what it signed is refused")
	p.run("describe", "role", "thing", "-a", "app").exits(3)
}

// TestNamesOfAccountsUnderRoles: an account does not get a name or tag that
// widens a role of it.
func TestNamesOfAccountsUnderRoles(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "role", "r", "-a", "app", "--allow-pub", "{{account-name()}}.x,t.{{account-tag(region)}}.x", "--deny-sub", ">")
	p.ok("edit", "account", "app", "--tag", "region:eu")
	p.unchanged(func() {
		p.run("rename", "account", "app", "a.b", "--OK").exits(7).complains("(literal)")
		p.run("edit", "account", "app", "--tag", "region:*").exits(7).complains("(literal)")
	})
	p.ok("rename", "account", "app", "shop", "--OK")
	p.ok("add", "account", "two.parts", "--namespace", "two")
	p.run("add", "role", "r", "-a", "two.parts", "--allow-pub", "{{account-name()}}.x").exits(7).complains("(literal)")
}

// TestConfinedAccount: on real servers, a user of a confined account without a
// role is heard by nobody; one with a role is.
func TestConfinedAccount(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	const name, patience = "confined", 10 * time.Second
	p.ok("add", "account", name, "--confine")
	p.ok("add", "role", "svc", "-a", name, "--template", "service", "--confine")
	p.ok("add", "user", "nobody", "-a", name)
	p.ok("add", "user", "svc", "-a", name, "--role", "svc")
	dial := func(user string) (*nats.Conn, chan error) {
		errs := make(chan error, 8)
		nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(p.credsFile(name, user)),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc, errs
	}
	svc, _ := dial("svc")
	nobody, refused := dial("nobody")
	sub, err := svc.SubscribeSync(name + ".>")
	if err == nil {
		err = svc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, try := range []func() error{
		func() error { return nobody.Publish(name+".x", []byte("from nobody")) },
		func() error { _, err := nobody.SubscribeSync(">"); return err },
	} {
		if err := try(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-refused:
		case <-time.After(patience):
			t.Error("nothing was refused")
		}
	}
	if err := svc.Publish(name+".y", []byte("from svc")); err != nil {
		t.Fatal(err)
	}
	if msg, err := sub.NextMsg(patience); err != nil || string(msg.Data) != "from svc" {
		t.Errorf("heard %v, %v", msg, err)
	}
	p.ok("edit", "account", name, "--confine=false")
	p.ok("edit", "account", name, "--confine").complains("grants anything to these users: nobody")
}

// TestTagsOfDevicesAreLiteral: a fleet whose devices are told apart by a tag takes
// no tag that is more than a token.
func TestTagsOfDevicesAreLiteral(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "fleet", "f", "-a", "app", "--cohorts", "1", "--allow-pub", "site.{{tag(site)}}.>")
	p.run("issue", "--fleet", "f", "-a", "app", "--count", "2", "--tag", "site:>", "--out", "-").exits(7).complains("(literal)")
	p.ok("issue", "--fleet", "f", "-a", "app", "--count", "2", "--tag", "site:7", "--out", "-")
}

// TestRenameMovesNobody: a role has the namespace that its account had.
func TestRenameMovesNobody(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "role", "device", "-a", "app", "--template", "device")
	p.ok("rename", "account", "app", "shop", "--OK")
	_, ac := p.account("shop")
	key, _, err := accounts.KeyNamed(ac, "device")
	if err != nil || !slices.Equal(accounts.RoleOf(ac, key).Template.Pub.Allow, []string{"app.{{name()}}.>"}) {
		t.Errorf("%v: %+v", err, ac.SigningKeys)
	}
}
