package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/server"
)

// asProgram in the environment makes the test binary the program itself.
const asProgram = "ACCOUNTD_TEST_AS_PROGRAM"

const (
	readyWithin = 60 * time.Second // clusters elect a leader, on busy machines
	endsWithin  = 10 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(context.Background(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// accountd runs the program and returns it at once.
func accountd(t *testing.T, args ...string) *natstest.Process {
	t.Helper()
	return natstest.StartProcess(t, append(os.Environ(), asProgram+"=1"), os.Args[0], args...)
}

// exits runs the program to its end, and checks its exit code and that it says
// each of texts.
func exits(t *testing.T, code int, args []string, texts ...string) string {
	t.Helper()
	p := accountd(t, args...)
	if got := p.Wait(t, 30*time.Second); got != code {
		t.Fatalf("accountd %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, p.Output())
	}
	for _, text := range texts {
		if !strings.Contains(p.Output(), text) {
			t.Errorf("accountd %s says\n%s\nwant it to say %q", strings.Join(args, " "), p.Output(), text)
		}
	}
	if code != 0 && code != 130 {
		wantErrorAndHint(t, p.Output())
	}
	return p.Output()
}

// wantErrorAndHint checks that a failure is one line and a hint.
func wantErrorAndHint(t *testing.T, output string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(output, "\n"), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "accountd: error: ") || !strings.HasPrefix(lines[1], "accountd: hint: ") {
		t.Errorf("want one line of error and one of hint, got\n%s", output)
	}
}

// running is accountd dev that has become ready.
type running struct {
	*natstest.Process
	server.Ready
}

// dev runs accountd dev on dir and waits until it is ready.
func dev(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ready.json")
	r := &running{Process: accountd(t, append([]string{"dev", "--dir", dir, "--ready-file", file}, args...)...)}
	natstest.Eventually(t, readyWithin, func() error {
		select {
		case <-r.Ended():
			t.Fatalf("accountd dev ended before it was ready:\n%s", r.Output())
		default:
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &r.Ready)
	})
	return r
}

// fresh runs a first start with one node, or as many as args say.
func fresh(t *testing.T, args ...string) *running {
	t.Helper()
	return dev(t, filepath.Join(t.TempDir(), "dev"), append(ports(t), args...)...)
}

// ports are flags that keep parallel tests apart.
func ports(t *testing.T) []string {
	t.Helper()
	first := natstest.FreeRange(t, 51)
	return []string{"--nodes", "1", "--port", strconv.Itoa(first), "--http", "127.0.0.1:" + strconv.Itoa(first+50)}
}

// ends checks that the program drains, exits 0 in time, and removes its ready
// file.
func (r *running) ends(t *testing.T) {
	t.Helper()
	began := time.Now()
	if code := r.Stop(); code != 0 {
		t.Fatalf("exit code %d after SIGTERM, want 0\n%s", code, r.Output())
	}
	if took := time.Since(began); took > endsWithin {
		t.Errorf("SIGTERM took %s, allowed are %s", took, endsWithin)
	}
}

// connect connects with the credentials of sys.
func (r *running) connect(t *testing.T, node int) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(r.Nodes[node].URL, nats.UserCredentials(r.Creds), nats.Name(t.Name()))
	if err != nil {
		t.Fatalf("connect to %s as sys: %v", r.Nodes[node].Name, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// get fetches a path over HTTP.
func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	res, err := http.Get(r.HTTP + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// readyz waits until /readyz answers with status and all of texts.
func (r *running) readyz(t *testing.T, status int, texts ...string) {
	t.Helper()
	natstest.Eventually(t, readyWithin, func() error {
		got, body := r.get(t, "/readyz")
		if got != status {
			return fmt.Errorf("/readyz answers %d %s, want %d", got, body, status)
		}
		for _, text := range texts {
			if !strings.Contains(body, text) {
				return errors.New(body + " does not mention " + text)
			}
		}
		return nil
	})
}

// read returns the content of a file.
func read(t *testing.T, path ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
