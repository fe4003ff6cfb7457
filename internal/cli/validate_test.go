package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/keys"
)

// found is what validate --json prints.
type found struct {
	Valid    bool
	Checked  int
	Problems []struct{ Kind, Account, Name, Severity, Rule string }
}

func (f found) rules() []string {
	var out []string
	for _, p := range f.Problems {
		out = append(out, p.Kind+" "+p.Name+": "+p.Severity+" "+p.Rule)
	}
	return out
}

func TestValidate(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	p.ok("validate", "-A").says("5 claims checked, no error")
	p.ok("validate", "-a", "SYS").says("3 claims checked, no error")
	p.run("validate", "-A", "-a", "app").exits(2)
	p.run("validate", "-a", "ap").exits(3).complains(`did you mean "app"?`)

	// Wrong in the ways that files go wrong, each found by its rule.
	dir := filepath.Join(p.store().Dirs().Stores, "acme", "accounts")
	other, _ := keys.NewUser()
	creds, err := p.store().Keystore().CredsPath("acme", "app", "u")
	if err != nil {
		t.Fatal(err)
	}
	p.ok("add", "user", "v", "-a", "app")
	vCreds, _ := p.store().Keystore().CredsPath("acme", "app", "v")
	data, err := os.ReadFile(vCreds)
	if err == nil {
		err = os.WriteFile(creds, data, 0o600)
	}
	doc, _ := p.user("app", "v")
	seed, _ := p.store().Keystore().SeedPath(doc.Subject)
	if err == nil {
		err = os.WriteFile(seed, other.Seed(), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "app/users/w.jwt"), []byte(doc.Token), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "app/users/x.jwt"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got found
	p.run("validate", "-a", "app", "--json").exits(9).complains("validation found errors: 5").json(&got)
	want := []string{
		"user u: error creds", "user v: error file-damaged",
		"user w: error jwt-name", "user w: error file-damaged", "user x: error file-damaged",
	}
	if !slices.Equal(got.rules(), want) || got.Valid || got.Checked != 6 {
		t.Errorf("found %q of %d", got.rules(), got.Checked)
	}
	p.ok("revoke", "user", "v", "-a", "app")
	p.run("validate", "-a", "app").exits(9).says("user v in app: warning: it is revoked (revoked)")
}

// TestValidateFile: JWTs of a file are checked as far as the file goes.
func TestValidateFile(t *testing.T) {
	t.Parallel()
	p, q := local(t), local(t)
	app, _ := p.account("app")
	foreign, _ := q.account("app")
	root, err := p.operator().JWT()
	if err != nil {
		t.Fatal(err)
	}
	write := func(lines ...string) {
		if err := os.WriteFile(filepath.Join(p.dir, "jwts"), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want ...string) {
		t.Helper()
		var got found
		p.run("validate", "-f", "jwts", "--json").json(&got)
		if !slices.Equal(got.rules(), want) {
			t.Errorf("found %q, want %q", got.rules(), want)
		}
	}
	write(app.Token, "", foreign.Token)
	check()
	write(root, app.Subject+"|"+app.Token, foreign.Subject+"|"+foreign.Token)
	check("account app: error chain")
	write(foreign.Subject+"|"+app.Token, app.Token[:len(app.Token)-6])
	check("jwt line 1: error subject", "jwt line 2: error signature")
	write("")
	p.run("validate", "-f", "jwts").exits(7).complains("no JWT in jwts")
	p.run("validate", "-f", "nowhere").exits(3)
}

func TestExpirations(t *testing.T) {
	t.Parallel()
	p := local(t)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p.now = func() time.Time { return at }
	p.ok("add", "user", "soon", "-a", "app", "--expiry", "2w")
	p.ok("add", "user", "later", "-a", "app", "--expiry", "2M")
	p.ok("delete", "user", "soon", "-a", "app", "--revoke=false")

	importer, _ := p.account("app")
	act := jwt.NewActivationClaims(importer.Subject)
	act.ImportSubject, act.ImportType, act.Expires = "x", jwt.Stream, at.AddDate(0, 0, 3).Unix()
	exporter, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	key, _ := exporter.PublicKey()
	token, err := act.Encode(exporter)
	if err != nil {
		t.Fatal(err)
	}
	p.editAccount("app", func(c *jwt.AccountClaims) {
		c.Imports.Add(&jwt.Import{Name: "x", Subject: "x", Account: key, Token: token, Type: jwt.Stream})
	})

	var report struct {
		Report []struct {
			Resource, Kind, When string
			Expiry               int64
			Soon                 bool `json:"expires_soon"`
			Expired              bool
		}
	}
	p.ok("expirations", "--json", "--skip").json(&report)
	var got []string
	for _, e := range report.Report {
		got = append(got, e.Kind+" "+filepath.Base(e.Resource)+" "+e.When)
	}
	want := []string{"activation import x In 3 Days", "credentials soon.creds In 2 Weeks"}
	if !slices.Equal(got, want) {
		t.Errorf("report %q, want %q", got, want)
	}
	at = at.AddDate(0, 1, 0)
	p.ok("expirations", "--within", "1m").says("yes      credentials", "2 weeks ago", "no       user         acme/app/later", "never")
	p.run("expirations", "--within", "soonish").exits(2)
	if err := os.WriteFile(filepath.Join(p.store().Dirs().Stores, "acme/accounts/app/users/later.jwt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("expirations", "--skip").exits(7).says("acme/app/later").complains("nsc validate --all-accounts")
}
