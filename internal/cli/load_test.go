package cli_test

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLoad: with an account's seed and the operator's address a customer has a
// store, and a user that servers know.
func TestLoad(t *testing.T) {
	t.Parallel()
	p := local(t)
	url := p.offline(false) + "/jwt/v1/operator"
	p.ok("add", "account", "pepsi")
	made, _ := p.account("pepsi")
	seed, err := p.store().Keystore().Seed(made.Subject)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pepsi.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	q := alone(t)
	q.vars = map[string]string{"NSC_DEV_OPERATOR": url}
	q.unchanged(func() {
		q.run("load", "--url", url, "--seed", string(seed)).exits(2).complains("does not belong on the command line")
		q.run("load", "--profile", "nsc://dev?secret="+string(seed)).exits(2).complains("does not belong on the command line")
		q.run("load", "--url", url).exits(2)
		q.run("load", "--seed", file).exits(2).complains("--url")
		q.in = "https://example.org"
		q.run("load", "--profile", "-").exits(7).complains("nsc://")
		q.in = "nsc://dev?secret=SUAx"
		q.run("load", "--profile", "-").exits(7).complains("seed of the account")
		q.ok("load", "--url", url, "--seed", file, "--dry-run").says("account pepsi")
	})
	q.in = "nsc://dev?secret=" + string(seed) + "&user=phone1\n"
	q.ok("load", "--profile", "-").says("user phone1 in pepsi", "operator acme", "credentials:")
	if doc, _ := q.account("pepsi"); doc.ID != made.ID {
		t.Error("the account is not the operator's version")
	}
	if user, _ := q.user("pepsi", "phone1"); user.Issuer != made.Subject {
		t.Errorf("the user is signed by %s", user.Issuer)
	}
	if info, err := q.operator().Info(); err != nil || !info.Managed {
		t.Errorf("not managed: %+v, %v", info, err)
	}
	q.ok("load", "--url", url, "--seed", file).says("user default in pepsi")
	q.run("load", "--url", url, "--seed", file).exits(5).complains("default")
}
