package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
)

// The first minute: three nodes, proven, with addresses and what to type next;
// then a later start that makes nothing anew.
func TestFirstStartAndResume(t *testing.T) {
	t.Parallel()
	first := fresh(t, "--nodes", "3")
	for i := range first.Nodes {
		nc := first.connect(t, i)
		if _, err := nc.Request("$SRV.PING.accountd", nil, 2*time.Second); err != nil {
			t.Errorf("%s: no accountd answers: %v", first.Nodes[i].Name, err)
		}
	}
	first.readyz(t, 200)
	shown := regexp.MustCompile(`(?m)^accountd dev: operator dev, 3 nodes, store .*/accountd\.db$(?:\n  nats-\d  nats://127\.0\.0\.1:\d+  leaf \d+  ws \d+  mqtt \d+   healthy){3}\n  http    http://.*\nready in \d+\.\d s\. In another terminal:\n  \. .*/env\n  nsc add account qcon\n  nsc add user leaf1 -a qcon\n$`)
	if !shown.MatchString(first.Output()) {
		t.Errorf("unexpected output:\n%s", first.Output())
	}
	opJWT := read(t, first.Dir, "nsc/stores/dev/dev.jwt")
	first.ends(t)

	second := dev(t, first.Dir)
	if second.Operator != first.Operator || read(t, first.Dir, "nsc/stores/dev/dev.jwt") != opJWT {
		t.Error("the second start made another operator")
	}
	for i, n := range second.Nodes {
		if n != first.Nodes[i] {
			t.Errorf("the second start listens on %+v, the first on %+v", n, first.Nodes[i])
		}
	}
	if second.HTTP != first.HTTP {
		t.Errorf("HTTP moved from %s to %s", first.HTTP, second.HTTP)
	}
	second.connect(t, 2)
	if status, body := second.get(t, "/jwt/v1/operator"); status != 200 || body != opJWT {
		t.Errorf("/jwt/v1/operator answers %d %q", status, body)
	}
	second.ends(t)
}

// What the first start makes is an official store, and the secrets of accountd
// are outside its keystore and sealed.
func TestWhatAFirstStartMakes(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	oc, err := jwt.DecodeOperatorClaims(read(t, d.Dir, "nsc/stores/dev/dev.jwt"))
	if err != nil {
		t.Fatal(err)
	}
	if oc.AccountServerURL != d.Nodes[0].URL || len(oc.SigningKeys) != 2 || oc.SystemAccount == "" {
		t.Errorf("operator: account server %q, %d signing keys, system account %q", oc.AccountServerURL, len(oc.SigningKeys), oc.SystemAccount)
	}
	seeds := 0
	for _, key := range oc.SigningKeys {
		if _, err := os.Stat(filepath.Join(d.Dir, "nsc/keys/keys/O", key[1:3], key+".nk")); err == nil {
			seeds++
		}
	}
	if seeds != 1 {
		t.Errorf("the keystore has the seeds of %d of the signing keys, want 1: the other is accountd's", seeds)
	}
	ac, err := jwt.DecodeAccountClaims(read(t, d.Dir, "nsc/stores/dev/accounts/SYS/SYS.jwt"))
	if err != nil {
		t.Fatal(err)
	}
	if ac.Subject != oc.SystemAccount || len(ac.Exports) != 3 || len(ac.SigningKeys) != 1 {
		t.Errorf("system account %s with %d exports and %d signing keys", ac.Subject, len(ac.Exports), len(ac.SigningKeys))
	}
	err = filepath.WalkDir(d.Dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if perm := info.Mode().Perm(); !strings.Contains(path, "/jetstream") && perm&0o077 != 0 {
			t.Errorf("%s is open to others: %o", path, perm)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"delegated", "accountd-user", "server"} {
		sealed := read(t, d.Dir, "accountd", name+".sealed")
		if !strings.HasPrefix(sealed, "age-encryption.org/") {
			t.Errorf("%s is not sealed", name)
		}
	}
	d.ends(t)
}

// A second process on the same folder is refused, and the first goes on.
func TestSecondInstance(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	before := read(t, d.Dir, "accountd/state.json")
	exits(t, 5, []string{"dev", "--dir", d.Dir, "--port", "0"}, "in use by process", "--dir")
	if read(t, d.Dir, "accountd/state.json") != before {
		t.Error("the second process changed the state")
	}
	d.readyz(t, 200)
	d.connect(t, 0)
	d.ends(t)
}

// A person stops a node and starts it again; readiness and clients follow.
func TestNodeStopAndStart(t *testing.T) {
	t.Parallel()
	d := fresh(t, "--nodes", "3")
	exits(t, 0, []string{"dev", "node", "stop", "nats-1", "--dir", d.Dir}, "nats-1 is stopped\n")
	exits(t, 0, []string{"dev", "node", "stop", "nats-1", "--dir", d.Dir}, "nats-1 is stopped already\n")
	d.readyz(t, 503, `"nats-1":"stopped"`)
	if nc, err := nats.Connect(d.Nodes[1].URL, nats.UserCredentials(d.Creds)); err == nil {
		nc.Close()
		t.Error("the stopped node takes connections")
	}
	if status, _ := d.get(t, "/healthz"); status != 200 {
		t.Errorf("/healthz answers %d while a node is stopped", status)
	}
	exits(t, 0, []string{"dev", "node", "start", "nats-1", "--dir", d.Dir}, "nats-1 is running\n")
	d.readyz(t, 200)
	nc := d.connect(t, 1)
	if _, err := nc.Request("$SRV.PING.accountd", nil, 2*time.Second); err != nil {
		t.Errorf("no accountd answers on the restarted node: %v", err)
	}
	exits(t, 3, []string{"dev", "node", "stop", "nats-7", "--dir", d.Dir}, `no node "nats-7"`, "nats-0 nats-1 nats-2")
	d.ends(t)
	exits(t, 6, []string{"dev", "node", "stop", "nats-1", "--dir", d.Dir}, "does not run", "accountd dev --dir")
	exits(t, 3, []string{"dev", "node", "stop", "nats-1", "--dir", t.TempDir()}, "is not a folder of accountd dev")
}

// The control socket of a folder with a long name lies elsewhere.
func TestLongFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 25), "dev")
	d := dev(t, dir, ports(t)...)
	exits(t, 0, []string{"dev", "node", "stop", "nats-0", "--dir", dir}, "nats-0 is stopped")
	d.ends(t)
}

