package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBackup: what a backup brings back signs and validates, in another store
// and keystore, and without its identity there is nothing to be had.
func TestBackup(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	p.ok("keys", "identity", "id.txt")
	p.ok("keys", "identity", "other.txt")
	const id = "--identity-file=id.txt"
	p.unchanged(func() {
		p.run("backup").exits(2)
		p.run("backup", "b").exits(2).complains("nsc keys identity <file>")
		p.run("backup", "nowhere/b", id).exits(4)
		p.run("backup", "b", "--operator", "nosuch", id).exits(3)
		p.run("backup", "b", "--recipient", "nonsense").exits(7)
		p.ok("backup", "b", id, "--dry-run").says("2 accounts, 2 users, 7 keys, 2 credentials files", "nothing was changed")
	})
	p.ok("keys", "seal", "--identity-file", "other.txt")
	p.unchanged(func() { p.run("backup", "b", id).exits(7) }) // the keys are sealed to another identity
	r := p.ok("keys", "identity", "offline.txt")
	p.ok("backup", "b", "--identity-file", "other.txt", "--recipient", strings.TrimSpace(r.out)).says("backup of operator acme")
	info, err := os.Stat(filepath.Join(p.dir, "b"))
	if err != nil || info.Mode().Perm() != 0o600 || strings.Contains(string(p.read(filepath.Join(p.dir, "b"))), "acme") {
		t.Errorf("backup %v %v", info, err)
	}
	p.run("backup", "b", "--identity-file", "other.txt").exits(5).complains("exists already")

	q := alone(t)
	q.put("b", string(p.read(filepath.Join(p.dir, "b"))))
	q.put("offline.txt", string(p.read(filepath.Join(p.dir, "offline.txt"))))
	q.put("other.txt", string(p.read(filepath.Join(p.dir, "other.txt"))))
	q.put("cut", string(p.read(filepath.Join(p.dir, "b")))[:2000])
	q.unchanged(func() {
		q.run("restore", "operator", "b").exits(2)
		q.run("restore", "operator", "nowhere", "--identity-file", "offline.txt").exits(3)
		q.run("restore", "operator", "b", "--identity-file", "other.txt").exits(7)
		q.run("restore", "operator", "cut", "--identity-file", "offline.txt").exits(7)
		q.ok("restore", "operator", "b", "--identity-file", "offline.txt", "--dry-run").says("operator acme", "7 keys")
	})
	var res struct{ Operator, Outcome string }
	q.ok("restore", "operator", "b", "--identity-file", "offline.txt", "--json").json(&res)
	if res.Operator != "acme" || res.Outcome != "restored" {
		t.Errorf("%+v", res)
	}
	q.ok("validate", "-A")
	q.ok("add", "account", "b")
	q.ok("add", "user", "v", "-a", "app")
	q.run("restore", "operator", "b", "--identity-file", "offline.txt").exits(5)
}

func TestBackupUnderAPassphrase(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.put("pass", "correct horse\n")
	p.ok("backup", "b", "--passphrase-file", "pass")
	q := alone(t)
	q.put("b", string(p.read(filepath.Join(p.dir, "b"))))
	q.put("pass", "correct horse")
	q.ok("restore", "operator", "b", "--passphrase-file", "pass").says("operator acme")
	q.ok("validate", "-A")
}
