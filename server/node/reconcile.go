package node

import (
	"context"

	"github.com/accountd/accountd/api"
)

// reconcileLoop compares all loaded accounts with the copy from time to time.
func (n *Node) reconcileLoop(ctx context.Context) {
	for pause(ctx, n.cfg.Reconcile) {
		n.reconcile(ctx)
	}
}

// reconcile makes every loaded account agree with the copy, in claim, effect
// and connections. It loads no account.
func (n *Node) reconcile(ctx context.Context) {
	z, err := n.srv.Accountz(nil)
	if err != nil {
		return
	}
	for _, key := range z.Accounts {
		if ctx.Err() != nil {
			return
		}
		n.reconcileAccount(key)
	}
}

func (n *Node) reconcileAccount(key string) {
	unlock := n.lock(key)
	defer unlock()
	k := n.known(key, 0)
	acc := n.kernel.loaded(n.srv, key)
	if k.err != nil || acc == nil || k.out != nil && !k.out.done {
		return // the server's own global account, no readable copy, or its lane is at it
	}
	held := k.held
	n.repair(held, acc)
	n.terms.look(key)
	claims, err := claimsOf(held)
	if err != nil {
		return
	}
	w := &work{entry: held, received: n.cfg.Now(), out: &outcome{proof: api.NodeProof{}}}
	c := n.newCut(w, acc)
	c.rule = n.ruleOf(claims)
	if c.sweep("reconcile"); len(w.out.proof.Closed) > 0 {
		n.repaired.Add(1)
		n.cfg.Logger.Warn("closed connections that a claim had ended", "node", n.cfg.Name, "account", key, "connections", len(w.out.proof.Closed))
	}
}
