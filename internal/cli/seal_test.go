package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSealedKeys: every command reads sealed keys where the identity is named,
// and says what is missing where it is not.
func TestSealedKeys(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	p.unchanged(func() {
		p.run("keys", "seal").exits(2).complains("nsc keys identity <file>")
		p.run("keys", "seal", "--identity-file", "nowhere").exits(3)
		p.run("keys", "rotate", "--identity-file", "nowhere").exits(5)
	})
	r := p.ok("keys", "identity", "id.txt")
	info, err := os.Stat(filepath.Join(p.dir, "id.txt"))
	if err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(r.out, "age1") {
		t.Fatalf("identity %v %v %s", info, err, r.out)
	}
	p.unchanged(func() {
		p.run("keys", "identity", "id.txt").exits(5)
		p.ok("keys", "seal", "--identity-file", "id.txt", "--dry-run").says("would have sealed 7 keys")
	})
	const id = "--identity-file=id.txt"
	p.ok("keys", "seal", id).says("sealed 7 keys")
	p.ok("keys", "seal", id).says("sealed 0 keys")
	p.unchanged(func() {
		p.run("add", "account", "b").exits(4).complains("is sealed", "--identity-file")
		p.ok("list", "keys", "-A").says("sealed")
		p.ok("validate", "-A")
		p.run("export", "keys", "-d", "out", "-A").exits(4)
	})
	p.ok("add", "account", "b", id)
	p.ok("add", "user", "v", "-a", "b", id)
	p.ok("edit", "user", "v", "--account", "b", "--tag", "x", id)
	p.ok("revoke", "user", "v", "-a", "b", id)
	p.ok("generate", "creds", "-a", "b", "-n", "v", "-o", "v.creds", id)
	p.ok("validate", "-A", id)
	p.ok("export", "keys", "-d", "out", "-A", id)
	for name, content := range p.files() {
		if strings.HasPrefix(name, "keys/keys/") && !strings.HasPrefix(content, "age-encryption.org/v1\n") {
			t.Errorf("%s is not sealed", name)
		}
	}

	p.ok("keys", "identity", "new.txt")
	p.ok("keys", "rotate", id, "--new-identity-file", "new.txt").says("sealed anew 9 keys")
	p.run("add", "account", "c", id).exits(7).complains("cannot be opened with this identity")
	p.run("keys", "unseal", id).exits(7)
	p.ok("keys", "unseal", "--identity-file", "new.txt").says("unsealed 9 keys")
	p.ok("add", "account", "c")
}

// TestKeysUnderAPassphrase: one passphrase opens what it closed.
func TestKeysUnderAPassphrase(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.put("pass", "correct horse\n")
	p.put("other", "battery staple\n")
	p.put("empty", "\n")
	p.run("keys", "seal", "--passphrase-file", "empty").exits(7)
	p.ok("keys", "seal", "--passphrase-file", "pass").says("sealed 6 keys")
	p.unchanged(func() {
		p.run("add", "account", "b", "--passphrase-file", "other").exits(7).complains("with this passphrase")
	})
	p.ok("add", "account", "b", "--passphrase-file", "pass")
	p.ok("keys", "rotate", "--passphrase-file", "pass", "--new-passphrase-file", "other").says("sealed anew 7 keys")
	p.ok("keys", "unseal", "--passphrase-file", "other").says("unsealed 7 keys")
}
