package server

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountd/accountd/fault"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	recorded := state{Host: "127.0.0.1", HTTP: "127.0.0.1:9000", Nodes: portsFrom(5000, 2)}
	for _, c := range []struct {
		name  string
		st    state
		opts  DevOptions
		first int // client port of the first node
		last  int // MQTT port of the last one
		http  string
		code  fault.Code
	}{
		{name: "defaults", first: 4222, last: 4264, http: defaultHTTP},
		{name: "ten", opts: DevOptions{Nodes: 10, Port: 20000}, first: 20000, last: 20049, http: defaultHTTP},
		{name: "recorded", st: recorded, first: 5000, last: 5041, http: "127.0.0.1:9000"},
		{name: "others", st: recorded, opts: DevOptions{Port: 6000, HTTP: "off"}, first: 6000, last: 6041, http: "off"},
		{name: "the same number", st: recorded, opts: DevOptions{Nodes: 2}, first: 5000, last: 5041, http: "127.0.0.1:9000"},
		{name: "another number", st: recorded, opts: DevOptions{Nodes: 3}, code: fault.Usage},
		{name: "too many", opts: DevOptions{Nodes: 11}, code: fault.Usage},
		{name: "too high", opts: DevOptions{Port: 65500}, code: fault.Usage},
		{name: "HTTP on a node's port", opts: DevOptions{Port: 5000, HTTP: "127.0.0.1:5022"}, code: fault.Usage},
		{name: "HTTP on the port of no node", opts: DevOptions{Nodes: 1, Port: 5000, HTTP: "127.0.0.1:5010"}, first: 5000, last: 5040, http: "127.0.0.1:5010"},
		{name: "negative", opts: DevOptions{Port: -7}, code: fault.Usage},
	} {
		err := c.st.plan(c.opts)
		if c.code != "" {
			if fault.CodeOf(err) != c.code || fault.As(err).Hint == "" {
				t.Errorf("%s: %v, want %s with a hint", c.name, err, c.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		n := c.st.Nodes
		if n[0].Client != c.first || n[len(n)-1].MQTT != c.last || c.st.HTTP != c.http {
			t.Errorf("%s: %+v, HTTP %s", c.name, n, c.st.HTTP)
		}
	}
}

// Nodes on every address are reached on this machine.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"0.0.0.0": "nats://127.0.0.1:4222", "::": "nats://127.0.0.1:4222", "::1": "nats://[::1]:4222", "example.org": "nats://example.org:4222",
	} {
		st := state{Host: host, Nodes: portsFrom(4222, 1)}
		if got := st.clientURLs()[0]; got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

// quote makes one word of anything, for the shell that is here.
func TestQuote(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "/plain/path-1_2.x", "it's", `a "b" $c`, "`id`", "a\nb", `back\slash`, "*?[a]", "~", "é", "!x", "a;b"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("quote(%q) = %s: the shell sees %q, %v", s, quote(s), out, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		q := quote(s)
		if !strings.HasPrefix(q, "'") {
			if strings.ContainsAny(q, " \t\n'\"$`\\*?[]~!;&|<>(){}#") {
				t.Fatalf("%q is left bare", q)
			}
			return
		}
		if strings.ReplaceAll(q[1:len(q)-1], `'\''`, "'") != s {
			t.Fatalf("%q becomes %s", s, q)
		}
	})
}

// The log of the servers does not grow without bound.
func TestServerLogIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "nodes/servers.log")
	log, err := openServerLog(path)
	if err != nil {
		t.Fatal(err)
	}
	line := append(bytes.Repeat([]byte("x"), 64<<10), '\n')
	for range 3 * maxServerLog / len(line) {
		if _, err := log.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{path, path + ".1"} {
		if fi, err := os.Stat(name); err != nil || fi.Size() > maxServerLog+int64(len(line)) || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %+v, %v", name, fi, err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write(line); err == nil {
		t.Error("a closed log takes lines")
	}
}

func FuzzLoadState(f *testing.F) {
	f.Add([]byte(`{"schema":1,"operator":"O","system":"A","nodes":[{"name":"nats-0","client":1}]}`))
	f.Add([]byte(`{"schema":2}`))
	f.Add([]byte(`[`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := layout(filepath.Join(dir, "d"))
		if err := os.MkdirAll(l.own(), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(l.state(), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := l.loadState()
		if err == nil && len(st.Nodes) == 0 {
			t.Error("a state without nodes is taken")
		}
		if err != nil && fault.CodeOf(err) != fault.Invalid {
			t.Errorf("code %s: %v", fault.CodeOf(err), err)
		}
	})
}