// Clients are told to go before the node ends.
func TestDrainSendsClientsAway(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	lame := make(chan struct{})
	nc, err := nats.Connect(d.Nodes[0].URL, nats.UserCredentials(d.Creds), nats.LameDuckModeHandler(func(*nats.Conn) { close(lame) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	d.Signal(syscall.SIGINT)
	select {
	case <-lame:
	case <-time.After(endsWithin):
		t.Error("the client was not told")
	}
	if code := d.Wait(t, endsWithin); code != 0 {
		t.Errorf("exit code %d after SIGINT, want 0\n%s", code, d.Output())
	}
}

// Other ports move the operator's URLs, in the service and in the store of nsc.
func TestOtherPorts(t *testing.T) {
	t.Parallel()
	first := fresh(t)
	first.ends(t)
	second := dev(t, first.Dir, ports(t)[2:]...)
	if second.Nodes[0].URL == first.Nodes[0].URL {
		t.Fatal("the ports did not move")
	}
	local := read(t, first.Dir, "nsc/stores/dev/dev.jwt")
	_, served := second.get(t, "/jwt/v1/operator")
	if local != served {
		t.Error("the operator's JWT in the store of nsc is not the one that is served")
	}
	oc, err := jwt.DecodeOperatorClaims(served)
	if err != nil {
		t.Fatal(err)
	}
	if oc.AccountServerURL != second.Nodes[0].URL || len(oc.OperatorServiceURLs) != 1 || oc.OperatorServiceURLs[0] != second.Nodes[0].URL {
		t.Errorf("the operator names %s and %v, want %s", oc.AccountServerURL, oc.OperatorServiceURLs, second.Nodes[0].URL)
	}
	second.ends(t)
	third := dev(t, first.Dir)
	if _, again := third.get(t, "/jwt/v1/operator"); again != served {
		t.Error("the third start signed the operator anew")
	}
	third.ends(t)
}

// --port 0 finds free ports and keeps them.
func TestFreePortsAreRecorded(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dev")
	first := dev(t, dir, "--nodes", "1", "--port", "0")
	first.ends(t)
	second := dev(t, dir, "--port", "0")
	if second.Nodes[0] != first.Nodes[0] || second.HTTP != first.HTTP {
		t.Errorf("ports moved from %+v to %+v", first.Nodes[0], second.Nodes[0])
	}
	second.ends(t)

	// Somebody else took one: others are found, since any will do.
	u := strings.TrimPrefix(first.Nodes[0].WS, "ws://")
	ln, err := net.Listen("tcp", u)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	third := dev(t, dir, "--port", "0")
	if third.Nodes[0].WS == first.Nodes[0].WS {
		t.Error("the taken port is still in use")
	}
	third.connect(t, 0)
	third.ends(t)
}
