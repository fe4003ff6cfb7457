package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountd/accountd/internal/natstest"
)

// TestNodeClient: the NATS client for Node.js, as npm has it, connects with
// credentials of ours over TCP and WebSocket, to a bundled node and to a stock
// server that runs a generated configuration; it may do what its user may, and
// is refused when that one is revoked.
func TestNodeClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/nodejs")); err != nil {
		t.Fatal(err)
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}

	c := newCloud(t)
	c.nsc("add", "account", "app")
	creds := c.user("app", "device", "--allow-pubsub", "orders.>,_INBOX.>")
	config := filepath.Join(t.TempDir(), "server.conf")
	c.nsc("generate", "config", "--mem-resolver", "--config-file", config)
	stock := natstest.StartServer(t, fmt.Sprintf("websocket { listen: \"127.0.0.1:-1\", no_tls: true }\n%s", read(t, config)))
	urls := []string{stock.URL, stock.WebSocket, c.ready.Nodes[0].URL, c.ready.Nodes[0].WS}
	client := func(url string) result {
		return c.run("/usr/bin/env", "node", filepath.Join(dir, "client.mjs"), url, creds)
	}
	for _, url := range urls {
		says(t, client(url), 0, `"answer":"seen one"`, `Permissions Violation for Publish to \"secrets\"`)
	}

	c.nsc("revoke", "user", "device", "-a", "app")
	for _, url := range urls[2:] {
		if r := client(url); r.code != 1 || !strings.Contains(strings.ToLower(r.err), "authorization violation") {
			t.Errorf("revoked: %s", r)
		}
	}
}
