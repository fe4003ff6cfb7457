package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
)

// put writes a file into the person's folder and returns its name.
func (p *person) put(name, content string) string {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return name
}

// storePath is the path of a file below the folder of operator acme.
func (p *person) storePath(name string) string {
	return filepath.Join(p.store().Dirs().Stores, "acme", name)
}

func TestImportAccount(t *testing.T) {
	t.Parallel()
	p, q := local(t), local(t)
	q.ok("add", "account", "theirs", "--expiry", "2040-01-01")
	theirs, _ := q.account("theirs")
	file := p.put("theirs.jwt", theirs.Token)
	p.unchanged(func() {
		p.run("import", "account").exits(2)
		p.run("import", "account", "--file", "nowhere").exits(3)
		p.run("import", "account", "--file", p.put("junk", "junk")).exits(7)
		p.run("import", "account", "--file", file).exits(7).complains("(chain)", "--force")
		p.ok("import", "account", "--file", file, "--force", "--dry-run").says("account theirs", "nothing was changed")
		if err := os.Remove(filepath.Join(p.dir, "junk")); err != nil {
			t.Fatal(err)
		}
	})
	p.ok("import", "account", "--file", file, "--force").says("account theirs")
	doc, ac := p.account("theirs")
	if _, oc := p.operatorClaims(); !oc.SigningKeys.Contains(doc.Issuer) || doc.Subject != theirs.Subject || ac.Expires != theirs.Expires {
		t.Errorf("imported %+v", doc)
	}
	p.run("import", "account", "--file", file, "--force").exits(5).complains("--overwrite")

	// What this operator signed is taken as it is, and is not signed again.
	old := p.put("old.jwt", doc.Token)
	p.ok("edit", "account", "theirs", "--conns", "5")
	p.ok("import", "account", "--file", old, "--overwrite")
	if now, _ := p.account("theirs"); now.Token != doc.Token {
		t.Error("the account was signed anew")
	}
	p.ok("import", "account", "--file", old).says("already so")

	// Another key under the same name, and the same key under another name.
	q.ok("add", "account", "other")
	other, _ := q.account("other")
	p.ok("import", "account", "--force", "--file", p.put("other.jwt", other.Token))
	q.ok("rename", "account", "theirs", "moved", "--OK")
	moved, _ := q.account("moved")
	p.run("import", "account", "--force", "--file", p.put("moved.jwt", moved.Token)).exits(5).complains(`is called "theirs" here`)
	q.ok("delete", "account", "other", "--yes")
	q.ok("add", "account", "other")
	again, _ := q.account("other")
	p.run("import", "account", "--force", "--overwrite", "--file", p.put("again.jwt", again.Token)).exits(5).complains("(same-subject)")

	// Servers would refuse it.
	q.ok("edit", "account", "moved", "--expiry", "2020-01-01")
	expired, _ := q.account("moved")
	file = p.put("expired.jwt", expired.Token)
	p.run("import", "account", "--force", "--file", file).exits(7).complains("it has expired", "--skip")
}

// TestImportAccountPublishes: an imported account is in force, and its users
// connect.
func TestImportAccountPublishes(t *testing.T) {
	t.Parallel()
	p, q := shared.get(t).person(t), local(t)
	q.ok("add", "account", "imported")
	q.ok("add", "user", "u", "-a", "imported")
	doc, _ := q.account("imported")
	p.ok("import", "account", "--force", "--file", p.put("a.jwt", doc.Token)).says("revision 1", "in force on 3 of 3 nodes")
	p.ok("import", "user", "--file", q.credsFile("imported", "u")).says("user u", "credentials:")
	p.connects("imported", "u")
	p.ok("rename", "account", "imported", "renamed", "--OK").says("renamed account imported to renamed", "in force on 3 of 3 nodes")
	p.connects("renamed", "u")
	if served, _ := p.held("renamed"); served.Name != "renamed" {
		t.Errorf("the servers hold %q", served.Name)
	}
	twin := p.twin()
	p.ok("edit", "account", "renamed", "--tag", "x")
	// A rename that was killed before it was published, which --no-push is as well.
	p.ok("rename", "account", "renamed", "halfway", "--OK", "--no-push")
	p.ok("pull", "-a", "halfway").says("local edits are not published")
	p.ok("pull", "-a", "halfway", "-F").says("gave up local edits", "called halfway here")
	p.connects("renamed", "u")
	twin.unchanged(func() {
		twin.run("rename", "account", "renamed", "third", "--OK").exits(5).complains("(conflict)", "nsc pull -a renamed --merge")
	})
}

