package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
)

func TestList(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u1", "-a", "app")
	p.ok("add", "user", "u2", "-a", "app")
	p.ok("revoke", "user", "u2", "-a", "app")
	app, _ := p.account("app")
	p.ok("list", "operators").says("NAME", "* acme", "ACCOUNT SERVER")
	p.ok("list", "account").says("* app", app.Subject, "SYS", "system account")
	p.ok("list", "users", "-a", app.Subject).says("u1", "u2", "revoked", "ROLE")
	var list []struct {
		Name string
		Key  string `json:"public_key"`
	}
	out := p.ok("list", "accounts", "--json").json(&list).out
	if len(list) != 2 || list[1].Name != "app" && list[0].Name != "app" || !strings.HasPrefix(out, "[\n {\n  \"name\": ") {
		t.Errorf("%s", out)
	}
	p.ok("list", "users", "-J", "-a", "app").json(&list)
	if len(list) != 2 || list[0].Name != "u1" {
		t.Errorf("%+v", list)
	}
	for _, args := range [][]string{{"list", "operators", "-o", "name"}, {"list", "accounts", "--output", "name"}, {"describe", "account", "SYS", "--output", "name"}} {
		if out := p.ok(args...).out; strings.Contains(out, " ") || strings.Contains(out, "NAME") {
			t.Errorf("%v: %q", args, out)
		}
	}
	p.ok("list", "accounts", "--output", "yaml").says("name: \"app\"", "public_key:")
	p.ok("describe", "account", "app", "--output", "yaml").says("sub: \"" + app.Subject)
	p.ok("describe", "account", "SYS", "--output", "wide").says("by signing key O")
	p.run("list", "accounts", "--output", "xml").exits(2)
	p.run("list", "users", "-a", "ap").exits(3).complains(`did you mean "app"`)
	p.run("list", "nosuch").exits(2)
}

// TestListChangesNothing: looking at another operator or account does not make
// it the current one.
func TestListChangesNothing(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "operator", "other")
	p.ok("select", "operator", "acme")
	p.unchanged(func() {
		p.ok("list", "accounts", "-o", "other").complains("operator other has no account")
		if out := p.ok("list", "accounts", "-o", "other", "-J").out; out != "[]\n" {
			t.Errorf("JSON of no account: %q", out)
		}
		p.run("list", "accounts", "-o", "othr").exits(3)
		p.ok("list", "users", "-a", "SYS").says("sys")
		p.ok("list", "keys", "--all").says("sys")
		p.ok("describe", "account", "SYS")
		p.ok("describe", "operator", "other")
	})
	p.ok("list", "operators").says("* acme")
}

// TestListWithADamagedClaim: the others are shown, the damaged one is named,
// and the exit code tells.
func TestListWithADamagedClaim(t *testing.T) {
	t.Parallel()
	p := local(t)
	file := filepath.Join(p.operator().Dir(), "accounts", "app", "app.jwt")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"list", "accounts"}, {"list", "accounts", "--json"}} {
		p.run(args...).exits(7).says("SYS", "app").complains("app.jwt")
	}
}

