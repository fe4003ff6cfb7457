package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/cli"
	"github.com/accountd/accountd/internal/cli/daemon"
	"github.com/accountd/accountd/operator/nscstore"
)

// asDaemon makes the test binary run accountd instead of tests, and asNsc makes
// it run nsc in the folder that it names.
const (
	asDaemon = "CLI_TEST_RUN_ACCOUNTD"
	asNsc    = "CLI_TEST_RUN_NSC"
	// daemonAhead is how far accountd's own clock is ahead of that of its servers.
	daemonAhead = "CLI_TEST_ACCOUNTD_AHEAD"
)

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		env := daemonEnv()
		if ahead, err := time.ParseDuration(os.Getenv(daemonAhead)); err == nil {
			env.Now = func() time.Time { return time.Now().Add(ahead) }
		}
		os.Exit(daemon.Run(ctx, os.Args[1:], env))
	}
	if dir := os.Getenv(asNsc); dir != "" {
		os.Exit(cli.Run(context.Background(), os.Args[1:], cli.Env{
			Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Dir: dir, Getenv: func(name string) string { return homes(dir)[name] },
		}))
	}
	code := m.Run()
	shared.stop()
	os.Exit(code)
}

func daemonEnv() daemon.Env {
	return daemon.Env{Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Dir: os.TempDir()}
}

