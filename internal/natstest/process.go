package natstest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stopWithin is how long Stop waits for a process to end before it kills it.
const stopWithin = 15 * time.Second

// Process is a program that a test runs. It is killed when the test ends, and
// its output is shown if the test failed.
type Process struct {
	cmd    *exec.Cmd
	output lockedBuffer
	ended  chan struct{}
}

// StartProcess starts the program at path with args, its output collected.
// A nil env means the environment of the test.
func StartProcess(t testing.TB, env []string, path string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.WaitDelay = time.Second // grandchildren may hold the output open
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // ProcessState tells how it ended
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", path, p.Output())
		}
	})
	return p
}

// Output returns what the process has written to stdout and stderr so far.
func (p *Process) Output() string { return p.output.String() }

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// CPU returns the processor time that the process has taken, as Linux counts
// it, in steps of 10 ms.
func (p *Process) CPU(t testing.TB) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // what follows the name
	fields := strings.Fields(rest)
	var ticks time.Duration
	for _, f := range fields[11:13] { // of the program, and of the system for it
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// Memory returns the most memory that the process has had, as Linux counts it.
func (p *Process) Memory(t testing.TB) uint64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib uint64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Signal sends sig; a process that has ended ignores it.
func (p *Process) Signal(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig) // the only failure is that it has ended
}

// Stop asks the process to end with SIGTERM and returns its exit code, -1 if it
// had to be killed. Stopping it twice is harmless.
func (p *Process) Stop() int {
	p.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		p.Kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// Wait waits until the process has ended by itself and returns its exit code.
// It fails the test if that takes longer than timeout.
func (p *Process) Wait(t testing.TB, timeout time.Duration) int {
	t.Helper()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		t.Fatalf("%s has not ended within %v", p.cmd.Path, timeout)
	}
	return p.cmd.ProcessState.ExitCode()
}

// lockedBuffer is a buffer that may be read while a process writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends p.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns what was written so far.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
