package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/accountd/accountd/internal/natstest"
)

// TestMigrationGuide does what docs/migrate-from-nsc.md says, from a store that
// the official nsc made and two stock servers that it pushed to.
func TestMigrationGuide(t *testing.T) {
	t.Parallel()
	b := newBrownfield(t)
	says(t, b.official("add", "account", "app"), 0)
	says(t, b.official("add", "user", "one"), 0)
	says(t, b.official("add", "user", "two"), 0)
	says(t, b.official("push", "-A"), 0)
	path, dir := filepath.Join(b.home, "bin"), t.TempDir()
	for from, to := range map[string]string{
		natstest.OfficialNSC(t):              filepath.Join(path, "nsc"),
		filepath.Join(binDir(t), "nsc"):      filepath.Join(dir, "bin/nsc"),
		filepath.Join(binDir(t), "accountd"): filepath.Join(dir, "bin/accountd"),
	} {
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{
		"HOME=" + b.home, "PATH=" + path + string(os.PathListSeparator) + os.Getenv("PATH"),
		"SERVERS=" + b.server[0].URL + "," + b.server[1].URL,
	}
	follow(t, env, dir, "migrate-from-nsc.md", fenced(t, filepath.Join(natstest.ModuleRoot(t), "docs/migrate-from-nsc.md")))
	if err := refused(b.server[1].URL, b.userCreds("app", "one")); err != nil {
		t.Error("after going back: ", err)
	}
}