// cluster is a real accountd dev in a process of its own.
type cluster struct {
	dir  string
	more []string // flags
	vars []string // of its environment
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

// shared is the cluster of all tests that do not stop anything.
var shared = &sharedCluster{}

type sharedCluster struct {
	once sync.Once
	c    *cluster
	err  error
}

func (s *sharedCluster) get(t *testing.T) *cluster {
	t.Helper()
	s.once.Do(func() {
		var dir string
		if dir, s.err = os.MkdirTemp("", "nsc-test-"); s.err == nil {
			s.c = &cluster{dir: filepath.Join(dir, "dev")}
			s.err = s.c.start()
		}
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.c
}

func (s *sharedCluster) stop() {
	if s.c != nil {
		s.c.kill()
		_ = os.RemoveAll(filepath.Dir(s.c.dir))
	}
}

// start starts accountd dev, or resumes it, and waits until it is ready.
func (c *cluster) start() error {
	ready := c.dir + ".ready"
	_ = os.Remove(ready)
	c.log = &bytes.Buffer{}
	args := append([]string{"dev", "--dir", c.dir, "--port", "0", "--http", "127.0.0.1:0", "--ready-file", ready}, c.more...)
	c.cmd = exec.Command(os.Args[0], args...)
	c.cmd.Env = append(append(os.Environ(), asDaemon+"=1"), c.vars...)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	if err := c.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = c.cmd.Wait()
		close(ended)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(60 * time.Second); ; {
		select {
		case <-ended:
			return fmt.Errorf("accountd dev ended: %s", c.log)
		case <-deadline:
			return errors.New("accountd dev was not ready in 60 s")
		case <-tick.C:
			if _, err := os.Stat(ready); err == nil {
				return nil
			}
		}
	}
}

func (c *cluster) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL)
}

// http returns the URL of the cluster's HTTP listener.
func (c *cluster) http(t *testing.T) string {
	t.Helper()
	var ready struct{ HTTP string }
	data, err := os.ReadFile(c.dir + ".ready")
	if err == nil {
		err = json.Unmarshal(data, &ready)
	}
	if err != nil || ready.HTTP == "" {
		t.Fatalf("no HTTP address: %v", err)
	}
	return ready.HTTP
}

// node stops or starts one node.
func (c *cluster) node(t *testing.T, verb, name string) {
	t.Helper()
	var out bytes.Buffer
	env := daemonEnv()
	env.Stdout, env.Stderr = &out, &out
	if code := daemon.Run(t.Context(), []string{"dev", "node", verb, name, "--dir", c.dir}, env); code != 0 {
		t.Fatalf("node %s %s: exit %d: %s", verb, name, code, out.String())
	}
}

// own starts a cluster for one test.
func own(t *testing.T, flags ...string) *cluster {
	t.Helper()
	c := &cluster{dir: filepath.Join(t.TempDir(), "dev"), more: flags}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

// person is somebody at a machine with a store of their own.
type person struct {
	t   *testing.T
	dir string // holds nsc.json, stores/ and keys/
	cwd string // the working folder; dir if empty
	now func() time.Time
	in  string          // stdin of the next command
	ctx context.Context // of the next commands, nil for that of the test
	tty bool            // stdin and stdout are a terminal

	vars map[string]string // further variables of the environment
}

// alone is a person with an empty store and no servers.
func alone(t *testing.T) *person {
	t.Helper()
	return &person{t: t, dir: t.TempDir(), now: time.Now}
}

// person makes a person with a copy of the cluster's nsc store.
func (c *cluster) person(t *testing.T) *person {
	t.Helper()
	p := alone(t)
	p.copyFrom(filepath.Join(c.dir, "nsc"))
	return p
}

// twin makes a person with a copy of p's store.
func (p *person) twin() *person {
	p.t.Helper()
	q := alone(p.t)
	q.copyFrom(p.dir)
	return q
}

func (p *person) copyFrom(dir string) {
	p.t.Helper()
	if err := os.CopyFS(p.dir, os.DirFS(dir)); err != nil {
		p.t.Fatal(err)
	}
	data, err := json.Marshal(map[string]string{"store_root": filepath.Join(p.dir, "stores"), "operator": "dev"})
	if err == nil {
		err = os.WriteFile(filepath.Join(p.dir, "nsc.json"), data, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// result is what one command did.
type result struct {
	t        *testing.T
	args     []string
	code     int
	out, err string
}

// run runs nsc.
func (p *person) run(args ...string) result {
	p.t.Helper()
	var out, errs bytes.Buffer
	vars := homes(p.dir)
	maps.Copy(vars, p.vars)
	ctx := p.ctx
	if ctx == nil {
		ctx = p.t.Context()
	}
	cwd := p.cwd
	if cwd == "" {
		cwd = p.dir
	}
	code := cli.Run(ctx, args, cli.Env{
		Stdin: strings.NewReader(p.in), Stdout: &out, Stderr: &errs,
		Getenv: func(name string) string { return vars[name] },
		Now:    p.now, Dir: cwd, Host: "laptop-7", Terminal: p.tty, PassphraseWork: 2,
	})
	return result{p.t, args, code, out.String(), errs.String()}
}

// homes is the environment of a person whose files are all below dir.
func homes(dir string) map[string]string {
	return map[string]string{"NSC_HOME": dir, "NKEYS_PATH": filepath.Join(dir, "keys"), "XDG_DATA_HOME": filepath.Join(dir, "data"), "XDG_CONFIG_HOME": filepath.Join(dir, "config")}
}

// ok runs nsc and expects success.
func (p *person) ok(args ...string) result { p.t.Helper(); return p.run(args...).exits(0) }

// exits checks the exit code.
func (r result) exits(code int) result {
	r.t.Helper()
	if r.code != code {
		r.t.Fatalf("nsc %s: exit %d, want %d\nstdout:\n%s\nstderr:\n%s", strings.Join(r.args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// says checks that stdout has each text.
func (r result) says(texts ...string) result {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.out, text) {
			r.t.Errorf("nsc %s: stdout lacks %q:\n%s", strings.Join(r.args, " "), text, r.out)
		}
	}
	return r
}

// complains checks that stderr has each text.
func (r result) complains(texts ...string) result {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.err, text) {
			r.t.Errorf("nsc %s: stderr lacks %q:\n%s", strings.Join(r.args, " "), text, r.err)
		}
	}
	return r
}

// silent checks that neither output has any of the texts.
func (r result) silent(texts ...string) result {
	r.t.Helper()
	for _, text := range texts {
		if strings.Contains(r.out+r.err, text) {
			r.t.Errorf("nsc %s says %q:\n%s%s", strings.Join(r.args, " "), text, r.out, r.err)
		}
	}
	return r
}

// json decodes stdout.
func (r result) json(into any) result {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.out), into); err != nil {
		r.t.Fatalf("nsc %s: %v in %s", strings.Join(r.args, " "), err, r.out)
	}
	return r
}

// operator opens the person's operator.
func (p *person) operator() *nscstore.Operator {
	p.t.Helper()
	op, err := p.store().Operator(p.t.Context(), p.operatorName())
	if err != nil {
		p.t.Fatal(err)
	}
	return op
}

func (p *person) operatorName() string {
	p.t.Helper()
	cfg, err := nscstore.LoadConfig(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	return cfg.Operator
}

func (p *person) store() *nscstore.Store {
	p.t.Helper()
	cfg, err := nscstore.LoadConfig(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := nscstore.Open(nscstore.Dirs{Config: p.dir, Stores: cfg.StoreRoot, Keys: filepath.Join(p.dir, "keys")})
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// account decodes an account of the person's store.
func (p *person) account(name string) (*claims.Document, *jwt.AccountClaims) {
	p.t.Helper()
	token, err := p.operator().AccountJWT(name)
	if err != nil {
		p.t.Fatal(err)
	}
	return decode[jwt.AccountClaims](p.t, token)
}

func (p *person) user(account, name string) (*claims.Document, *jwt.UserClaims) {
	p.t.Helper()
	token, err := p.operator().UserJWT(account, name)
	if err != nil {
		p.t.Fatal(err)
	}
	return decode[jwt.UserClaims](p.t, token)
}

func decode[T claims.Typed](t *testing.T, token string) (*claims.Document, *T) {
	t.Helper()
	doc, err := claims.Decode(token)
	if err != nil {
		t.Fatal(err)
	}
	c, err := claims.As[T](doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, c
}

// published returns what the person's store knows of a publication.
func (p *person) published(account string) nscstore.Publication {
	p.t.Helper()
	doc, _ := p.account(account)
	pub, _, err := p.operator().Published(doc.Subject)
	if err != nil {
		p.t.Fatal(err)
	}
	return pub
}

// files returns every file of the store and keystore with its content, but for
// locks and what remembers no claim.
func (p *person) files() map[string]string {
	p.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(p.dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, "lock") {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(p.dir, name)
		out[rel] = string(data)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// unchanged runs f and checks that it leaves every file as it was.
func (p *person) unchanged(f func()) {
	p.t.Helper()
	before := p.files()
	f()
	p.sameFiles(before)
}

// sameFiles requires the person's files to be as they were.
func (p *person) sameFiles(before map[string]string) {
	p.t.Helper()
	after := p.files()
	for name := range after {
		if _, had := before[name]; !had {
			p.t.Errorf("the store has a new file %s", name)
		}
	}
	for name, content := range before {
		if got, has := after[name]; !has || got != content {
			p.t.Errorf("the file %s is changed or gone", name)
		}
	}
}

// pointTo makes url the person's account server, in the local store alone.
func (p *person) pointTo(url string) {
	p.t.Helper()
	p.editOperator(func(c *jwt.OperatorClaims) { c.AccountServerURL, c.OperatorServiceURLs = url, nil })
}

// serverURL returns the account server's URL of the person's operator.
func (p *person) serverURL() string {
	p.t.Helper()
	token, err := p.operator().JWT()
	if err != nil {
		p.t.Fatal(err)
	}
	_, oc := decode[jwt.OperatorClaims](p.t, token)
	return oc.AccountServerURL
}

// deadURL is an address that nobody listens on.
func deadURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "nats://" + l.Addr().String()
}
