package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// Await waits until the node has proven or rejected the given revision of an
// account or operator, or a newer one, and returns what it can show. When ctx
// ends first the state is Pending, with the reason.
func (n *Node) Await(ctx context.Context, key string, revision uint64) api.NodeProof {
	for {
		p, wake := n.answer(key, revision)
		if wake == nil {
			return p
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return p
		}
	}
}

// known is one consistent look at what the node holds of a key and what became
// of it.
type known struct {
	held           entry // not read if there is an outcome for the revision asked for
	err            error // errNotHeld, or the copy cannot be read
	out            *outcome
	wake           <-chan struct{} // closed when there may be more
	source, behind error
}

// known returns the outcome for a revision, 0 for the one that is held.
func (n *Node) known(key string, revision uint64) (k known) {
	n.intake.RLock()
	defer n.intake.RUnlock()
	if revision > 0 && n.outcomeOf(&k, key, revision) {
		return k
	}
	k.held, k.err = n.copy.get(kindOf(key), key)
	if revision == 0 {
		revision = k.held.Revision
	}
	n.outcomeOf(&k, key, revision)
	return k
}

// outcomeOf fills into k the outcome for a revision, if there is one, and the
// state of the node.
func (n *Node) outcomeOf(k *known, key string, revision uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	k.wake, k.source, k.behind = n.moved, n.source, n.behind
	out := n.results.find(key, revision)
	if out == nil {
		return false
	}
	now := *out
	k.out, k.wake = &now, out.moved
	return true
}

// answer returns what there is to say about a revision, and a channel that is
// closed when there may be more, nil if that was the last word.
func (n *Node) answer(key string, revision uint64) (api.NodeProof, <-chan struct{}) {
	k := n.known(key, max(revision, 1))
	switch {
	case k.out != nil && !k.out.done:
		if k.source != nil {
			k.out.proof.Reason += "; " + reasonOf(k.source)
		}
		return k.out.proof, k.wake
	case k.out != nil && k.out.proof.State == api.InForce:
		return k.out.proof, nil
	case k.out != nil:
		return n.Proof(key), nil // a rejection may have healed since
	case k.err == nil && k.held.Revision >= revision:
		return n.shown(k), nil
	case k.source != nil:
		return n.pending(k.held, reasonOf(k.source)), k.wake
	}
	return n.pending(k.held, "not received yet"), k.wake
}

// Proof returns, without waiting, what the node can show right now for an
// account or operator: it reads the server's state anew and sweeps.
func (n *Node) Proof(key string) api.NodeProof {
	return n.shown(n.known(key, 0))
}

// shown is Proof for what is known.
func (n *Node) shown(k known) api.NodeProof {
	switch {
	case errors.Is(k.err, errNotHeld):
		return n.pending(entry{}, "not received yet")
	case k.err != nil:
		return n.pending(entry{}, k.err.Error())
	case k.out != nil && !k.out.done:
		return k.out.proof
	}
	p := n.now(k.held)
	if k.out != nil {
		p.Closed, p.Ms = k.out.proof.Closed, k.out.proof.Ms
	}
	if k.behind != nil && p.Reason == "" {
		p.Reason = k.behind.Error()
	}
	return p
}

// now reads what is in force for an entry, with a sweep of its connections.
func (n *Node) now(e entry) api.NodeProof {
	if e.Kind == store.Operator {
		return n.operatorProof(e)
	}
	acc := n.kernel.loaded(n.srv, e.Key)
	if acc == nil {
		return n.unloadedProof(e)
	}
	p := n.loadedProof(e)
	if p.State != api.InForce {
		return p
	}
	ac, err := claimsOf(e)
	if err != nil {
		return n.rejected(e, err.Error())
	}
	r := n.ruleOf(ac)
	p.Swept = true
	n.kernel.peers(acc, func(c peer) {
		if !r.ends(e.Key, c.user) {
			return
		}
		if s, ok := n.kernel.session(c); ok {
			p.State, p.Swept = api.Pending, false
			p.Reason = fmt.Sprintf("connection %d of %s is still open", s.cid, s.user)
		}
	})
	return p
}

func kindOf(key string) store.Kind {
	if strings.HasPrefix(key, "O") {
		return store.Operator
	}
	return store.Account
}

func (n *Node) proof(e entry, state api.State, reason string) api.NodeProof {
	return api.NodeProof{Server: n.cfg.Name, State: state, Reason: reason, Revision: e.Revision}
}

func (n *Node) pending(e entry, reason string) api.NodeProof { return n.proof(e, api.Pending, reason) }

func (n *Node) rejected(e entry, reason string) api.NodeProof {
	p := n.proof(e, api.Rejected, reason)
	p.Loaded = n.kernel.loaded(n.srv, e.Key) != nil
	return p
}

