package server

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output collects what Dev prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// options are those of a cluster of one on ports that are the test's own.
func options(t *testing.T, dir string) DevOptions {
	t.Helper()
	return DevOptions{Dir: dir, Nodes: 1, Port: natstest.FreeRange(t, portSpan), HTTP: httpOff}
}

// runDev runs Dev until it is ready, and ends it.
func runDev(t *testing.T, opts DevOptions) error {
	t.Helper()
	out := &output{}
	opts.Out = out
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Dev(ctx, opts) }()
	var err error
	natstest.Eventually(t, 30*time.Second, func() error {
		select {
		case err = <-ended:
			ended <- err
			return nil
		default:
		}
		if strings.Contains(out.String(), "ready in") {
			return nil
		}
		return errors.New("not ready")
	})
	cancel()
	return <-ended
}

func TestDevLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	opts := options(t, filepath.Join(t.TempDir(), "dev"))
	for range 2 {
		if err := runDev(t, opts); err != nil {
			t.Fatal(err)
		}
	}
}

// An end that is asked for before accountd is ready is no failure, and the next
// start goes on.
func TestDevEndsWhileItStarts(t *testing.T) {
	t.Parallel()
	opts := options(t, filepath.Join(t.TempDir(), "dev"))
	for after := time.Duration(0); after < 200*time.Millisecond; after += 20 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		err := Dev(ctx, opts)
		cancel()
		if err != nil {
			t.Fatalf("ended after %s: %v", after, err)
		}
	}
	if err := runDev(t, opts); err != nil {
		t.Fatal(err)
	}
}

// A clock that stands before the claims is refused; a little less is not.
func TestClock(t *testing.T) {
	t.Parallel()
	opts := options(t, filepath.Join(t.TempDir(), "dev"))
	if err := runDev(t, opts); err != nil {
		t.Fatal(err)
	}
	opts.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	err := runDev(t, opts)
	if fault.CodeOf(err) != fault.Invalid || fault.RuleOf(err) != "clock" || fault.As(err).Hint == "" {
		t.Fatalf("an hour before the claims: %v", err)
	}
	opts.Now = func() time.Time { return time.Now().Add(-time.Minute) }
	if err := runDev(t, opts); err != nil {
		t.Fatalf("a minute before the claims: %v", err)
	}
}

// A first start may be killed between any two of its steps.
func TestFirstStartStepByStep(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		name string
		harm func(t *testing.T, l layout)
		same bool // what was founded before the kill must be what runs
	}{
		{"nothing staged yet", func(t *testing.T, l layout) { mkdir(t, l.staging()) }, false},
		{"half staged", func(t *testing.T, l layout) {
			mustFound(t, l, now)
			rm(t, l.complete())
			rm(t, l.staged().sealed(sealedServer))
		}, false},
		{"staged, not complete", func(t *testing.T, l layout) {
			mustFound(t, l, now)
			rm(t, l.complete())
		}, false},
		{"complete", func(t *testing.T, l layout) { mustFound(t, l, now) }, true},
		{"nsc moved", func(t *testing.T, l layout) {
			mustFound(t, l, now)
			mv(t, l.staged().nsc(), l.nsc())
		}, true},
		{"all moved", func(t *testing.T, l layout) {
			mustFound(t, l, now)
			mv(t, l.staged().nsc(), l.nsc())
			mv(t, l.staged().own(), l.own())
		}, true},
		{"mark removed", func(t *testing.T, l layout) {
			mustFound(t, l, now)
			mv(t, l.staged().nsc(), l.nsc())
			mv(t, l.staged().own(), l.own())
			rm(t, l.complete())
		}, true},
		{"adopted, no store", func(t *testing.T, l layout) {
			mustFound(t, l, now)
			if err := adopt(l); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := options(t, filepath.Join(t.TempDir(), "dev"))
			l := layout(opts.Dir)
			mkdir(t, opts.Dir)
			c.harm(t, l)
			before := operatorIn(l.staged(), l)
			if err := runDev(t, opts); err != nil {
				t.Fatal(err)
			}
			if after := operatorIn(l); c.same != (before == after) {
				t.Errorf("operator before the kill %.9s…, after the next start %.9s…", before, after)
			}
		})
	}
}

func mustFound(t *testing.T, l layout, now time.Time) {
	t.Helper()
	st := state{Host: defaultHost, HTTP: httpOff, Nodes: portsFrom(defaultPort, 1)}
	if err := found(t.Context(), l, st, now); err != nil {
		t.Fatal(err)
	}
}

// operatorIn returns the operator's key that the first layout with a state has.
func operatorIn(places ...layout) string {
	for _, l := range places {
		if st, err := l.loadState(); err == nil {
			return st.Operator
		}
	}
	return ""
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func rm(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func mv(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// A folder that was moved runs from its new place, and nsc.json names it.
func TestMovedFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := options(t, filepath.Join(dir, "dev"))
	if err := runDev(t, opts); err != nil {
		t.Fatal(err)
	}
	mv(t, opts.Dir, filepath.Join(dir, "moved"))
	opts.Dir = filepath.Join(dir, "moved")
	if err := runDev(t, opts); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(opts.Dir, "nsc/nsc.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `"store_root":"`+opts.Dir+`/nsc/stores"`) {
		t.Errorf("nsc.json is %s", raw)
	}
}
