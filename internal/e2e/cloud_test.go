package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
)

// patience is how long a test waits for what should take milliseconds, on a
// machine that does other things too.
const patience = 30 * time.Second

// cloud is one accountd dev on a folder of its own.
type cloud struct {
	t      testing.TB
	dir    string
	home   string // HOME of everything that runs; nothing may appear in it
	env    []string
	ready  ready
	daemon *natstest.Process
	starts int
	limit  time.Duration // of one command, 0 for the usual one
}

// ready is what the tests read of the file that accountd dev writes when the
// claims are in force. Only the goroutine that starts the process may read it
// while the process may be started again.
type ready struct {
	HTTP  string `json:"http"`
	Nodes []struct {
		Name, URL, Leaf, WS, MQTT string
	} `json:"nodes"`
}

// newCloud starts accountd dev with the further flags on a fresh folder and
// returns when it is ready.
func newCloud(t testing.TB, flags ...string) *cloud {
	t.Helper()
	return cloudAt(t, filepath.Join(t.TempDir(), "D"), t.TempDir(), flags...)
}

// cloudAt is newCloud on a given folder.
func cloudAt(t testing.TB, dir, home string, flags ...string) *cloud {
	t.Helper()
	c := &cloud{t: t, dir: dir, home: home}
	c.env = []string{"PATH=" + binDir(t) + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + c.home}
	c.start(append([]string{"--port", "0", "--http", "127.0.0.1:0"}, flags...)...)
	c.env = c.source()
	return c
}

// start runs accountd dev on the folder, a first time or again.
func (c *cloud) start(flags ...string) {
	c.t.Helper()
	c.starts++
	file := filepath.Join(filepath.Dir(c.dir), fmt.Sprintf("ready-%d.json", c.starts))
	args := append([]string{"dev", "--dir", c.dir, "--ready-file", file}, flags...)
	c.daemon = natstest.StartProcess(c.t, c.env, filepath.Join(binDir(c.t), "accountd"), args...)
	natstest.Eventually(c.t, patience, func() error {
		raw, err := os.ReadFile(file)
		if err == nil {
			return json.Unmarshal(raw, &c.ready)
		}
		select {
		case <-c.daemon.Ended():
			c.t.Fatalf("accountd dev ended before it was ready:\n%s", c.daemon.Output())
		default:
		}
		return err
	})
}

