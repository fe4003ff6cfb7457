package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// Source is what a node follows: the reading half of a store.Store, with its
// promises about order and wakeups. A Source may be unreachable at any time.
type Source interface {
	View(ctx context.Context, f func(store.Reader) error) error
	Changed() <-chan struct{}
}

// StopMode says how clients learn that a node stops.
type StopMode int

// The modes.
const (
	Drain StopMode = iota // lame duck: leaders move, clients are sent away within 3 s
	Now                   // at once
)

// Node is one running nats-server that follows a Source. Its methods may be
// called from any goroutine, also after Stop.
type Node struct {
	cfg    Config
	kernel *kernel
	copy   *local
	srv    *server.Server
	opts   *server.Options
	res    *resolver
	terms  *terms

	operator *jwt.OperatorClaims // what the server trusts until it restarts

	applied  atomic.Uint64
	repaired atomic.Uint64

	pos    position     // what the copy has followed; the follower's own
	intake sync.RWMutex // held while versions are taken and their outcomes made

	mu      sync.Mutex
	lanes   map[string]*lane
	results results
	moved   chan struct{} // closed and replaced when versions are taken
	source  error         // why the Source cannot be followed, nil if it is
	behind  error         // why the Source's history is not the node's, nil if it is

	slots   chan struct{} // bounds the lanes at work
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	stopped sync.Once
}

// Start opens the node's copy, catches up with the Source if it answers within
// CatchUp, and runs the server until Stop. It returns when all
// listeners are open; the cluster may still be forming (see Healthy). ctx
// bounds the start only.
//
// Errors: fault.Denied for a folder that cannot be made,
// fault.Unavailable for a taken port, or when neither the copy nor the
// Source holds the operator and its system account; fault.Conflict when another
// process uses the copy; fault.Internal for a damaged copy.
func Start(ctx context.Context, cfg Config) (_ *Node, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.streams(), server.JetStreamStoreDir), 0o700); err != nil {
		return nil, fault.New(fault.Denied, "node %s cannot use %s: %w", cfg.Name, cfg.streams(), err).About("folder", cfg.streams()).
			ByRule("writable").WithHint("make it a folder that accountd may write to, with room on its disk")
	}
	n := &Node{
		cfg: cfg, lanes: map[string]*lane{}, moved: make(chan struct{}),
		slots: make(chan struct{}, maxLanes), terms: newTerms(),
	}
	if n.kernel, err = newKernel(); err != nil {
		return nil, err
	}
	if n.copy, err = openLocal(filepath.Join(cfg.Dir, "claims.db")); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.copy.close())
		}
	}()
	if n.pos, err = n.copy.position(); err != nil {
		return nil, err
	}
	n.applied.Store(n.pos.seq)
	n.catchUp(ctx)
	if n.operator, err = n.trust(); err != nil {
		return nil, err
	}
	n.copy.trusts = n.Trusts()
	if err := n.serve(ctx); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	n.wg.Go(func() { n.follow(run) })
	n.wg.Go(func() { n.reconcileLoop(run) })
	n.wg.Go(func() { n.keepTerms(run) })
	return n, nil
}

// catchUp brings the copy up to date before the server reads it: a JetStream
// tenant that is missing at the start stays without its replica.
func (n *Node) catchUp(ctx context.Context) {
	for more := true; more; {
		within, cancel := context.WithTimeout(ctx, n.cfg.CatchUp)
		l, err := n.look(within)
		cancel()
		if err == nil {
			err = n.takeUp(l)
		}
		n.sourceState(err)
		more = err == nil && l.more
	}
}

// takeUp writes what was seen to the copy.
func (n *Node) takeUp(l look) error {
	b, err := n.stage(l)
	if err != nil || len(b.accepted) == 0 && b.pos == n.pos {
		return err
	}
	if err := n.copy.flush(b.accepted, b.pos); err != nil {
		n.copy.unstage(b.accepted) // the next look brings it again
		return err
	}
	n.advance(b)
	return nil
}

// trust returns the operator that the server will trust, and refuses to start
// without its system account: the server would make one up that obeys no claim.
func (n *Node) trust() (*jwt.OperatorClaims, error) {
	token := n.cfg.Operator
	switch held, err := n.copy.operator(); {
	case err == nil:
		token = held.JWT
	case !errors.Is(err, errNotHeld):
		return nil, err
	}
	if token == "" {
		return nil, n.notReady("no operator")
	}
	op, err := jwt.DecodeOperatorClaims(token)
	if err != nil {
		return nil, fault.New(fault.Invalid, "node %s: operator: %w", n.cfg.Name, err).About("operator", "")
	}
	if op.SystemAccount == "" {
		return nil, fault.New(fault.Invalid, "node %s: operator %q names no system account", n.cfg.Name, op.Name).About("operator", op.Subject)
	}
	if sys, err := n.copy.get(store.Account, op.SystemAccount); err != nil && !errors.Is(err, errNotHeld) {
		return nil, err
	} else if err != nil || sys.missing() {
		return nil, n.notReady("no system account " + op.SystemAccount)
	}
	return op, nil
}

