package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
)

func TestGenerateContext(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.ok("edit", "operator", "--service-url", "nats://localhost:4222")
	file := filepath.Join(p.dir, "config/nats/context/app-one.json")
	p.unchanged(func() {
		p.ok("generate", "context", "app-one", "-a", "app", "-u", "one", "--dry-run")
		p.run("generate", "context", "a/b", "-a", "app").exits(2)
		p.run("generate", "context", "-a", "app").exits(2).complains("the context's name is missing")
		p.run("generate", "context", "x", "-a", "app", "-u", "two").exits(3)
	})
	p.ok("generate", "context", "--context", "app-one", "-a", "app")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got["nsc"] != "nsc://acme/app/one" || got["url"] != "nats://localhost:4222" || got["creds"] != p.credsFile("app", "one") {
		t.Errorf("%s", data)
	}
	p.run("generate", "context", "app-one", "-a", "app").exits(5).complains("exists already")
	p.ok("generate", "context", "app-one", "-a", "app", "--force")
}

func TestGenerateProfile(t *testing.T) {
	t.Parallel()
	p := served(t)
	type entry struct{ Service, Name, Seed, ID any }
	var got struct {
		Creds    string `json:"user_creds"`
		Operator *entry
		Account  *entry
		User     *entry
	}
	doc, _ := p.user("app", "one")
	p.ok("generate", "profile", "nsc://ACME/app/one").json(&got)
	if got.Creds != p.credsFile("app", "one") || got.Operator == nil || got.Account != nil || got.User != nil {
		t.Errorf("%+v", got)
	}
	p.ok("generate", "profile", "nsc://acme/app/"+doc.Subject+"?names&userKey").json(&got)
	if got.Operator.Name != "acme" || got.Account.Name != "app" || got.User.Name != "one" || got.User.ID != doc.Subject || got.User.Seed != nil {
		t.Errorf("%+v", got)
	}
	seed, err := p.store().Keystore().Seed(doc.Subject)
	if err != nil {
		t.Fatal(err)
	}
	p.ok("generate", "profile", "nsc://acme/app/one?seed").json(&got)
	if got.User.Seed != string(seed) || got.Account.Seed != nil {
		t.Errorf("the seed of the user alone: %+v", got)
	}
	p.ok("generate", "profile", "nsc://acme/app/one?seeds", "-o", "p.json")
	if info, err := os.Stat(filepath.Join(p.dir, "p.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	p.unchanged(func() { p.run("generate", "profile", "nsc://acme/app/one", "-o", "p.json").exits(5) })
	app, _ := p.account("app")
	p.ok("generate", "profile", "nsc://acme/app?accountSeed="+app.Subject).says("SA")
	p.run("generate", "profile", "nsc://acme/app?accountSeed="+doc.Subject).exits(3)

	elsewhere := alone(t)
	elsewhere.ok("generate", "profile", "nsc://acme/app/one?store="+filepath.Join(p.dir, "data/nats/nsc/stores")+"&keystore="+filepath.Join(p.dir, "keys")).says(p.credsFile("app", "one"))
	p.unchanged(func() {
		p.run("generate", "profile", "acme/app").exits(2)
		p.run("generate", "profile", "nsc://").exits(2)
		p.run("generate", "profile", "nsc://a/b/c/d").exits(2)
		p.run("generate", "profile", "nsc://acme?nonsense").exits(2)
		p.run("generate", "profile", "nsc://acm").exits(3).complains(`did you mean "acme"?`)
		p.run("generate", "profile", "nsc://acme/app/two").exits(3)
	})
	p.tty = true
	p.run("generate", "profile", "nsc://acme/app/one?seed").exits(2).complains("seeds are secrets")
	p.ok("generate", "profile", "nsc://acme/app/one?seed", "--yes")
}

// mermaidLines is the form of a chart's lines, after the title.
var mermaidLines = regexp.MustCompile(`^(---|title: "[^"]*"|flowchart (LR|TB)|  classDef .*|  n\d+\(?\["[^"\[\]{}|<>]*(<br/>[^"\[\]{}|<>]*)*"\]\)?(:::broken)?|  n\d+ (-->|-\.->|---)(\|"[^"|<>\[\]{}]*"\|)? n\d+)$`)

func TestGenerateDiagram(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.ok("add", "account", "other")
	app, _ := p.account("app")
	other, _ := p.account("other")
	p.editAccount("app", func(c *jwt.AccountClaims) {
		c.Exports.Add(
			&jwt.Export{Name: `the "orders" #1 <b>`, Subject: "orders.>", Type: jwt.Stream},
			&jwt.Export{Subject: "ask", Type: jwt.Service, TokenReq: true})
	})
	p.editAccount("other", func(c *jwt.AccountClaims) {
		c.Imports.Add(
			&jwt.Import{Account: app.Subject, Subject: "orders.eu", LocalSubject: "eu", Type: jwt.Stream},
			&jwt.Import{Account: app.Subject, Subject: "ask", Type: jwt.Service},
			&jwt.Import{Account: app.Subject, Subject: "nothing", Type: jwt.Stream})
	})
	p.ok("edit", "signing-key", "-a", "app", "--sk", "generate", "--role", "r", "--allow-pub", "{{name()}}.>")
	p.ok("add", "user", "scoped", "-a", "app", "-K", "r")
	p.ok("revoke", "user", "one", "-a", "app")

	chart := p.ok("generate", "diagram", "component").says("orders.eu as eu", "dropped: the export is private", "no stream export covers it", "the #34;orders#34; #35;1 #60;b#62;").out
	all := p.ok("generate", "diagram", "object", "--users", "--show-keys", "--detail").says("role r", "scoped.#62;", "refused: the user was revoked", other.Subject).out
	if plain := p.ok("generate", "diagram", "object").out; strings.Contains(plain, app.Subject) || strings.Contains(plain, "user one") {
		t.Errorf("keys or users unasked:\n%s", plain)
	}
	for _, text := range []string{chart, all} {
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			if !mermaidLines.MatchString(line) {
				t.Errorf("no line of a chart: %s", line)
			}
		}
	}
	p.ok("generate", "diagram", "component", "-o", "a.mmd")
	if data, err := os.ReadFile(filepath.Join(p.dir, "a.mmd")); err != nil || string(data) != chart {
		t.Errorf("%v\n%s", err, data)
	}
}
