package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
)

// DIR/env works in a plain shell, whatever the folder is called, and its
// addresses and credentials connect.
func TestEnvFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `it's a "dev" & folder`)
	d := dev(t, dir, ports(t)...)
	script := `set -eu; . "$1"; . "$1"; for v in PATH NSC_HOME NKEYS_PATH ACCOUNTD_HTTP ACCOUNTD_SYS_CREDS NATS_URL NATS_URLS NATS_WS_URLS NATS_MQTT_ADDRS NATS_LEAF_URLS; do
		eval "printf '%s=%s\n' $v \"\$$v\""; done; sh -c 'printf "EXPORTED=%s\n" "$NATS_URLS"'`
	out, err := exec.Command("sh", "-c", script, "sh", d.Env).CombinedOutput()
	if err != nil {
		t.Fatalf("source %s: %v\n%s", d.Env, err, out)
	}
	vars := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		vars[name] = value
	}
	n := d.Nodes[0]
	for name, want := range map[string]string{
		"NSC_HOME": filepath.Join(dir, "nsc"), "NKEYS_PATH": filepath.Join(dir, "nsc/keys"),
		"ACCOUNTD_HTTP": d.HTTP, "ACCOUNTD_SYS_CREDS": d.Creds,
		"NATS_URL": n.URL, "NATS_URLS": n.URL, "EXPORTED": n.URL,
		"NATS_WS_URLS": n.WS, "NATS_MQTT_ADDRS": n.MQTT, "NATS_LEAF_URLS": n.Leaf,
	} {
		if vars[name] != want {
			t.Errorf("%s is %q, want %q", name, vars[name], want)
		}
	}
	if strings.Count(vars["PATH"], ".test") > 1 || !strings.HasPrefix(vars["PATH"], "/") {
		t.Errorf("PATH is %q", vars["PATH"])
	}
	for _, url := range []string{vars["NATS_URLS"], vars["NATS_WS_URLS"]} {
		nc, err := nats.Connect(url, nats.UserCredentials(vars["ACCOUNTD_SYS_CREDS"]))
		if err != nil {
			t.Fatalf("connect to %s: %v", url, err)
		}
		nc.Close()
	}
	var context struct{ URL, Creds string }
	if err := json.Unmarshal([]byte(read(t, dir, "nats/context/accountd-dev.json")), &context); err != nil {
		t.Fatal(err)
	}
	if context.URL != n.URL || context.Creds != d.Creds {
		t.Errorf("the context names %+v", context)
	}
	d.ends(t)
}

// The stock nats tool uses the context in the folder.
func TestNatsContext(t *testing.T) {
	t.Parallel()
	cli := natstest.NatsCLI(t)
	d := fresh(t)
	cmd := exec.Command(cli, "--context", "accountd-dev", "rtt")
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+d.Dir)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), strings.TrimPrefix(d.Nodes[0].URL, "nats://")) {
		t.Errorf("nats rtt: %v\n%s", err, out)
	}
	d.ends(t)
}