// source returns the environment that DIR/env gives to a shell.
func (c *cloud) source() []string {
	c.t.Helper()
	cmd := exec.Command("sh", "-c", `. "$0"/env && exec env -0`, c.dir)
	cmd.Env = c.env
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("read %s/env: %v", c.dir, err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
}

// result is what a command did.
type result struct {
	line     string
	code     int
	out, err string
	cpu      time.Duration // processor time
}

func (r result) String() string {
	return fmt.Sprintf("%s\nexit code %d\n%s%s", r.line, r.code, r.out, r.err)
}

// run runs a program in the environment of the cloud. It may be called from any
// goroutine.
func (c *cloud) run(name string, args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), max(c.limit, 2*patience))
	defer cancel()
	path := name
	if !strings.Contains(name, "/") {
		path = filepath.Join(bin.dir, name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Dir = c.env, filepath.Dir(c.dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	r := result{line: name + " " + strings.Join(args, " "), out: out.String(), err: errs.String()}
	if st := cmd.ProcessState; st != nil {
		r.cpu = st.UserTime() + st.SystemTime()
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		r.code, r.err = -1, err.Error()
	}
	return r
}

// nsc runs nsc and requires it to succeed.
func (c *cloud) nsc(args ...string) result {
	c.t.Helper()
	return c.nscExits(0, args...)
}

// nscExits runs nsc and requires the exit code.
func (c *cloud) nscExits(code int, args ...string) result {
	c.t.Helper()
	r := c.run("nsc", args...)
	if r.code != code {
		c.t.Fatalf("expected exit code %d:\n%s", code, r)
	}
	return r
}

// receipt is what the tests read of the JSON of a mutation.
type receipt struct {
	Name, Key, Outcome, Account string
	Revision                    uint64
	Proven                      bool
	Credentials                 string
	Nodes                       []node
	Error                       *struct{ Code, Rule, Message string }
}

type node struct {
	Server, State, Reason string
	Revision              uint64
	Loaded, Swept         bool
	Closed                []struct {
		User, Kind, Name, Found string
		Ms                      float64
	}
}

// change runs nsc with --json, requires the exit code and returns the receipt.
func (c *cloud) change(code int, args ...string) receipt {
	c.t.Helper()
	r := c.nscExits(code, append(args, "--json")...)
	var rec receipt
	if err := json.Unmarshal([]byte(r.out), &rec); err != nil {
		c.t.Fatalf("%v in the JSON of\n%s", err, r)
	}
	return rec
}

// creds is the path of a user's credentials.
func (c *cloud) creds(account, user string) string {
	return filepath.Join(c.dir, "nsc", "keys", "creds", "dev", account, user+".creds")
}

// user adds a user and returns its credentials file.
func (c *cloud) user(account, name string, flags ...string) string {
	c.t.Helper()
	c.nsc(append([]string{"add", "user", name, "-a", account}, flags...)...)
	return c.creds(account, name)
}

// jetStream gives an account JetStream, which MQTT needs.
func (c *cloud) jetStream(account string) {
	c.t.Helper()
	c.nsc("edit", "account", account, "--js-disk-storage", "64M", "--js-mem-storage", "16M", "--js-streams", "10", "--js-consumer", "10")
}

// node stops or starts one server.
func (c *cloud) node(verb string, i int) {
	c.t.Helper()
	r := c.run("accountd", "dev", "node", verb, c.ready.Nodes[i].Name, "--dir", c.dir)
	if r.code != 0 {
		c.t.Fatal(r)
	}
}

// urls returns one address of every node.
func (c *cloud) urls() []string {
	var urls []string
	for _, n := range c.ready.Nodes {
		urls = append(urls, n.URL)
	}
	return urls
}

func (c *cloud) leafs() []string {
	var urls []string
	for _, n := range c.ready.Nodes {
		urls = append(urls, n.Leaf)
	}
	return urls
}

// dial connects with a credentials file and fails the test if that fails.
func (c *cloud) dial(url, creds string, opts ...nats.Option) *nats.Conn {
	c.t.Helper()
	nc, err := tryDial(url, creds, opts...)
	if err != nil {
		c.t.Fatalf("connect to %s with %s: %v", url, filepath.Base(creds), err)
	}
	c.t.Cleanup(nc.Close)
	return nc
}

// tryDial connects once, without coming back after a cut.
func tryDial(url, creds string, opts ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{
		nats.UserCredentials(creds), nats.NoReconnect(), nats.Timeout(10 * time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, opts...)
	return nats.Connect(url, all...)
}

// refusedEverywhere requires every node to refuse the credentials.
func (c *cloud) refusedEverywhere(creds string) {
	c.t.Helper()
	for _, url := range c.urls() {
		if err := refused(url, creds); err != nil {
			c.t.Error(err)
		}
	}
}

// refused returns nil if the server refuses the credentials.
func refused(url, creds string) error {
	nc, err := tryDial(url, creds)
	if err == nil {
		nc.Close()
		return fmt.Errorf("%s accepts %s", url, filepath.Base(creds))
	}
	if !errors.Is(err, nats.ErrAuthorization) && !strings.Contains(strings.ToLower(err.Error()), "authorization") {
		return fmt.Errorf("%s does not refuse %s: %w", url, filepath.Base(creds), err)
	}
	return nil
}

// acceptedEverywhere requires every node to accept the credentials.
func (c *cloud) acceptedEverywhere(creds string) {
	c.t.Helper()
	for _, url := range c.urls() {
		nc, err := tryDial(url, creds)
		if err != nil {
			c.t.Errorf("%s refuses %s: %v", url, filepath.Base(creds), err)
			continue
		}
		nc.Close()
	}
}

// inForce requires every node to be in force, swept where it has the account.
func (c *cloud) inForce(rec receipt) {
	c.t.Helper()
	if !rec.Proven || len(rec.Nodes) != len(c.ready.Nodes) {
		c.t.Fatalf("not proven on %d nodes: %+v", len(c.ready.Nodes), rec)
	}
	bad := slices.IndexFunc(rec.Nodes, func(n node) bool { return n.State != "in force" })
	if bad >= 0 {
		c.t.Fatalf("%+v", rec.Nodes[bad])
	}
}

// within fails the test if done is not closed in time.
func within(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("not within %v: %s", patience, what)
	}
}
