package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/server/node"
	"github.com/accountd/accountd/store"
)

// healthTime bounds one look at a node's health.
const healthTime = time.Second

// attach connects the service to a node that has started.
type attach func(*node.Node) (door, error)

// door is the service's connection to one node.
type door struct {
	answered func(context.Context) error // fails when a request over it is not
	close    func()
}

// member is one expected server of the cluster, running or not. It implements
// resolver.Node: what is not running is pending, never forgotten.
type member struct {
	cfg      node.Config
	operator string // public key
	url      string
	attach   attach
	now      func() time.Time

	moving sync.Mutex // one start or stop at a time

	mu      sync.Mutex
	node    *node.Node // nil while it is stopped
	door    door
	changed chan struct{} // closed and replaced when node changes
	health  health
}

// health is the last known state and since when it holds.
type health struct {
	ok     bool
	reason string
	since  time.Time
}

func newMember(cfg node.Config, operator, url string, at attach) *member {
	m := &member{cfg: cfg, operator: operator, url: url, attach: at, now: cfg.Now, changed: make(chan struct{})}
	m.health = health{reason: "not started yet", since: m.now()}
	return m
}

// start runs the node; it is no error if it runs already.
func (m *member) start(ctx context.Context) error {
	m.moving.Lock()
	defer m.moving.Unlock()
	if n, _ := m.current(); n != nil {
		return nil
	}
	n, err := node.Start(ctx, m.cfg)
	if err != nil {
		return m.startFault(err)
	}
	var at door
	if err = m.requireOwn(n); err == nil {
		at, err = m.attach(n)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", m.cfg.Name, err), n.Stop(ctx, node.Now))
	}
	m.set(n, at)
	return nil
}

// startFault calls a damaged copy what it is to who starts accountd: a file
// that is not usable, not a defect of the program. Of what else the server says
// the log has more.
func (m *member) startFault(err error) error {
	f := fault.As(err)
	switch {
	case f == nil || f.Code != fault.Internal:
		return err
	case f.Entity == "file":
		return fault.New(fault.Invalid, "%w", err).About(f.Entity, f.Key).WithHint("%s", f.Hint)
	case f.Hint == "":
		return fault.New(f.Code, "%w", err).About(f.Entity, f.Key).WithHint("the log of the servers says more: %s", filepath.Join(filepath.Dir(m.cfg.Dir), "servers.log"))
	}
	return err
}

// requireOwn refuses a node whose copy of the claims is of another operator: it
// would serve that one.
func (m *member) requireOwn(n *node.Node) error {
	if n.Operator() == m.operator {
		return nil
	}
	return fault.New(fault.Invalid, "the claims in %s are not those of this operator", m.cfg.Dir).About("folder", m.cfg.Dir).
		ByRule("foreign-store").WithHint("put the node's own folder back, or remove claims.db from it: it is rebuilt from the store")
}

// stop ends the node with a lame duck; it is no error if it does not run.
func (m *member) stop(ctx context.Context) error {
	m.moving.Lock()
	defer m.moving.Unlock()
	n, _ := m.current()
	if n == nil {
		return nil
	}
	m.mu.Lock()
	at := m.door
	m.mu.Unlock()
	m.set(nil, door{})
	at.close()
	if err := n.Stop(ctx, node.Drain); err != nil {
		return fmt.Errorf("stop %s: %w", m.cfg.Name, err)
	}
	return nil
}

// set replaces the node and wakes those who wait for it.
func (m *member) set(n *node.Node, at door) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.node, m.door = n, at
	reason := "stopped"
	if n != nil {
		reason = "starting"
	}
	m.health = health{reason: reason, since: m.now()}
	close(m.changed)
	m.changed = make(chan struct{})
}

// current returns the node, nil while it is stopped, and a channel that is
// closed when that changes.
func (m *member) current() (*node.Node, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node, m.changed
}

// Name returns the name of the server.
func (m *member) Name() string { return m.cfg.Name }

// Await waits through stops and starts of the node.
func (m *member) Await(ctx context.Context, key string, revision uint64) api.NodeProof {
	for {
		n, changed := m.current()
		if n == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return m.absent()
			}
		}
		proof, moved := awaitNode(ctx, n, changed, key, revision)
		if !moved {
			return proof
		}
	}
}

