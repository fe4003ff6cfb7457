package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountd/accountd/operator/nscstore"
)

// TestExportAndImportKeys: what is exported can be imported, into a keystore
// that then signs; nothing is replaced or removed unasked.
func TestExportAndImportKeys(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	p.run("export", "keys").exits(2)
	p.unchanged(func() { p.ok("export", "keys", "-d", "out", "-A", "--dry-run").says("would have exported 7 keys") })
	p.ok("export", "keys", "-d", "out", "-A", "--include-jwts").says("exported 7 keys")
	user, _ := p.user("app", "u")
	info, err := os.Stat(filepath.Join(p.dir, "out", user.Subject+".nk"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("exported seed: %v %v", info, err)
	}
	if token, _ := os.ReadFile(filepath.Join(p.dir, "out", user.Subject+".jwt")); string(token) != user.Token {
		t.Errorf("exported claims %q", token)
	}
	p.unchanged(func() {
		p.run("export", "keys", "-d", "out", "-u").exits(5).complains("exist already", "--force")
		p.ok("export", "keys", "-d", "out", "-u", "--force").says("exported 2 keys")
		p.run("export", "keys", "-d", "out", "--filter", "NOSUCHKEY").exits(3)
	})

	p.ok("export", "keys", "-d", "gone", "-A", "--remove").says("the keystore no longer has them")
	p.run("add", "account", "b").exits(4)
	p.ok("list", "keys", "-A").says("not here")
	p.ok("import", "keys", "-d", "gone", "--dry-run").says("would have imported 7 keys")
	p.run("add", "account", "b").exits(4)
	p.ok("import", "keys", "-d", "gone").says("imported 7 keys")
	p.ok("add", "account", "b")
	var res struct{ Outcome string }
	p.ok("import", "keys", "-d", "gone", "--json").json(&res)
	if res.Outcome != "unchanged" {
		t.Errorf("outcome %q", res.Outcome)
	}
}

func TestImportKeysRefuses(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("export", "keys", "-d", "in/a", "-A", "--remove")
	if err := os.WriteFile(filepath.Join(p.dir, "in/a/junk.nk"), []byte("not a seed"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.unchanged(func() {
		p.run("import", "keys", "-d", "nowhere").exits(3)
		p.run("import", "keys", "-d", "in").exits(3).complains("--recurse")
		r := p.run("import", "keys", "-d", "in", "-R").exits(7).complains("no seed in ./in/a/junk.nk")
		if strings.Contains(r.err, "not a seed") {
			t.Error("the error shows the content of a file")
		}
	})
	if err := os.Remove(filepath.Join(p.dir, "in/a/junk.nk")); err != nil {
		t.Fatal(err)
	}
	p.ok("import", "keys", "-d", "in", "-R").says("imported 6 keys")
}

func TestKeysMigrate(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("keys", "migrate").says("has the current layout")
	dir := filepath.Join(p.dir, "keys")
	if err := os.Rename(filepath.Join(dir, "keys/O"), filepath.Join(dir, "O")); err != nil {
		t.Fatal(err)
	}
	p.unchanged(func() {
		p.run("add", "account", "b").exits(7).complains("nsc keys migrate")
		p.ok("keys", "migrate", "--dry-run").says("would have migrated 2 keys")
	})
	p.ok("keys", "migrate").says("migrated 2 keys", "the old files are kept in")
	p.ok("add", "account", "b")
	if _, err := nscstore.Open(p.store().Dirs()); err != nil {
		t.Error(err)
	}
}
