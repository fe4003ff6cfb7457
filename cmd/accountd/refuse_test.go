package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/accountd/accountd/internal/natstest"
)

// A taken port is named with what listens on it, nothing is made, and the next
// start with the port free goes through.
func TestPortsTaken(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]int{
		"client port": 0, "cluster port": 10, "leaf port": 20, "websocket port": 30, "mqtt port": 41, "HTTP address": 50,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flags := ports(t)
			first, err := strconv.Atoi(flags[3])
			if err != nil {
				t.Fatal(err)
			}
			ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first+offset)))
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			dir := filepath.Join(t.TempDir(), "dev")
			args := append([]string{"dev", "--dir", dir}, flags...)
			exits(t, 6, append(args, "--nodes", "2"), name, "is in use by another program", strconv.Itoa(first+offset))
			isMissing(t, dir)
		})
	}
}

func TestPortTakenAtResume(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	d.ends(t)
	ln, err := net.Listen("tcp", d.Nodes[0].MQTT)
	if err != nil {
		t.Fatal(err)
	}
	exits(t, 6, []string{"dev", "--dir", d.Dir}, "mqtt port", "nats-0", "--port")
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	dev(t, d.Dir).ends(t)
}

// Folders that cannot be written exit 4 and name the folder. (Permissions do
// not stop a test that runs as root; a file in the place of a folder does.)
func TestUnwritable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "dev")} {
		exits(t, 4, append([]string{"dev", "--dir", dir}, ports(t)...), "cannot write to "+dir, "--dir")
	}
}

// A ready file that could never be written is refused before anything is made.
func TestUnwritableReadyFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, ready := range []string{folder, filepath.Join(folder, "missing/ready")} {
		dir := filepath.Join(t.TempDir(), "dev")
		exits(t, 4, append([]string{"dev", "--dir", dir, "--ready-file", ready}, ports(t)...), "cannot write to "+ready, "hint: name a file", "--ready-file")
		isMissing(t, dir)
	}
	dir := filepath.Join(t.TempDir(), "dev")
	ready := filepath.Join(dir, "ready")
	p := accountd(t, append([]string{"dev", "--dir", dir, "--ready-file", ready}, ports(t)...)...)
	natstest.Eventually(t, readyWithin, func() error { _, err := os.Stat(ready); return err })
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.Output())
	}
}

// isMissing checks that nothing is left of a refused start.
func isMissing(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused start left %s (%v)", path, err)
	}
}

// An empty folder that was there stays, and stays empty.
func TestRefusedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	if err := os.WriteFile(foreign, []byte(strings.Repeat("not a store ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	for code, extra := range map[int][]string{
		2: {"--port", "70000"},
		4: {"--store", "bolt:" + filepath.Join(foreign, "accountd.db")},
		6: {"--store", "postgres://nobody@127.0.0.1:1/none"},
		7: {"--store", "bolt:" + foreign},
	} {
		exits(t, code, append(append([]string{"dev", "--dir", empty}, ports(t)...), extra...))
		if left := content(t, empty); len(left) != 0 {
			t.Errorf("%v left %v", extra, left)
		}
		deep := filepath.Join(empty, "not/yet")
		exits(t, code, append(append([]string{"dev", "--dir", deep}, ports(t)...), extra...))
		isMissing(t, filepath.Dir(deep))
	}
}

// content is what every file below dir holds.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[path] = read(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A folder with other content is left alone.
func TestForeignFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	exits(t, 7, append([]string{"dev", "--dir", dir}, ports(t)...), "thesis.txt", "not made by accountd dev")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder now holds %v, %v", entries, err)
	}
}

