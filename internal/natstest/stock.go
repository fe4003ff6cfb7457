package natstest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// modulePath is how the module of the product is recognised.
const modulePath = "github.com/accountd/accountd"

// StockServer returns the path of the stock nats-server, of the version that
// tools/go.mod pins. It is built once a machine and version.
func StockServer(t testing.TB) string {
	t.Helper()
	return buildTool(t, "nats-server", "github.com/nats-io/nats-server/v2")
}

// NatsCLI returns the path of the official nats command line program, built as
// StockServer's.
func NatsCLI(t testing.TB) string {
	t.Helper()
	return buildTool(t, "nats", "github.com/nats-io/natscli/nats")
}

// OfficialNSC returns the path of the official nsc, built as StockServer's.
func OfficialNSC(t testing.TB) string {
	t.Helper()
	return buildTool(t, "nsc", "github.com/nats-io/nsc/v2")
}

// ModuleRoot returns the folder of the module that the running test belongs to.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module "+modulePath+"\n") {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatalf("no go.mod of %s above the test's folder", modulePath)
		}
		dir = parent
	}
}

// buildTool builds pkg from the tools module unless a binary of exactly those
// sources is in the user's cache, and returns its path. Test processes that
// need it at the same time wait for the one that builds.
func buildTool(t testing.TB, name, pkg string) string {
	t.Helper()
	tools := filepath.Join(ModuleRoot(t), "tools")
	dir := toolDir(t, tools)
	path := filepath.Join(dir, name)
	unlock, err := lockedfile.MutexAt(path + ".lock").Lock()
	if err != nil {
		t.Fatalf("build %s: %v", name, err)
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("build %s: %v", name, err)
	}
	// Built under another name first: a killed build leaves nothing at path.
	part := path + ".part"
	cmd := exec.Command("go", "build", "-C", tools, "-o", part, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	if err := os.Rename(part, path); err != nil {
		t.Fatalf("build %s: %v", name, err)
	}
	return path
}

// toolDir returns the cache folder for binaries of the tools module as it
// stands, for this version of Go.
func toolDir(t testing.TB, tools string) string {
	t.Helper()
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(tools, name))
		if err != nil {
			t.Fatalf("read the tools module: %v", err)
		}
		sum.Write(content)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("find the cache: %v", err)
	}
	key := fmt.Sprintf("%s-%s-%s-%x", runtime.Version(), runtime.GOOS, runtime.GOARCH, sum.Sum(nil)[:8])
	dir := filepath.Join(cache, "accountd-test-tools", key)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatalf("make the cache: %v", err)
	}
	return dir
}
