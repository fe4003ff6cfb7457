package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

// Operations of the control socket.
const (
	StopNode  = "stop"
	StartNode = "start"
)

const (
	maxSocketPath = 100     // bytes; systems allow 104 to 108
	maxCommand    = 4 << 10 // bytes
	commandTime   = 20 * time.Second
)

// command is what a control connection sends, one JSON object; reply is what it
// gets.
type command struct {
	Op   string `json:"op"`
	Node string `json:"node"`
}

type reply struct {
	Changed bool       `json:"changed"` // false: it was so already
	Error   *api.Error `json:"error,omitempty"`
}

// Control asks the accountd dev that runs on the folder dir to stop or start
// one node, waits until that is done, and reports whether anything changed. It
// is fault.Unavailable when none runs there, fault.NotFound for an unknown
// node.
func Control(ctx context.Context, dir, op, name string) (changed bool, err error) {
	st, err := layout(dir).loadState()
	if errors.Is(err, fs.ErrNotExist) {
		return false, fault.New(fault.NotFound, "%s is not a folder of accountd dev", dir).About("folder", dir).
			WithHint("name the folder: accountd dev node %s %s --dir DIR", op, name)
	}
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", st.Socket)
	if err != nil {
		return false, fault.New(fault.Unavailable, "accountd dev does not run on %s", dir).About("folder", dir).
			WithHint("start it: accountd dev --dir %s", dir)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(command{Op: op, Node: name}); err != nil {
		return false, fault.New(fault.Unavailable, "send command: %w", err)
	}
	var re reply
	if err := json.NewDecoder(io.LimitReader(conn, maxCommand)).Decode(&re); err != nil {
		return false, fault.New(fault.Unavailable, "accountd ended before it answered: %w", err)
	}
	return re.Changed, re.Error.Fault()
}

// socketPath is where the control socket of l belongs: in the folder, or in a
// short one of its own where the path would be too long.
func socketPath(l layout, runtimeDir string) string {
	if path := l.socket(); len(path) <= maxSocketPath {
		return path
	}
	if runtimeDir == "" {
		runtimeDir = os.TempDir()
	}
	sum := sha256.Sum256([]byte(l))
	return filepath.Join(runtimeDir, fmt.Sprintf("accountd-%d-%s", os.Getuid(), hex.EncodeToString(sum[:8])), "control.sock")
}

// listenControl opens the control socket, for this user alone. The folder is
// ours, so a socket that is there was left behind.
func (d *dev) listenControl() error {
	path := socketPath(d.folder.layout, d.opts.RuntimeDir)
	if err := privateDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unwritable(path, err)
	}
	ln, err := net.Listen("unix", path)
	if err == nil {
		d.control = ln
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return unwritable(path, err)
	}
	d.state.Socket = path
	return d.folder.saveState(d.state)
}

// privateDir makes the folder of the socket, which only we may enter.
func privateDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return unwritable(dir, err)
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return unwritable(dir, err)
	}
	owner, ok := fi.Sys().(*syscall.Stat_t)
	if !fi.IsDir() || fi.Mode().Perm()&0o077 != 0 || ok && int(owner.Uid) != os.Getuid() {
		return fault.New(fault.Denied, "%s belongs or is open to others and cannot hold the control socket", dir).About("folder", dir).
			ByRule("private-folder").WithHint("make it your own, or remove it: ls -ld %s", quote(dir))
	}
	return nil
}

// serveControl takes commands until ctx ends.
func (d *dev) serveControl(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { d.control.Close() })()
	for {
		conn, err := d.control.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("control socket: %w", err)
		}
		wg.Go(func() {
			defer conn.Close()
			ctx, cancel := context.WithTimeout(ctx, commandTime)
			defer cancel()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			var cmd command
			if err := json.NewDecoder(io.LimitReader(conn, maxCommand)).Decode(&cmd); err != nil {
				return
			}
			changed, err := d.obey(ctx, cmd)
			_ = json.NewEncoder(conn).Encode(reply{Changed: changed, Error: api.ToError(err)}) // the caller may be gone
		})
	}
}

// obey carries a command out.
func (d *dev) obey(ctx context.Context, cmd command) (changed bool, err error) {
	m, err := d.member(cmd.Node)
	if err != nil {
		return false, err
	}
	n, _ := m.current()
	switch cmd.Op {
	case StopNode:
		return n != nil, m.stop(ctx)
	case StartNode:
		return n == nil, m.start(ctx)
	}
	return false, fault.New(fault.Usage, "unknown command %q", cmd.Op)
}
