package cli_test

import (
	"slices"
	"strings"
	"testing"
)

// TestListsOfWhatIsShared: exports with who imports them, imports with whom they
// are from and what servers do not honour, and mappings.
func TestListsOfWhatIsShared(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	for _, what := range []string{"exports", "imports", "mappings"} {
		p.ok("list", what, "-a", "app").complains("account app ", "nsc add "+strings.TrimSuffix(what, "s"), "-a app")
	}
	p.ok("add", "export", "-a", "app", "-s", "orders.*")
	p.ok("add", "export", "-a", "app", "-s", "price.get", "--service", "--private", "--latency", "lat", "--sampling", "20")
	p.ok("add", "import", "-a", "shop", "--src-account", "app", "--remote-subject", "orders.eu")
	p.ok("add", "import", "-a", "shop", "--src-account", "app", "--remote-subject", "bills")
	p.ok("offer", "--from", "app", "--to", "shop", "--subject", "price.get", "--service")
	id := strings.TrimSpace(p.ok("contracts", "list", "-o", "name").out)
	p.ok("accept", id)
	p.ok("add", "mapping", "-a", "app", "--from", "a", "--to", "b", "--weight", "20")
	p.ok("add", "mapping", "-a", "app", "--from", "a", "--to", "c", "--weight", "80", "--cluster", "eu")

	p.ok("list", "exports", "-a", "app").says("SUBJECT", "orders.*   stream   public   shop",
		"price.get  service  private  shop         latency of 20 % of requests to lat")
	p.ok("list", "imports").says("orders.eu  stream   app", "import of bills from app: no stream export covers it", "app.price.get  "+id+"  never")
	p.ok("list", "mappings", "-a", "app").says("a     b   20 %    all", "a     c   80 %    eu")
	if out := p.ok("list", "mappings", "-a", "app", "-o", "name").out; out != "a\n" {
		t.Errorf("names of mappings: %q", out)
	}

	var exports struct {
		Account string
		Exports []struct {
			Subject, Type string
			Private       bool
			Importers     []string
			Claims        struct {
				Latency struct{ Results string } `json:"service_latency"`
			}
		}
	}
	p.ok("list", "exports", "-a", "app", "-J").json(&exports)
	if len(exports.Exports) != 2 || exports.Account != "app" || !slices.Equal(exports.Exports[1].Importers, []string{"shop"}) ||
		!exports.Exports[1].Private || exports.Exports[1].Claims.Latency.Results != "lat" {
		t.Errorf("%+v", exports)
	}
	var im struct {
		Subject, From, Contract, Finding string
		Local                            string `json:"local_subject"`
	}
	p.ok("describe", "import", "price.get", "--json").json(&im)
	if im.Subject != "price.get" || im.From != "app" || im.Contract != id || im.Local != "app.price.get" || im.Finding != "" {
		t.Errorf("%+v", im)
	}
	p.ok("describe", "export", "price.get", "-a", "app").says("service export price.get in app", "imported by   shop", "importers need an activation of app")
}

// TestDescribeOneOfSeveral: what is not named must be the only one, and near
// names help.
func TestDescribeOneOfSeveral(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.run("describe", "mapping", "-a", "app").exits(3).complains("nsc list mappings -a app")
	p.run("describe", "export", "-a", "app").exits(3).complains("nsc list exports -a app")
	p.run("describe", "import", "-a", "app").exits(3).complains("nsc list imports -a app")
	p.ok("add", "mapping", "-a", "app", "--from", "orders", "--to", "b")
	p.ok("describe", "mapping", "-a", "app").says("mapping of orders in app", "goes to       b  100 %")
	p.run("describe", "mapping", "order", "-a", "app").exits(3).complains(`did you mean "orders"`)
	p.ok("add", "mapping", "-a", "app", "--from", "x", "--to", "b")
	p.run("describe", "mapping", "-a", "app").exits(2).complains("--from 'orders'")
	p.ok("describe", "mapping", "x", "-a", "app", "-F", "to[0].subject").says(`"b"`)
	p.run("describe", "mapping", "x", "-a", "app", "--raw").exits(2).complains("no JWT of its own")
	p.run("describe", "mapping", "x", "--from", "y", "-a", "app").exits(2).complains("twice")
	if out := p.ok("describe", "mapping", "x", "-a", "app", "--output", "name").out; out != "x\n" {
		t.Errorf("name: %q", out)
	}
}