// Every file that must be there and right is missed or found wrong, and none is
// made up.
func TestDamagedFolder(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	d.ends(t)
	other := fresh(t)
	other.ends(t)
	remove := func(t *testing.T, path string) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	garbage := func(t *testing.T, path string) {
		if err := os.WriteFile(path, []byte(strings.Repeat("garbage ", 4096)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	empty := func(t *testing.T, path string) {
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	folder := func(t *testing.T, path string) {
		remove(t, path)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	foreign := func(name string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			remove(t, path)
			if err := os.Rename(filepath.Join(other.Dir, name), path); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.Rename(path, filepath.Join(other.Dir, name)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for _, c := range []struct {
		what, file string
		harm       func(*testing.T, string)
		says       string
	}{
		{"store missing", "accountd.db", remove, "accountd.db is missing"},
		{"store damaged", "accountd.db", garbage, "accountd.db"},
		{"store foreign", "accountd.db", foreign("accountd.db"), "is not the one of this operator"},
		{"state missing", "accountd/state.json", remove, "accountd/state.json is missing"},
		{"state and secrets missing", "accountd", remove, "accountd is missing"},
		{"state a folder", "accountd/state.json", folder, "state.json is damaged"},
		{"identity a folder", "accountd/identity", folder, "identity is damaged"},
		{"nsc.json a folder", "nsc/nsc.json", folder, "nsc.json is damaged"},
		{"state damaged", "accountd/state.json", garbage, "state.json is damaged"},
		{"identity missing", "accountd/identity", remove, "identity is missing"},
		{"identity foreign", "accountd/identity", foreign("accountd/identity"), "is damaged"},
		{"sealed missing", "accountd/delegated.sealed", remove, "delegated.sealed is missing"},
		{"sealed damaged", "accountd/server.sealed", garbage, "server.sealed is damaged"},
		{"official store missing", "nsc", remove, "dev/nsc is missing"},
		{"operator's folder missing", "nsc/stores/dev", remove, "stores/dev is missing"},
		{"operator's mark damaged", "nsc/stores/dev/.nsc", garbage, "dev/.nsc is damaged"},
		{"operator missing", "nsc/stores/dev/dev.jwt", remove, "dev.jwt is missing"},
		{"operator empty", "nsc/stores/dev/dev.jwt", empty, "dev.jwt is damaged"},
		{"operator damaged", "nsc/stores/dev/dev.jwt", garbage, "dev.jwt is damaged"},
		{"operator foreign", "nsc/stores/dev/dev.jwt", foreign("nsc/stores/dev/dev.jwt"), "dev.jwt is not of this operator"},
		{"system account missing", "nsc/stores/dev/accounts/SYS/SYS.jwt", remove, "SYS.jwt is missing"},
		{"system account damaged", "nsc/stores/dev/accounts/SYS/SYS.jwt", garbage, "SYS.jwt is damaged"},
		{"system account foreign", "nsc/stores/dev/accounts/SYS/SYS.jwt", foreign("nsc/stores/dev/accounts/SYS/SYS.jwt"), "SYS.jwt is not of this operator"},
		{"keystore missing", "nsc/keys", remove, "nsc/keys is missing"},
		{"credentials missing", "nsc/keys/creds/dev/SYS/sys.creds", remove, "sys.creds is missing"},
		{"credentials damaged", "nsc/keys/creds/dev/SYS/sys.creds", garbage, "sys.creds is damaged"},
		{"credentials foreign", "nsc/keys/creds/dev/SYS/sys.creds", foreign("nsc/keys/creds/dev/SYS/sys.creds"), "sys.creds is not of this operator"},
		{"node's copy damaged", "nodes/nats-0/claims.db", garbage, "claims.db"},
		{"node's copy foreign", "nodes/nats-0/claims.db", foreign("nodes/nats-0/claims.db"), "nats-0"},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dev")
			if err := os.CopyFS(dir, os.DirFS(d.Dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, "accountd"), 0o700); err != nil {
				t.Fatal(err)
			}
			c.harm(t, filepath.Join(dir, c.file))
			before := content(t, dir)
			exits(t, 7, append([]string{"dev", "--dir", dir}, ports(t)...), c.says)
			if strings.HasPrefix(c.file, "nodes/") { // the servers were tried
				return
			}
			if diff := cmp.Diff(before, content(t, dir)); diff != "" {
				t.Errorf("a refused start changed files:\n%s", diff)
			}
		})
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dev")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{}, "needs a command"},
		{[]string{"deb"}, "did you mean: accountd dev"},
		{[]string{"dev", "nodes"}, "did you mean: accountd dev node"},
		{[]string{"dev", "node", "stpo", "nats-1"}, "did you mean: accountd dev node stop"},
		{[]string{"dev", "--nods", "3"}, "did you mean --nodes"},
		{[]string{"dev", "node"}, "needs a command"},
		{[]string{"dev", "node", "stop"}, "name of one node"},
		{[]string{"dev", "--nodes", "0"}, "--nodes 0"},
		{[]string{"dev", "--nodes", "11"}, "--nodes 11"},
		{[]string{"dev", "--nodes", "three"}, "three"},
		{[]string{"dev", "--port", "-1"}, "--port -1"},
		{[]string{"dev", "--port", "65500"}, "--port 65500"},
		{[]string{"dev", "--http", "nonsense"}, "--http nonsense"},
		{[]string{"dev", "--http", "0.0.0.0:9222"}, "needs TLS"},
		{[]string{"dev", "--http", ":9222"}, "needs TLS"},
		{[]string{"dev", "--log-level", "loud"}, "--log-level loud"},
		{[]string{"dev", "--dir", ""}, "--dir is empty"},
		{[]string{"dev", "--colour"}, "unknown flag"},
	} {
		args := c.args
		if len(args) > 1 && args[0] == "dev" && strings.HasPrefix(args[1], "--") && args[1] != "--dir" {
			args = append(append([]string{"dev", "--dir", dir}, ports(t)...), args[1:]...)
		}
		exits(t, 2, args, c.says)
	}
	isMissing(t, dir)
}

// A file in the place of the streams is named.
func TestStreamsFolderIsAFile(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	d.ends(t)
	streams := filepath.Join(d.Dir, "nodes/nats-0/jetstream")
	for _, path := range []string{filepath.Join(streams, "jetstream"), streams} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		exits(t, 4, []string{"dev", "--dir", d.Dir}, "node nats-0 cannot use "+streams)
	}
}

// What the person did on purpose is not missed: the user sys deleted, all
// seeds taken away.
func TestResumeWithoutSeedsAndUser(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	d.ends(t)
	for _, path := range []string{"nsc/keys/keys", "nsc/keys/creds", "nsc/stores/dev/accounts/SYS/users/sys.jwt"} {
		if err := os.RemoveAll(filepath.Join(d.Dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	dev(t, d.Dir).ends(t)
}

// The number of nodes is fixed: their streams depend on it.
func TestOtherNumberOfNodes(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	d.ends(t)
	exits(t, 2, []string{"dev", "--dir", d.Dir, "--nodes", "3"}, "holds a cluster of 1")
}

// Beyond this machine HTTP is served on demand only.
func TestInsecureHTTP(t *testing.T) {
	t.Parallel()
	flags := ports(t)
	_, port, _ := strings.Cut(flags[5], ":")
	d := fresh(t, "--http", "0.0.0.0:"+port, "--insecure-http")
	d.HTTP = "http://127.0.0.1:" + port
	d.readyz(t, 200)
	d.ends(t)
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	exits(t, 0, []string{"--version"}, "accountd version")
	exits(t, 0, []string{"dev", "--help"}, "Exit codes", "accountd dev --nodes 1", "--ready-file")
}