// operatorProof says whether the server trusts what the held operator says:
// trusted keys are fixed when a server starts.
func (n *Node) operatorProof(e entry) api.NodeProof {
	trust, err := trustOf(e.JWT)
	if err != nil {
		return n.rejected(e, err.Error())
	}
	p := n.proof(e, api.InForce, "")
	if stale := trust.Stale(n.Trusts()); len(stale) > 0 {
		p = n.restart(e, stale...)
	}
	p.Loaded = true
	return p
}

func trustOf(operatorJWT string) (operator.Trust, error) {
	d, err := claims.Decode(operatorJWT)
	if err != nil {
		return operator.Trust{}, err
	}
	return operator.TrustOf(d)
}

// restart is for what the server takes only when it starts.
func (n *Node) restart(e entry, stale ...string) api.NodeProof {
	p := n.pending(e, api.RestartNeeded(stale))
	p.Restart = true
	return p
}

// unloadedProof is for an account that the server does not have in memory: the
// first that connects makes the server read the copy, which holds the version.
func (n *Node) unloadedProof(e entry) api.NodeProof {
	switch {
	case e.Refused != "":
		return n.proof(e, api.Rejected, e.Refused)
	case e.waits:
		return n.restart(e, operator.NotTrusted(e.Issuer))
	}
	return n.proof(e, api.InForce, "")
}

// loadedProof reads back what the server enforces for a loaded account.
func (n *Node) loadedProof(e entry) api.NodeProof {
	z, err := n.srv.Accountz(&server.AccountzOptions{Account: e.Key})
	if err != nil || n.kernel.loaded(n.srv, e.Key) == nil {
		return n.unloadedProof(e)
	}
	p := n.unloadedProof(e)
	p.Loaded = true
	if p.State != api.InForce {
		return p
	}
	if reason := n.differs(e, z.Account); reason != "" {
		p.State, p.Reason = api.Rejected, reason
	}
	return p
}

// differs says what of an account's state is not what the entry demands, ""
// for nothing.
func (n *Node) differs(e entry, info *server.AccountInfo) string {
	switch {
	case e.Deleted && info.Expired:
		return ""
	case e.Deleted:
		return "the account is still alive"
	case info.Expired:
		return "the server holds the account for expired"
	case info.Jwt != e.JWT:
		return "the server holds another version"
	}
	ended, open := n.ended(info)
	switch {
	case open != "":
		return "the import of " + open + " goes on although its activation has ended"
	case !info.Complete && len(e.Findings) == 0 && ended == 0:
		return "incomplete: an import is not resolved, or JetStream could not be set up"
	}
	for key, at := range info.Claim.Revocations {
		if seen, ok := info.RevokedUser[key]; !ok || seen.Unix() != at {
			return "revocation of " + key + " is not in effect"
		}
	}
	acc := n.kernel.loaded(n.srv, e.Key)
	if acc == nil || !n.enforces(n.kernel.effect(acc), info.Claim) {
		return "signing keys or revocations in effect are not those of the JWT"
	}
	return ""
}

// Healthy returns nil when the server is up, its routes are, JetStream has a
// leader, and the node follows its Source; otherwise what is wrong, as
// fault.Unavailable, or fault.Conflict when the store went back behind the node.
func (n *Node) Healthy(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.mu.Lock()
	source, behind := n.source, n.behind
	n.mu.Unlock()
	if behind != nil {
		return behind
	}
	unhealthy := func(format string, args ...any) error {
		return fault.New(fault.Unavailable, "node %s: %w", n.cfg.Name, fmt.Errorf(format, args...)).About("node", n.cfg.Name)
	}
	if source != nil {
		return unhealthy("%s", reasonOf(source))
	}
	if !n.srv.Running() {
		return unhealthy("server is not running")
	}
	if have := n.srv.NumRemotes(); have < len(n.cfg.Routes) {
		return unhealthy("%d of %d routes are up", have, len(n.cfg.Routes))
	}
	if len(n.cfg.Routes) > 0 && !n.srv.JetStreamIsCurrent() {
		return unhealthy("JetStream has no leader yet, or is catching up")
	}
	if h := n.srv.Healthz(&server.HealthzOptions{}); h.Status != "ok" {
		return unhealthy("%s: %s", h.Status, h.Error)
	}
	return nil
}

// AwaitHealthy waits until Healthy returns nil, and returns its last error
// when ctx ends first.
func (n *Node) AwaitHealthy(ctx context.Context) error {
	for {
		err := n.Healthy(ctx)
		if err == nil || !pause(ctx, 10*time.Millisecond) {
			return err
		}
	}
}
