package durable_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
)

// The test binary starts itself as a child that works on the file argEnv.
const (
	childEnv = "DURABLE_TEST_CHILD"
	argEnv   = "DURABLE_TEST_ARG"
)

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := runChild(name, os.Getenv(argEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runChild(name, file string) error {
	switch name {
	case "rewrite": // until killed
		for i := byte(0); ; i = (i + 1) % 10 {
			if err := durable.WriteFile(file, content(i), 0o600); err != nil {
				return err
			}
			fmt.Println("written")
		}
	case "count": // read, add one, write, under the lock
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		return countUp(ctx, file)
	case "limited":
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 100, Max: 100}); err != nil {
			return err
		}
		return durable.WriteFile(file, content(1), 0o600)
	}
	return fmt.Errorf("unknown command %q", name)
}

// content is 64 KiB of the digit i.
func content(i byte) []byte { return bytes.Repeat([]byte{'0' + i}, 1<<16) }

func countUp(ctx context.Context, file string) error {
	held, err := durable.Lock(ctx, file+".lock")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return errors.Join(err, held.Unlock())
	}
	n, err := strconv.Atoi(string(data))
	if err == nil {
		err = os.WriteFile(file, []byte(strconv.Itoa(n+1)), 0o600)
	}
	return errors.Join(err, held.Unlock())
}

func child(name, file string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, argEnv+"="+file,
		"GORACE=atexit_sleep_ms=0") // the race detector waits a second otherwise
	return cmd
}

func write(t *testing.T, name, data string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func requireFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("files %q, want %q", got, want)
	}
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	write(t, name, "old")
	for _, perm := range []fs.FileMode{0o600, 0o666} { // the umask does not matter
		if err := durable.WriteFile(name, []byte("new"), perm); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(name)
		if err != nil || fi.Mode().Perm() != perm {
			t.Errorf("mode %v, want %v: %v", fi.Mode(), perm, err)
		}
	}
	if data, err := os.ReadFile(name); string(data) != "new" || err != nil {
		t.Errorf("content %q: %v", data, err)
	}
	requireFiles(t, dir, "f")
	if err := durable.WriteFile(filepath.Join(dir, "no", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "taken"), nil, 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	requireFiles(t, dir, "f", "taken")
}

func TestNamesStayBelowRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "root"), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"../x", "/x", "a/../../x"} {
		if durable.WriteFileIn(root, name, nil, 0o600) == nil || durable.CreateIn(root, name, nil, 0o600) == nil || durable.MkdirAllIn(root, name, 0o700) == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	requireFiles(t, dir, "root")
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := durable.MkdirAll(filepath.Join(dir, "a", "b", "c"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"a", "a/b", "a/b/c"} {
		fi, err := os.Stat(filepath.Join(dir, sub))
		if err != nil || fi.Mode().Perm() != 0o777 {
			t.Errorf("%s: %v %v", sub, fi.Mode(), err)
		}
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o755 {
		t.Errorf("existing folder: %v %v", fi.Mode(), err)
	}
	write(t, filepath.Join(dir, "file"), "")
	if err := durable.MkdirAll(filepath.Join(dir, "file", "a"), 0o700); err == nil {
		t.Error("a folder below a file")
	}
}

func TestMkdirAllInParallel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := durable.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A writer that is killed at a random moment leaves one whole content, and a
// leftover that RemoveLeftovers takes away.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for range 20 {
		cmd := child("rewrite", name)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(rand.IntN(10_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // killed
		kill.Stop()
		data, err := os.ReadFile(name)
		if err != nil || len(data) != 1<<16 || !bytes.Equal(data, content(data[0]-'0')) {
			t.Fatalf("%d bytes: %v", len(data), err)
		}
	}
	write(t, filepath.Join(dir, ".f.DEAD.accountd-tmp"), "half")
	if err := durable.RemoveLeftovers(dir); err != nil {
		t.Fatal(err)
	}
	requireFiles(t, dir, "f")
	if err := durable.RemoveLeftovers(filepath.Join(dir, "missing")); err != nil {
		t.Error(err)
	}
}

// Cleaning does not disturb writers that live.
func TestRemoveLeftoversSparesTheLiving(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 25 {
				if err := durable.WriteFile(filepath.Join(dir, strconv.Itoa(i)), []byte{byte(n)}, 0o600); err != nil {
					t.Error(err)
				}
				if err := durable.RemoveLeftovers(dir); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	requireFiles(t, dir, "0", "1", "2", "3")
}

func TestFailedWriteLeavesOldFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	write(t, name, "old")
	out, err := child("limited", name).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "file too large") {
		t.Errorf("%v: %s", err, out)
	}
	if data, err := os.ReadFile(name); string(data) != "old" || err != nil {
		t.Errorf("content %q: %v", data, err)
	}
	requireFiles(t, dir, "f")
}

func TestLockExcludesProcessesAndGoroutines(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "n")
	write(t, name, "0")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if out, err := child("count", name).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		wg.Go(func() {
			if err := countUp(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if data, err := os.ReadFile(name); string(data) != "40" || err != nil {
		t.Errorf("count %q: %v", data, err)
	}
}

func TestLockWaitEnds(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "lock")
	held, err := durable.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = durable.Lock(ctx, name)
	if f := fault.As(err); f == nil || f.Code != fault.Unavailable || f.Key != name || !strings.Contains(f.Msg, name) || f.Hint == "" {
		t.Errorf("deadline: %v", err)
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if _, err = durable.Lock(cancelled, name); !fault.Is(err, fault.Interrupted) {
		t.Errorf("cancelled: %v", err)
	}
	for range 2 {
		if err := held.Unlock(); err != nil {
			t.Errorf("unlock: %v", err)
		}
	}
	if _, err := durable.Lock(t.Context(), filepath.Join(name, "x")); err == nil {
		t.Error("a lock below a file")
	}
}

// A lock whose file is removed while another waits excludes those that come
// after.
func TestLockSurvivesRemoval(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "n")
	write(t, name, "0")
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			held, err := durable.Lock(t.Context(), name+".lock")
			if err != nil {
				t.Error(err)
				return
			}
			data, err := os.ReadFile(name)
			if err != nil {
				t.Error(err)
			}
			n, err := strconv.Atoi(string(data))
			if err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(name, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
				t.Error(err)
			}
			if i%3 == 0 {
				if err := os.Remove(name + ".lock"); err != nil {
					t.Error(err)
				}
			}
			if err := held.Unlock(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if data, err := os.ReadFile(name); string(data) != "30" || err != nil {
		t.Errorf("count %q: %v", data, err)
	}
}

// TestCreate: a file is made whole, replaces nothing, and leaves nothing when it
// cannot be made.
func TestCreate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "new")
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, s)
			return err
		}
	}
	half := func(w io.Writer) error { return errors.Join(text("half")(w), io.ErrUnexpectedEOF) }
	if err := durable.Create(name, 0o600, half); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a file: %v", err)
	}
	if err := durable.Create(name, 0o640, text("one")); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(name, 0o600, text("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an existing file: %v", err)
	}
	racing := func(w io.Writer) error {
		return errors.Join(text("mine")(w), os.WriteFile(filepath.Join(dir, "raced"), []byte("theirs"), 0o600))
	}
	if err := durable.Create(filepath.Join(dir, "raced"), 0o600, racing); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that was made meanwhile: %v", err)
	}
	for file, want := range map[string]string{"new": "one", "raced": "theirs"} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); string(got) != want {
			t.Errorf("%s holds %q %v", file, got, err)
		}
	}
	fi, err := os.Stat(name)
	entries, _ := os.ReadDir(dir)
	if err != nil || fi.Mode().Perm() != 0o640 || len(entries) != 2 {
		t.Errorf("%v %v %v", fi, err, entries)
	}
}
