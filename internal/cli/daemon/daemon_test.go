package daemon

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/server"
)

func env(out *bytes.Buffer) Env {
	return Env{Stdout: out, Stderr: out, Now: time.Now, Dir: "/home/me", Program: "/opt/bin/accountd", Version: "v1.2.3"}
}

// What was not given is left to what an earlier start recorded.
func TestOptions(t *testing.T) {
	t.Parallel()
	defaults := devFlags{dir: "./accountd-dev", host: "127.0.0.1", http: "127.0.0.1:9222", level: "warn", nodes: 3, port: 4222}
	for _, c := range []struct {
		name  string
		set   func(*devFlags)
		given string
		want  server.DevOptions
	}{
		{"nothing", func(*devFlags) {}, "", server.DevOptions{Dir: "/home/me/accountd-dev", Show: "./accountd-dev"}},
		{"defaults spelled out", func(*devFlags) {}, "nodes port host http",
			server.DevOptions{Dir: "/home/me/accountd-dev", Show: "./accountd-dev", Nodes: 3, Port: 4222, Host: "127.0.0.1", HTTP: "127.0.0.1:9222"}},
		{"free ports, no HTTP", func(f *devFlags) { f.port, f.http = 0, "" }, "port http",
			server.DevOptions{Dir: "/home/me/accountd-dev", Show: "./accountd-dev", Port: server.FreePorts, HTTP: "off"}},
		{"another folder", func(f *devFlags) { f.dir, f.ready = "demo", "r.json" }, "dir ready-file",
			server.DevOptions{Dir: "/home/me/demo", Show: "./demo", ReadyFile: "/home/me/r.json"}},
		{"an absolute folder", func(f *devFlags) { f.dir = "/srv/demo" }, "dir",
			server.DevOptions{Dir: "/srv/demo", Show: "/srv/demo"}},
	} {
		f := defaults
		c.set(&f)
		given := strings.Fields(c.given)
		got, err := f.options(env(&bytes.Buffer{}), func(name string) bool { return slices.Contains(given, name) })
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Logger == nil || got.Out == nil || got.BinDir != "/opt/bin" {
			t.Errorf("%s: %+v", c.name, got)
		}
		got.Logger, got.Out, got.Now, got.BinDir = nil, nil, nil, ""
		if got.Dir != c.want.Dir || got.Show != c.want.Show || got.Nodes != c.want.Nodes || got.Port != c.want.Port ||
			got.Host != c.want.Host || got.HTTP != c.want.HTTP || got.ReadyFile != c.want.ReadyFile {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

// Each kind of error ends in its documented exit code, with a hint where there
// is one.
func TestRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"--version"}, 0, []string{"v1.2.3"}},
		{[]string{"dv"}, 2, []string{`accountd: error: unknown command "dv"`, `accountd: hint: did you mean: accountd dev`}},
		{[]string{"dev", "--nodes", "0"}, 2, []string{"accountd: error: --nodes 0", "accountd: hint: see accountd dev --help"}},
		{[]string{"dev", "node", "stop", "nats-0", "--dir", "/nowhere"}, 3, []string{"/nowhere is not a folder of accountd dev", "accountd: hint: "}},
	} {
		var out bytes.Buffer
		if code := Run(t.Context(), c.args, env(&out)); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.args, code, c.code)
		}
		for _, text := range c.says {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%v says\n%s\nwant %q", c.args, out.String(), text)
			}
		}
	}
}

// Joined errors are one line, and the hint is that of the first.
func TestReport(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := errors.Join(fault.New(fault.Unavailable, "port 1 is taken").WithHint("free it"), errors.New("close store: broken"))
	report(&out, nil, err)
	if want := "accountd: error: port 1 is taken; close store: broken\naccountd: hint: free it\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// Every command shows at least three examples, all of commands that exist.
func TestHelp(t *testing.T) {
	t.Parallel()
	root := newRoot(env(&bytes.Buffer{}))
	for _, path := range []string{"", "dev", "dev node", "dev node stop", "dev node start"} {
		cmd, _, err := root.Find(strings.Fields(path))
		if err != nil || cmd.CommandPath() != strings.TrimSpace("accountd "+path) {
			t.Fatalf("%q: %v, %v", path, cmd.CommandPath(), err)
		}
		lines := strings.Split(cmd.Example, "\n")
		if len(lines) < 3 {
			t.Errorf("%s has %d examples", cmd.CommandPath(), len(lines))
		}
		for _, line := range lines {
			args := strings.Fields(line)
			found, rest, err := root.Find(args[1:])
			if err != nil || args[0] != "accountd" {
				t.Errorf("%s: example %q: %v", cmd.CommandPath(), line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: example %q: %v", cmd.CommandPath(), line, err)
			}
		}
	}
}