func TestImportUser(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	app, _ := p.account("app")
	user, _ := p.user("app", "u")
	creds := p.put("u.creds", string(p.read(p.credsFile("app", "u"))))
	p.ok("delete", "user", "u", "-a", "app", "--revoke=false", "--rm-nkey", "--rm-creds")
	p.unchanged(func() { p.ok("import", "user", "--file", creds, "--dry-run") })
	p.ok("import", "user", "--file", p.put("u.jwt", user.Token)).says("user u")
	if p.store().Keystore().HasSeed(user.Subject) {
		t.Error("a JWT has no seed")
	}
	p.ok("import", "user", "--file", creds).says("credentials:")
	if !p.store().Keystore().HasSeed(user.Subject) || string(p.read(p.credsFile("app", "u"))) != string(p.read(filepath.Join(p.dir, creds))) {
		t.Error("the keystore lacks the key or the credentials")
	}
	p.ok("edit", "user", "u", "--account", "app", "--tag", "x")
	p.run("import", "user", "--file", creds).exits(5).complains("--overwrite")
	p.ok("import", "user", "--file", creds, "--overwrite")
	if now, _ := p.user("app", "u"); now.Token != user.Token {
		t.Error("the user was not replaced")
	}
	q := local(t)
	q.run("import", "user", "--file", filepath.Join(p.dir, creds)).exits(3).complains("nsc import account --file")
	p.run("import", "user", "--file", p.put("a.jwt", app.Token)).exits(7)
	p.ok("revoke", "user", "u", "-a", "app")
	p.ok("delete", "user", "u", "-a", "app", "--revoke=false")
	p.ok("import", "user", "--file", creds).complains("it is revoked")
}

