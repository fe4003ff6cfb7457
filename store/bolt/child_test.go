package bolt_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/accountd/accountd/store/bolt"
)

// childMode names the variable that turns the test program into a child.
const childMode = "ACCOUNTD_STORE_CHILD"

func TestMain(m *testing.M) {
	mode := os.Getenv(childMode)
	if mode == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := childMain(mode, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childMain is what a child does with the store at path.
func childMain(mode, path string) error {
	s, err := bolt.Open(path, bolt.Options{LockTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	switch mode {
	case "hold":
		fmt.Println("ready")
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	case "write":
		return writeForEver(s)
	case "full":
		return fillDisk(s, path)
	}
	return fmt.Errorf("unknown mode %q", mode)
}

// child is a process of ours; it ends with the test.
type child struct {
	cmd   *exec.Cmd
	in    io.Closer
	lines *bufio.Scanner
}

func startChild(t *testing.T, mode, path string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, path)
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, in: in, lines: bufio.NewScanner(out)}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			c.kill(t)
		}
	})
	return c
}

// line returns the next line of the child, "" at its end.
func (c *child) line(t *testing.T) string {
	t.Helper()
	if c.lines.Scan() {
		return c.lines.Text()
	}
	return ""
}

// kill ends the child with SIGKILL and waits for it; its output can no longer
// be read.
func (c *child) kill(t *testing.T) {
	t.Helper()
	_ = c.cmd.Process.Kill() // fails only when it has ended
	_ = c.cmd.Wait()         // "signal: killed"
	_ = c.in.Close()
}