func TestListKeys(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	p.ok("generate", "nkey", "--user", "--store").says("user key stored")
	p.ok("list", "keys").says("acme", "operator signing", "app", "stored")
	p.ok("list", "keys", "--not-referenced").says("?")
	p.ok("list", "keys", "--users", "--account", "app").says("u ", "stored")
	p.run("list", "keys", "-S", "--not-referenced").exits(2)
	p.run("list", "keys", "--user", "nosuch").exits(3)
	var list []struct {
		Name, Pub, Seed, ExpectedKind string
		JWT                           []byte
		Path                          string `json:"key_path"`
	}
	p.ok("list", "keys", "-J", "--users", "--account", "app").json(&list)
	doc, _ := p.user("app", "u")
	if len(list) != 1 || list[0].Pub != doc.Subject || string(list[0].JWT) != doc.Token || list[0].Seed != "" || list[0].Path == "" {
		t.Errorf("%+v", list)
	}
	p.ok("list", "keys", "-J", "-S", "--filter", strings.ToLower(doc.Subject[10:20])).json(&list)
	if len(list) != 1 || !strings.HasPrefix(list[0].Seed, "SU") {
		t.Errorf("%+v", list)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("edit", "account", "app", "--conns", "5", "--js-disk-storage", "1GiB", "--allow-pub", "a.>", "--deny-sub", "b")
	p.ok("add", "user", "u", "-a", "app")
	app, _ := p.account("app")
	user, _ := p.user("app", "u")
	p.ok("describe", "operator").says("operator acme", "signing keys", "system", "SYS", "accounts      2: SYS, app")
	p.ok("describe", "account").says("account app  "+app.Subject, "limits        connections 5", "disk 1.0 GiB", "publish    a.>",
		"subscribe  everything but b", "users         1: u", "of operator acme", "no, only in the local store")
	p.ok("describe", "user", user.Subject).says("user u in app", "by the account's key", "as the account's default permissions say", "never")
	var claims map[string]any
	out := p.ok("describe", "account", "app", "--json").json(&claims).out
	if claims["sub"] != app.Subject || !strings.HasPrefix(out, "{\n \"iat\": ") {
		t.Errorf("%s", out)
	}
	if out := p.ok("describe", "account", "app", "--raw").out; out != app.Token+"\n" {
		t.Errorf("%q", out)
	}
	for path, want := range map[string]string{
		"sub": `"` + app.Subject + `"`, "nats.limits.conn": "5", "nats.limits.disk_storage": "1073741824", "nats.exports": "null",
		"nats.exports[0].name": "", "nats.default_permissions.pub.allow[0]": `"a.>"`, "nosuch.field": "null",
	} {
		if want == "" {
			p.run("describe", "account", "app", "-F", path).exits(3)
			continue
		}
		if out := p.ok("describe", "account", "app", "-F", path).out; out != want+"\n" {
			t.Errorf("%s: %q, want %s", path, out, want)
		}
	}
	p.run("describe", "account", "app", "-F", "nats.default_permissions.pub.allow[1]").exits(3).complains("1 element")
	p.run("describe", "account", "app", "-F", "a[").exits(2)
	p.run("describe", "account", "app", "-F", "a..b").exits(2)
	p.run("describe", "account", "app", "-F", "sub.x").exits(3)
	if raw := p.ok("describe", "account", "app", "--raw", "--json", "--long-ids").out; raw != app.Token+"\n" {
		t.Errorf("--raw: %q", raw)
	}
	p.run("describe", "account", "ap").exits(3).complains(`did you mean "app"`)
}

func TestDescribeFiles(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	app, _ := p.account("app")
	p.ok("describe", "account", "app", "--raw", "-o", "app.jwt").complains("wrote ./app.jwt")
	p.ok("describe", "account", "app", "--json", "--output-file", "app.json")
	for file, prefix := range map[string]string{"app.jwt": "-----BEGIN NATS ACCOUNT JWT-----\n" + app.Token, "app.json": "{"} {
		data, err := os.ReadFile(filepath.Join(p.dir, file))
		if err != nil || !strings.HasPrefix(string(data), prefix) {
			t.Errorf("%s: %v %q", file, err, data)
		}
		if info, err := os.Stat(filepath.Join(p.dir, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", file, info.Mode())
		}
	}
	p.ok("describe", "jwt", "-f", "app.jwt").says("account app", "limits")
	p.ok("generate", "creds", "-n", "u", "-o", "u.creds")
	p.ok("describe", "jwt", "-f", "u.creds").says("user u", "may", "publish and subscribe to everything")
	p.in = app.Token
	p.ok("describe", "jwt", "-f", "-", "-F", "name").says(`"app"`)
	p.in = "x.y.z"
	p.run("describe", "jwt", "-f", "-").exits(7)
	p.run("describe", "jwt", "-f", "app.json").exits(7)
	p.run("describe", "jwt", "-f", "nosuch").exits(3)
	p.run("describe", "jwt").exits(2)
	p.run("describe", "account", "app", "-o", "no/such/folder/x").exits(4)
	if err := os.WriteFile(filepath.Join(p.dir, "forged.jwt"), []byte(app.Token[:len(app.Token)-4]+"AAAA"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("describe", "jwt", "-f", "forged.jwt").exits(7).complains("not signed by its issuer")
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	doc, _ := p.user("app", "u")
	stored, err := p.store().Keystore().Creds("acme", "app", "u")
	if err != nil {
		t.Fatal(err)
	}
	if out := p.ok("generate", "creds", "-a", "app", "-n", "u").out; out != string(stored)+"\n" {
		t.Errorf("%q", out)
	}
	p.ok("generate", "creds").says(doc.Token)
	p.ok("revoke", "user", "u", "-a", "app")
	p.ok("generate", "creds", "u").complains("servers refuse user u: revoked")
	p.run("generate", "creds", "-n", "v").exits(3).complains("v")
	p.run("generate", "nkey").exits(2).complains("--operator, --account, --user or --curve")
	seeds := p.seedCount()
	lines := strings.Split(p.ok("generate", "nkey", "-o", "-a", "-u", "-x").out, "\n")
	for i, prefix := range []string{"SO", "O", "", "SA", "A", "", "SU", "U", "", "SX", "X", ""} {
		if !strings.HasPrefix(lines[i], prefix) {
			t.Errorf("line %d: %q, want it to begin with %s", i, lines[i], prefix)
		}
	}
	p.ok("generate", "nkey", "-u", "--store", "--dry-run")
	if p.seedCount() != seeds {
		t.Error("a seed was stored that should not be")
	}
	p.ok("generate", "nkey", "-a", "-x", "-S").says("account key stored", "curve key stored")
	if p.seedCount() != seeds+2 {
		t.Error("the seeds are not stored")
	}
}

// TestDescribeHoldsWhatTheClaimsSay: the JSON is the token's payload.
func TestDescribeHoldsWhatTheClaimsSay(t *testing.T) {
	t.Parallel()
	p := local(t)
	var ac jwt.AccountClaims
	ac.SigningKeys = jwt.SigningKeys{}
	if err := json.Unmarshal([]byte(p.ok("describe", "account", "SYS", "-J").out), &ac); err != nil {
		t.Fatal(err)
	}
	if _, want := p.account("SYS"); ac.String() != want.String() {
		t.Errorf("%s", ac.String())
	}
}
