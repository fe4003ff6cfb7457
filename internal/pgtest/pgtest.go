// Package pgtest runs a real PostgreSQL for the tests of one package: a server
// of its own on a unix socket, with a database for each test.
package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running PostgreSQL.
type Server struct {
	dir    string
	bin    string
	config []string            // settings beside those of tests, name=value
	cred   *syscall.Credential // of the user that may run it; nil for our own
	cmd    *exec.Cmd
	output bytes.Buffer
	next   atomic.Int64
}

// Start makes a cluster in a new folder and starts it. It does not sync, unless
// config, of the form name=value, says so.
func Start(ctx context.Context, config ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, config: config}
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return nil, err
	}
	if s.cred, err = unprivileged(s.dir); err != nil {
		return nil, err
	}
	initdb := s.command(ctx, "initdb", "-D", s.data(), "-U", "test", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, s.Run(ctx)
}

// binaries finds initdb and postgres, the newest version first.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for i := len(dirs) - 1; i >= 0; i-- {
		if _, err := os.Stat(filepath.Join(dirs[i], "initdb")); err == nil {
			return dirs[i], nil
		}
	}
	return "", fmt.Errorf("PostgreSQL is not installed: ./scripts/test installs it")
}

// unprivileged hands dir to the user postgres when we are root, whom initdb
// and postgres refuse.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("initdb refuses root, and there is no user postgres: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Run starts the server, also again after Stop, and waits until it answers.
func (s *Server) Run(ctx context.Context) error {
	args := []string{"-D", s.data(), "-k", s.dir}
	for _, c := range append([]string{"listen_addresses=", "fsync=off", "max_connections=200"}, s.config...) {
		args = append(args, "-c", c)
	}
	s.cmd = s.command(context.WithoutCancel(ctx), "postgres", args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			s.Stop()
			return fmt.Errorf("postgres does not answer: %w: %s", err, s.output.String())
		case <-tick.C:
		}
	}
}

// URL returns the address of a database.
func (s *Server) URL(database string) string {
	return "postgres://test@/" + database + "?host=" + url.QueryEscape(s.dir)
}

// Stop ends the server at once, as a crash would; Run starts it again.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	_ = s.cmd.Wait()
}

// Close stops the server and removes its folder.
func (s *Server) Close() error {
	s.Stop()
	return os.RemoveAll(s.dir)
}

// Database makes an empty database for t and returns its address.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.Clone(t, "template1")
}

// Clone makes a copy of the database template for t and returns its address.
// Nobody may be connected to template.
func (s *Server) Clone(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("t%d", s.next.Add(1))
	if err := s.Exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatal(err)
	}
	return s.URL(name)
}

// Exec runs a statement in the database postgres.
func (s *Server) Exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}