// awaitNode waits on one run of a node, until changed is closed.
func awaitNode(ctx context.Context, n *node.Node, changed <-chan struct{}, key string, revision uint64) (proof api.NodeProof, moved bool) {
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan api.NodeProof, 1)
	go func() { done <- n.Await(run, key, revision) }()
	select {
	case proof = <-done:
		return proof, false
	case <-changed:
		cancel()
		<-done
		return api.NodeProof{}, true
	}
}

// Proof returns what the node can show now.
func (m *member) Proof(key string) api.NodeProof {
	if n, _ := m.current(); n != nil {
		return n.Proof(key)
	}
	return m.absent()
}

// absent is the proof of a node that does not run.
func (m *member) absent() api.NodeProof {
	m.mu.Lock()
	defer m.mu.Unlock()
	return api.NodeProof{
		Server: m.cfg.Name, State: api.Pending,
		Reason: fmt.Sprintf("not reachable since %s; it takes this version before it serves anyone", m.health.since.Local().Format(time.TimeOnly)),
	}
}

// Status returns the health of the node and how far it has followed.
func (m *member) Status() api.NodeStatus {
	n, _ := m.current()
	st := api.NodeStatus{Server: m.cfg.Name, URL: m.url}
	if n != nil {
		ctx, cancel := context.WithTimeout(context.Background(), healthTime)
		defer cancel()
		m.judge(n, n.Healthy(ctx))
		st.Applied, st.Trusts = n.Applied(), n.Trusts()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	st.Healthy, st.Reason, st.Since = m.health.ok, m.health.reason, m.health.since
	return st
}

// Trusts returns the operator keys that the node trusts, none if it does not run.
func (m *member) Trusts() []string {
	if n, _ := m.current(); n != nil {
		return n.Trusts()
	}
	return nil
}

// answered fails when requests through this node do not reach the service. A
// node that does not run says so itself.
func (m *member) answered(ctx context.Context) error {
	m.mu.Lock()
	ask := m.door.answered
	m.mu.Unlock()
	if ask == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	return ask(ctx)
}

// judge records what a look at n found.
func (m *member) judge(n *node.Node, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.node != n {
		return
	}
	h := health{ok: err == nil, since: m.now()}
	if err != nil {
		h.reason = err.Error()
	}
	if h.ok == m.health.ok {
		h.since = m.health.since
	}
	m.health = h
}

// awaitHealthy waits until the node runs and is healthy, and returns the last
// reason when ctx ends first.
func (m *member) awaitHealthy(ctx context.Context) error {
	n, _ := m.current()
	if n == nil {
		return fault.New(fault.Unavailable, "%s is stopped", m.cfg.Name).About("node", m.cfg.Name)
	}
	err := n.Healthy(ctx)
	if err != nil && !fault.Is(err, fault.Conflict) { // else no waiting helps
		err = n.AwaitHealthy(ctx)
	}
	m.judge(n, err)
	return err
}

// Seen tells which of the JWTs asked for live connections use.
func (m *member) Seen(req api.SeenRequest) api.SeenReply {
	n, _ := m.current()
	if n == nil {
		return api.SeenReply{Schema: api.Schema}
	}
	return n.Seen(req)
}

// campaign makes the node stand for leader of JetStream when there is none.
func (m *member) campaign(ctx context.Context) error {
	n, _ := m.current()
	if n == nil {
		return nil
	}
	return n.Campaign(ctx)
}

// inForce waits until the node proves rec.
func (m *member) inForce(ctx context.Context, rec store.Record) error {
	proof := m.Await(ctx, rec.Key, rec.Revision)
	if proof.State == api.InForce {
		return nil
	}
	return fault.New(fault.Unavailable, "%s does not prove %s %s in force: %s", m.cfg.Name, rec.Kind, rec.Name, proof.Reason).
		About("node", m.cfg.Name)
}

// followed fails unless the node holds all changes up to head. It catches up
// with a store that it reaches before it serves.
func (m *member) followed(head uint64) error {
	n, _ := m.current()
	if n != nil && n.Applied() >= head {
		return nil
	}
	return fault.New(fault.Unavailable, "%s has not followed all changes yet", m.cfg.Name).About("node", m.cfg.Name)
}