func TestRenameAccount(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	p.ok("add", "account", "b")
	before, _ := p.account("app")
	user := string(p.read(p.credsFile("app", "u")))
	p.unchanged(func() {
		p.run("rename", "account", "app").exits(2)
		p.run("rename", "account", "app", "c").exits(2).complains("no terminal to ask")
		p.run("rename", "account", "app", "b", "--OK").exits(5)
		p.run("rename", "account", "ap", "c", "--OK").exits(3)
		p.run("rename", "account", "app", "a/b", "--OK").exits(7)
		p.run("rename", "account", "app", "APP", "--OK").exits(7).complains("(name-collision)")
		p.ok("rename", "account", "app", "c", "--dry-run").says(`+ name: "c"`)
	})
	p.ok("select", "account", "app")
	p.ok("rename", "account", "app", "c d", "--OK").says("renamed account app to c d", "local only")
	after, _ := p.account("c d")
	if after.Subject != before.Subject || after.Issuer != before.Issuer || string(p.read(p.credsFile("c d", "u"))) != user {
		t.Errorf("renamed %+v", after)
	}
	for _, gone := range []string{p.storePath("accounts/app"), filepath.Join(p.dir, "keys/creds/acme/app/u.creds")} {
		if _, err := os.Stat(gone); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	p.ok("add", "user", "v").says("c d") // still the current account
	p.ok("validate", "-A")
}

func TestReissueOperator(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.ok("add", "operator", "acme")
	p.ok("add", "account", "app")
	p.ok("add", "user", "u", "-a", "app")
	old, _ := p.operatorClaims()
	p.unchanged(func() {
		p.ok("reissue", "operator", "--dry-run").says("signed anew: account app", "nothing was changed")
		p.run("reissue", "operator").exits(2)
		p.run("reissue", "operator", "-K", "nowhere.nk", "--yes").exits(3)
		p.run("reissue", "operator", "-K", old.Subject, "--yes").exits(7).complains("is a key of operator")
	})
	p.ok("reissue", "operator", "--yes").says("signed anew: account app", "local only: servers and accountd trust the old root key")
	now, _ := p.operatorClaims()
	if doc, _ := p.account("app"); now.Subject == old.Subject || now.Issuer != now.Subject || doc.Issuer != now.Subject || !p.published("app").Unpublished {
		t.Errorf("operator %+v", now)
	}
	p.ok("validate", "-A")

	p.ok("reissue", "operator", "--yes", "--convert-to-signing-key")
	third, oc := p.operatorClaims()
	if doc, _ := p.account("app"); !slices.Equal(oc.SigningKeys, jwt.StringList{now.Subject}) || doc.Issuer != now.Subject {
		t.Errorf("operator %+v", oc)
	}
	p.ok("validate", "-A")

	// A key in a file is the key that is used.
	p.ok("generate", "nkey", "--operator", "--store")
	var list []struct{ Pub string }
	p.ok("list", "keys", "--not-referenced", "--operator", "--json").json(&list)
	list = slices.DeleteFunc(list, func(k struct{ Pub string }) bool { return k.Pub == old.Subject })
	seed, err := p.store().Keystore().Seed(list[0].Pub)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	p.ok("reissue", "operator", "--yes", "-K", p.put("root.nk", string(seed)))
	if doc, _ := p.operatorClaims(); doc.Subject != list[0].Pub || doc.Subject == third.Subject {
		t.Errorf("root %s, want %s", doc.Subject, list[0].Pub)
	}
}

// TestReissueIsRefusedWhereAccountdServes: it would take nothing from the new
// root key.
func TestReissueIsRefusedWhereAccountdServes(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.unchanged(func() { p.run("reissue", "operator", "--yes").exits(4).complains("--no-push") })
	p.pointTo(deadURL(t))
	p.unchanged(func() { p.run("reissue", "operator", "--yes", "--timeout", "1").exits(6).complains("--no-push") })
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	app, _ := p.account("app")
	p.ok("add", "operator", "new")
	p.unchanged(func() {
		p.run("migrate").exits(2)
		p.run("migrate", "--operator-dir", "nowhere").exits(3)
		p.run("migrate", "--operator-dir", p.storePath("../new")).exits(2)
		p.ok("migrate", "--operator-dir", p.storePath(""), "--dry-run").says("nothing was changed")
	})
	p.ok("migrate", "--operator-dir", p.storePath("")).says("account app")
	doc, _ := p.account("app")
	if names, _ := p.operator().Accounts(); doc.Subject != app.Subject || doc.Issuer == app.Issuer || !slices.Equal(names, []string{"app"}) {
		t.Errorf("accounts %v, %+v", names, doc)
	}
	p.user("app", "u")
	p.ok("validate", "-A")
	p.run("migrate", "--operator-dir", p.storePath("")).exits(5)
	p.ok("migrate", "--operator-dir", p.storePath(""), "--force")

	q := alone(t)
	q.ok("add", "operator", "third")
	q.run("migrate", "--url", q.put("app.jwt", app.Token)).exits(4).complains("the keystore has no key of account")
}

func TestFix(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	p.ok("export", "keys", "-d", "in", "-A", "--include-jwts")
	old, _ := p.account("app")
	later := p.now().Add(time.Minute)
	p.now = func() time.Time { return later }
	p.ok("edit", "account", "app", "--conns", "7")
	now, _ := p.account("app")
	p.ok("export", "keys", "-d", "in2", "-A", "--include-jwts")
	p.put("in/junk.jwt", "junk")
	p.put("in/twin.jwt", old.Token)
	p.run("fix", "--out", "f").exits(2)
	p.run("fix", "--in", "nowhere", "--out", "f").exits(3)
	p.run("fix", "--in", "in2/"+old.Subject+".nk", "--out", "f").exits(3).complains("no operator")
	p.ok("fix", "--in", "in,in2", "--out", "f", "--dry-run").says("1 operator, 2 accounts, 2 users, 7 keys")
	p.ok("fix", "--in", "in,in2", "--out", "f").says("1 operator, 2 accounts, 2 users, 7 keys").complains("left out: ", "junk.jwt")
	p.run("fix", "--in", "in", "--out", "f").exits(5)

	q := &person{t: t, dir: filepath.Join(p.dir, "f"), now: p.now}
	q.ok("env", "--store", filepath.Join(q.dir, "operators"))
	if doc, _ := q.account("app"); doc.Token != now.Token {
		t.Error("not the newest version")
	}
	if string(q.read(q.credsFile("app", "u"))) != string(p.read(p.credsFile("app", "u"))) {
		t.Error("the credentials differ")
	}
	q.ok("validate", "-A")
	q.ok("add", "account", "b")

	p.ok("fix", "--in", filepath.Dir(p.credsFile("app", "u")), "--in", "in", "--creds", "--out", "g").says("2 users, 7 keys")
}

// read returns the content of a file.
func (p *person) read(name string) []byte {
	p.t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

// connects checks that the servers take the credentials of a user.
func (p *person) connects(account, user string) {
	p.t.Helper()
	nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(p.credsFile(account, user)))
	if err != nil {
		p.t.Fatalf("user %s of %s: %v", user, account, err)
	}
	nc.Close()
}
