package node

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/accountd/accountd/api"
)

// claimsOf decodes the version that servers must see, nil if the account must
// be missing.
func claimsOf(e entry) (*jwt.AccountClaims, error) {
	if e.missing() {
		return nil, nil
	}
	return jwt.DecodeAccountClaims(e.JWT)
}

// bring applies a version to a loaded account, cuts, and leaves the sweeps and
// the proof to a goroutine of the node. The account's lane is held.
func (n *Node) bring(ctx context.Context, w *work, acc *server.Account) {
	c := n.newCut(w, acc)
	err := c.run(func() error {
		if w.entry.missing() {
			removeAccount(n.srv, w.entry.Key)
			return nil
		}
		return applyClaims(n.srv, acc, w.entry.JWT)
	})
	if err != nil {
		n.finish(w, n.rejected(w.entry, err.Error()))
		return
	}
	n.terms.look(w.entry.Key)
	if !c.lost.any() {
		n.repair(w.entry, acc)
		n.finish(w, n.loadedProof(w.entry))
	}
	asserted := n.kernel.updated(acc)
	n.wg.Go(func() { n.watch(ctx, c, asserted) })
}

// watch sweeps and compares until lastLook after the version came into effect,
// and finishes a version that takes something away when the sweep at secondLook
// is clean. What a long apply has delayed is done at once.
func (n *Node) watch(ctx context.Context, c *cut, asserted time.Time) {
	begin := c.swap
	steps := []time.Duration{firstLook, secondLook, lastLook}
	for i := 0; i < len(steps); {
		if !pause(ctx, time.Until(begin.Add(steps[i]))) {
			return
		}
		held, ok := c.current(ctx)
		if !ok {
			return
		}
		n.reassert(c, &asserted)
		clean := c.sweep("sweep +" + steps[i].String())
		if steps[i] == secondLook && clean && c.lost.any() {
			n.conclude(c.w, held)
		}
		i++
		if !clean {
			begin, i = time.Now(), 0
		}
	}
}

// conclude finishes a version whose sweep was clean. When a newer version has
// taken its place, that one counts: at once if it is in force, else by its own
// outcome.
func (n *Node) conclude(w *work, held entry) {
	p := n.loadedProof(w.entry)
	if p.State != api.InForce && held.Revision > w.entry.Revision {
		if p = n.loadedProof(held); p.State != api.InForce {
			n.superseded(w)
			return
		}
	}
	p.Swept = p.State == api.InForce
	n.finish(w, p)
}

// reassert corrects an account that the server itself has re-applied since,
// which it does with the JWT that it held at that moment.
func (n *Node) reassert(c *cut, asserted *time.Time) {
	unlock := n.lock(c.w.entry.Key)
	defer unlock()
	held, err := n.copy.get(c.w.entry.Kind, c.w.entry.Key)
	if err != nil || held.Revision != c.w.entry.Revision {
		return // a newer version is being brought
	}
	if n.repair(held, c.acc) || held.missing() {
		*asserted = n.kernel.updated(c.acc)
		return
	}
	if n.kernel.updated(c.acc).Equal(*asserted) {
		return
	}
	if claims, err := claimsOf(held); err == nil && n.kernel.claimJWT(c.acc) == held.JWT {
		n.srv.UpdateAccountClaims(c.acc, claims)
		*asserted = n.kernel.updated(c.acc)
	}
}

// repair makes a loaded account agree with the copy and reports whether it had
// to. The account's lane is held.
func (n *Node) repair(e entry, acc *server.Account) bool {
	repaired := n.repairOnce(e, acc)
	if repaired {
		n.repaired.Add(1)
		n.cfg.Logger.Warn("corrected a claim that the server had gone back from", "node", n.cfg.Name, "account", e.Key, "revision", e.Revision)
	}
	return repaired
}

func (n *Node) repairOnce(e entry, acc *server.Account) bool {
	if e.missing() {
		if acc.IsExpired() {
			return false
		}
		removeAccount(n.srv, e.Key)
		return true
	}
	have := n.kernel.effect(acc)
	if have.jwt == "" {
		return false // registered, and about to get what the server has just read
	}
	if have.jwt != e.JWT {
		return applyClaims(n.srv, acc, e.JWT) == nil
	}
	claims, err := claimsOf(e)
	if err != nil || n.enforces(have, claims) {
		return false
	}
	// The JWT is the right one already, so the effect alone is what is missing.
	n.srv.UpdateAccountClaims(acc, claims)
	return true
}

// enforces reports whether revocations and signing keys in effect are those of
// the claims.
func (n *Node) enforces(have effect, claims *jwt.AccountClaims) bool {
	if len(have.revoked) != len(claims.Revocations) || len(claims.Revocations) > 0 && !maps.Equal(have.revoked, claims.Revocations) {
		return false
	}
	r := n.ruleOf(claims)
	delete(have.signers, claims.Subject)
	if len(have.signers) != len(r.signers) {
		return false
	}
	for key, scope := range r.signers {
		if in, ok := have.signers[key]; !ok || !reflect.DeepEqual(in, scope) {
			return false
		}
	}
	return true
}