func (n *Node) notReady(what string) error {
	n.mu.Lock()
	cause := n.source
	n.mu.Unlock()
	err := fault.New(fault.Unavailable, "node %s holds %s", n.cfg.Name, what)
	if cause != nil {
		err = fault.New(fault.Unavailable, "node %s holds %s and cannot reach the store: %w", n.cfg.Name, what, cause)
	}
	return err.About("node", n.cfg.Name).WithHint("start the store first; a node that has followed it once starts without it")
}

// serve starts the server and waits until it listens.
func (n *Node) serve(ctx context.Context) error {
	n.res = newResolver(n.copy, n.terms.look)
	opts, err := n.cfg.serverOptions(n.operator, n.res)
	if err != nil {
		return err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return fault.New(fault.Internal, "node %s: %w", n.cfg.Name, err).About("node", n.cfg.Name)
	}
	log := newLogger(n.cfg.Logger)
	srv.SetLoggerV2(log, false, false, false)
	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start()
	}()
	err = n.listening(ctx, srv, log)
	if err != nil {
		srv.Shutdown()
	}
	<-started
	if err != nil {
		srv.WaitForShutdown()
		return err
	}
	n.srv, n.opts = srv, opts
	return nil
}

func (n *Node) listening(ctx context.Context, srv *server.Server, log *logger) error {
	for !srv.ReadyForConnections(10 * time.Millisecond) {
		select {
		case <-log.fatal:
		case <-ctx.Done():
			return fmt.Errorf("start node %s: %w", n.cfg.Name, ctx.Err())
		default:
			continue
		}
		break
	}
	select {
	case <-log.fatal:
		if strings.Contains(strings.ToLower(log.msg), "listen") {
			return n.cfg.listenError(log.msg)
		}
		return fault.New(fault.Internal, "node %s: %s", n.cfg.Name, log.msg).About("node", n.cfg.Name)
	default:
		return nil
	}
}

// Name returns the server's name.
func (n *Node) Name() string { return n.cfg.Name }

// Ports returns the ports that the node listens on, 0 for none.
func (n *Node) Ports() Ports { return portsOf(n.opts) }

// Operator returns the public key of the operator that the server serves.
func (n *Node) Operator() string { return n.operator.Subject }

// Trusts returns the operator keys whose accounts the running server takes.
func (n *Node) Trusts() []string {
	return operator.Trust{
		Key: keys.Operator(n.operator.Subject), SigningKeys: n.operator.SigningKeys, Strict: n.operator.StrictSigningKeyUsage,
	}.Signers()
}

// Server returns the running server. What changes claims must not be called on it.
func (n *Node) Server() *server.Server { return n.srv }

// InProcessConn opens a connection to the node without a socket; with it a
// Node serves as nats.InProcessServer.
func (n *Node) InProcessConn() (net.Conn, error) {
	conn, err := n.srv.InProcessConn()
	if err != nil {
		return nil, err
	}
	return newPipe(conn), nil
}

// Applied returns the sequence number of the last change that the node's copy
// holds.
func (n *Node) Applied() uint64 { return n.applied.Load() }

// Repaired returns how often the node found a server with another claim, or
// another effect, than its copy holds, and corrected it.
func (n *Node) Repaired() uint64 { return n.repaired.Load() }

// Stop ends the node: its server, its goroutines, and its copy, in this order.
// Drain moves leaders and sends clients away before; when ctx ends first, or
// with Now, they are cut. A second Stop does nothing.
func (n *Node) Stop(ctx context.Context, mode StopMode) (err error) {
	n.stopped.Do(func() {
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			if mode == Drain {
				n.srv.LameDuckShutdown()
			}
		}()
		select {
		case <-drained:
		case <-ctx.Done():
		}
		n.srv.Shutdown()
		<-drained
		n.srv.WaitForShutdown()
		n.cancel()
		n.wg.Wait()
		if e := n.copy.close(); e != nil {
			err = fmt.Errorf("stop node %s: %w", n.cfg.Name, e)
		}
	})
	return err
}
