package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountd/accountd/internal/natstest"
)

// TestDocumentedResolverConfig does what docs/stock-servers.md says: the
// commands make the files, the configuration runs a cluster of one stock server,
// and a change is published there. The address of the server is another one.
func TestDocumentedResolverConfig(t *testing.T) {
	t.Parallel()
	var commands, config string
	for _, b := range fenced(t, filepath.Join(natstest.ModuleRoot(t), "docs", "stock-servers.md")) {
		switch b.info {
		case "sh":
			commands += b.text
		case "yaml":
			config += b.text
		}
	}
	dir := t.TempDir()
	env := []string{"PATH=" + binDir(t) + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	shell(t, env, dir, "set -eu; cd '"+dir+"'\n"+commands)
	if err := os.WriteFile(filepath.Join(dir, "resolver.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	system := strings.TrimSpace(shell(t, env, dir, "nsc describe account SYS --field sub | tr -d '\"'"))
	stock := natstest.StartServer(t, fmt.Sprintf(`
server_name: s0
operator: %s
system_account: %s
resolver: { type: full, dir: %q, allow_delete: true }
resolver_preload: { %s: %q }
`, read(t, filepath.Join(dir, "acme.jwt")), system, t.TempDir(), system, read(t, filepath.Join(dir, "SYS.jwt"))))
	ready := filepath.Join(t.TempDir(), "ready.json")
	daemon := natstest.StartProcess(t, env, "/bin/sh", "-c", "cd '"+dir+"' && exec accountd resolver -c resolver.yaml"+
		" --http 127.0.0.1:0 --ready-file '"+ready+"' --servers "+stock.URL)
	natstest.Eventually(t, patience, func() error {
		select {
		case <-daemon.Ended():
			t.Fatalf("accountd resolver ended:\n%s", daemon.Output())
		default:
		}
		_, err := os.Stat(ready)
		return err
	})
	out := shell(t, env, dir, "nsc edit operator --account-jwt-server-url "+stock.URL+" --no-push && nsc add account app")
	if !strings.Contains(out, "account app") || !strings.Contains(out, "in force on 0 and stored on 1 of 1 nodes") {
		t.Errorf("the change is published as\n%s", out)
	}
	if code := daemon.Stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, daemon.Output())
	}
	if _, err := os.Stat(filepath.Join(dir, "accountd.db")); err != nil {
		t.Errorf("the store that the file names: %v", err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}
