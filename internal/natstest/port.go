package natstest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// The range that ports are taken from lies below the ephemeral ranges of the
// usual systems, so that no outgoing connection takes a port between its
// choice and its use.
const firstPort, lastPort = 12000, 31999

// FreePort returns a TCP port on 127.0.0.1 that nothing listens on. It belongs
// to the test, among all test processes of the machine, until the test ends.
func FreePort(t testing.TB) int {
	t.Helper()
	return FreePorts(t, 1)[0]
}

// FreePorts returns n different ports as FreePort does.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, 0, n)
	for range lastPort - firstPort {
		if len(ports) == n {
			return ports
		}
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if reserve(t, port) {
			ports = append(ports, port)
		}
	}
	if len(ports) < n {
		t.Fatalf("found %d of %d free ports", len(ports), n)
	}
	return ports
}

// FreeRange returns the first of n consecutive ports, each reserved as FreePort
// does: for programs that count their ports up from a given one.
func FreeRange(t testing.TB, n int) int {
	t.Helper()
	const tries = 1000
	for range tries {
		first := firstPort + rand.IntN(lastPort-firstPort-n+1)
		free := 0
		for free < n && reserve(t, first+free) {
			free++
		}
		if free == n {
			return first
		}
	}
	t.Fatalf("found no %d consecutive free ports", n)
	return 0
}

// reserve takes port for the test if no other test has it and nothing listens
// on it. The reservation is a lock on a file, which the system releases even if
// the process is killed.
func reserve(t testing.TB, port int) bool {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "accountd-test-ports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatalf("reserve a port: %v", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatalf("reserve a port: %v", err)
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return false
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		f.Close()
		return false
	}
	l.Close()
	t.Cleanup(func() { f.Close() })
	return true
}