// TestKeysOfAFleetAreOneRow: in lists of keys, but for those that ask for all.
func TestKeysOfAFleetAreOneRow(t *testing.T) {
	t.Parallel()
	p := local(t)
	plain := p.addRole("app", "")
	p.addRole("app", "reader")
	p.ok("add", "fleet", "sensors", "-a", "app", "--cohorts", "8")
	for _, args := range [][]string{{"list", "keys", "--account", "app"}, {"list", "signing-keys", "-a", "app"}} {
		if out := p.ok(args...).says("8 keys; see them with --all", "fleet sensors", plain, "reader").out; strings.Contains(out, "sensors/c") {
			t.Errorf("%v: %s", args, out)
		}
		p.ok(append(args, "--all")...).says("sensors/c00e1", "sensors/c07e1", "reader")
	}
	var list struct {
		Keys []struct {
			Name, Key string
			Template  *struct{ Subs int }
		}
	}
	p.ok("list", "signing-keys", "-a", "app", "--json").json(&list)
	if len(list.Keys) != 10 || list.Keys[0].Key != plain || list.Keys[0].Template != nil || list.Keys[1].Template == nil {
		t.Errorf("%+v", list)
	}
	p.ok("describe", "signing-key", plain, "-a", "app").says("signing key "+plain+" of app", "it has no role", "users         none")
	p.ok("describe", "signing-key", "reader", "-a", "app").says("role reader in app", "may           publish and subscribe to everything")
	p.run("describe", "signing-key", "readr", "-a", "app").exits(3).complains(`did you mean "reader"`)
}

// TestNounsAlone: a noun without a verb lists what there is, with the flags of
// its list, and another word is still refused.
func TestNounsAlone(t *testing.T) {
	t.Parallel()
	p := sharing(t)
	p.ok("contracts").complains("no contracts; offer one with: nsc offer")
	p.ok("add", "export", "-a", "app", "-s", "x", "--private")
	p.ok("offer", "--from", "app", "--to", "shop", "--subject", "x")
	if alone, listed := p.ok("contracts", "-a", "app", "-o", "json").out, p.ok("contracts", "list", "-a", "app", "--json").out; alone != listed || !strings.Contains(alone, `"id"`) {
		t.Errorf("alone %s, listed %s", alone, listed)
	}
	id := strings.TrimSpace(p.ok("contracts", "-o", "name").out)
	p.ok("contracts", "show", id).says("contract "+id, "from          app  stream x", "expires       never")
	p.run("contracts", "shw", id).exits(2).complains("did you mean: nsc contracts show")
	p.run("servers").exits(6)
	p.run("proposals").exits(6)
	p.put("app.jwt", p.ok("describe", "account", "app", "--raw").out)
	p.ok("describe", "jwt", "app.jwt").says("account app")
	p.run("describe", "jwt", "app.jwt", "-f", "other").exits(2).complains("twice")
	p.run("describe", "jwt").exits(2).complains("the file is missing")
}

// TestDryRunsOfFleetsAreShort: 64 keys are one line, and all in JSON.
func TestDryRunsOfFleetsAreShort(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "fleet", "sensors", "-a", "app")
	out := p.ok("delete", "fleet", "sensors", "-a", "app", "--dry-run").says("- nats.signing_keys: 64 keys, sensors/c00e1 … sensors/c63e1").out
	if len(out) > 1500 {
		t.Errorf("%d letters: %s", len(out), out)
	}
	var rec struct{ Changes []string }
	p.ok("delete", "fleet", "sensors", "-a", "app", "--dry-run", "--json").json(&rec)
	if len(rec.Changes) < 128 {
		t.Errorf("%d changes", len(rec.Changes))
	}
	if out := p.ok("add", "role", "dev", "-a", "app", "--template", "device").says(`.role: "dev"`).out; strings.Contains(out, "-1") || strings.Contains(out, `""`) {
		t.Errorf("usual values are shown: %s", out)
	}
	p.ok("delete", "account", "app", "--dry-run").says("would be deleted: account app")
	p.ok("add", "enrollment-group", "phones", "-a", "app")
	if out := p.ok("list", "roles", "-a", "app").says("dev").out; strings.Contains(out, "phones") || strings.Contains(out, "sensors") {
		t.Errorf("roles: %s", out)
	}
	p.ok("add", "account", "coke.x", "--namespace", "sweet")
	p.run("edit", "account", "coke.x", "--namespace", "app").exits(4).complains("nsc edit account coke.x --namespace")
}
