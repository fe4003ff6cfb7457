package daemon

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestResolverConfig: a file holds what flags do, strictly, and flags go first.
func TestResolverConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "resolver.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"operator": "acme.jwt", "servers": "nats://a:4222", "store": "bolt:x.db", "insecure_http": true}`)
	f := resolverFlags{Store: "bolt:mine.db"}
	if err := f.read(file, func(name string) bool { return name == "store" }); err != nil {
		t.Fatal(err)
	}
	if f.Operator != "acme.jwt" || f.Servers != "nats://a:4222" || f.Store != "bolt:mine.db" || !f.InsecureHTTP {
		t.Fatalf("read: %+v", f)
	}
	for _, bad := range []string{``, `[]`, `{"operater": "x"}`, `{"operator": 1}`, `{} {}`, `{"operator": "x"`, "operator: x"} {
		write(bad)
		if err := new(resolverFlags).read(file, func(string) bool { return false }); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestResolverUsage: what is missing is named, with exit code 2.
func TestResolverUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                       "--operator is missing",
		"--operator x":           "--system-creds is missing",
		"--config /nonexistent":  "cannot be read",
		"--operator x --unknown": "unknown flag",
		"serve":                  "takes no arguments",
	} {
		var out, errs bytes.Buffer
		env := Env{Stdout: &out, Stderr: &errs, Now: time.Now, Dir: t.TempDir()}
		code := Run(context.Background(), append([]string{"resolver"}, strings.Fields(args)...), env)
		if code != 2 && !(code == 3 && strings.Contains(args, "nonexistent")) {
			t.Errorf("%q: exit code %d", args, code)
		}
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%q says %q, want %q", args, errs.String(), want)
		}
	}
}

// FuzzResolverConfig: no file makes the decoder panic.
func FuzzResolverConfig(f *testing.F) {
	f.Add([]byte(`{"operator": "acme.jwt"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := parseResolverConfig(raw); err == nil && len(raw) > maxConfig {
			t.Fatal("a large file is taken")
		}
	})
}
