package node

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/revocation"
)

// When the complete sweeps run, counted from the moment from which the version
// refuses new connections. A version counts as swept only when one at
// secondLook or later found nothing.
const (
	firstLook  = 50 * time.Millisecond
	secondLook = 200 * time.Millisecond
	lastLook   = 2 * time.Second
	swapPoll   = 100 * time.Microsecond
)

// rule says which connections a version of an account permits.
type rule struct {
	none     bool // a removed or suspended account permits none
	revoked  revocation.List
	signers  map[string]jwt.Scope
	identity bool // the account's own key may sign users
}

// ruleOf reads the rule of a version; claims is nil for a missing account.
func (n *Node) ruleOf(claims *jwt.AccountClaims) rule {
	if claims == nil {
		return rule{none: true}
	}
	suspended := claims.Limits.Conn == 0 && claims.Limits.LeafNodeConn == 0
	r := rule{none: suspended, revoked: revocation.List(claims.Revocations), signers: claims.SigningKeys, identity: true}
	if n.operator.StrictSigningKeyUsage && n.operator.SigningKeys.Contains(claims.Issuer) {
		r.identity = false
	}
	return r
}

// ends reports whether a user must not be connected.
func (r rule) ends(account string, u *server.NkeyUser) bool {
	switch {
	case r.none:
		return true
	case u == nil:
		return false // not authenticated yet: looked at again
	case r.revoked.Covers(u.Nkey, u.Issued):
		return true
	case u.SigningKey == "" || u.SigningKey == account:
		return !r.identity
	}
	_, ok := r.signers[u.SigningKey]
	return !ok
}

// narrowing is what a version takes away compared with what is in effect.
type narrowing struct {
	entries bool            // revocations, signing keys, or the whole account
	scopes  map[string]bool // signing keys whose scope differs: their users are sent away once
	rules   bool            // limits or default permissions differ
	seen    []uint64        // connections before the apply, which the server itself looks at; sorted
}

func (t narrowing) any() bool { return t.entries || len(t.scopes) > 0 || t.rules }

// narrowed compares what is in effect with what r will permit.
func narrowed(account string, before effect, r rule) narrowing {
	t := narrowing{entries: r.none, scopes: map[string]bool{}}
	if r.none {
		return t
	}
	t.entries = len(r.revoked.Added(before.revoked)) > 0
	for key, scope := range before.signers {
		if key == account {
			continue
		}
		switch now, ok := r.signers[key]; {
		case !ok:
			t.entries = true
		case !reflect.DeepEqual(scope, now):
			t.scopes[key] = true
		}
	}
	return t
}

// rulesDiffer reports whether limits or default permissions differ: what the
// server changes on live connections when it looks at them.
func rulesDiffer(before string, after *jwt.AccountClaims) bool {
	old, err := jwt.DecodeAccountClaims(before)
	if err != nil || after == nil {
		return true
	}
	return !reflect.DeepEqual(old.Limits, after.Limits) || !reflect.DeepEqual(old.DefaultPermissions, after.DefaultPermissions)
}

// cut is one version being brought into effect on a loaded account.
type cut struct {
	n       *Node
	w       *work
	acc     *server.Account
	before  effect
	present []unsafe.Pointer // the connections before the apply
	rule    rule
	newer   *rule // of the version that has taken this one's place, if any
	lost    narrowing
	doomed  []session // who was connected before the apply and has to go
	closed  map[uint64]bool
	swap    time.Time // when the version was seen in effect
}

func (n *Node) newCut(w *work, acc *server.Account) *cut {
	return &cut{
		n: n, w: w, acc: acc, closed: map[uint64]bool{},
		before: n.kernel.effect(acc), present: accountClients(acc),
	}
}

// run applies with f, works out meanwhile what the version takes away and from
// whom, and closes what it ends as soon as it is in effect: while the server is
// still looking through its clients.
func (c *cut) run(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	if err := c.foresee(); err != nil {
		return errors.Join(err, <-done)
	}
	if !c.lost.any() && len(c.doomed) == 0 {
		err := <-done
		c.swap = time.Now()
		return err
	}
	err, ended := c.inEffect(done)
	c.swap = time.Now()
	if ended && err != nil {
		return err
	}
	c.close(c.doomed, "index")
	c.sweep("at once")
	if ended {
		return nil
	}
	return c.attend(done)
}

// attend sweeps while the server looks through its clients, which takes it
// about 100 ms a thousand.
func (c *cut) attend(done <-chan error) error {
	tick := time.NewTicker(firstLook)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			c.sweep("after the apply")
			return err
		case <-tick.C:
			if c.sweep("during the apply") && time.Since(c.swap) >= secondLook {
				c.n.swept(c.w)
			}
		}
	}
}

// foresee works out what the version takes away compared with what was in
// effect before, and from whom of those present. A connection that the server
// has closed meanwhile still tells who it was.
func (c *cut) foresee() error {
	claims, err := claimsOf(c.w.entry)
	if err != nil {
		return err
	}
	c.rule = c.n.ruleOf(claims)
	c.lost = narrowed(c.acc.Name, c.before, c.rule)
	if c.before.jwt == c.w.entry.JWT {
		c.lost.entries = true // the server has read it by itself: what it took away is not known
	}
	if claims != nil {
		c.lost.rules = rulesDiffer(c.before.jwt, claims)
	}
	for _, ptr := range c.present {
		c.judge(c.n.kernel.peer(ptr))
	}
	slices.Sort(c.lost.seen)
	c.present = nil
	return nil
}

// judge notes one connection that was present before the apply.
func (c *cut) judge(p peer) {
	ends := c.rule.ends(c.acc.Name, p.user) || p.user != nil && c.lost.scopes[p.user.SigningKey]
	if !ends && !c.lost.rules {
		return
	}
	s, ok := c.n.kernel.session(p)
	if ok && c.lost.rules {
		c.lost.seen = append(c.lost.seen, s.cid)
	}
	if ok && ends {
		c.doomed = append(c.doomed, s)
	}
}

// inEffect waits until the server has swapped the account's lists, or until
// the apply has ended.
func (c *cut) inEffect(done <-chan error) (err error, ended bool) {
	tick := time.NewTicker(swapPoll)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err, true
		case <-tick.C:
			if !c.n.kernel.updated(c.acc).Equal(c.before.updated) {
				return nil, false
			}
		}
	}
}

// close ends connections and records them.
func (c *cut) close(list []session, found string) {
	out := make([]api.Closed, 0, len(list))
	for _, s := range list {
		// An error means that the server has closed it already.
		_ = c.n.srv.DisconnectClientByID(s.cid)
		if c.closed[s.cid] {
			continue // on its way out
		}
		c.closed[s.cid] = true
		out = append(out, api.Closed{User: s.user, Kind: s.kind, Name: s.name, CID: s.cid, Ms: c.n.since(c.w.received), Found: found})
	}
	c.n.closed(c.w, out)
}

// sweep looks at every connection of the account, closes those that must not
// be, and reports whether there were none and all were past authentication.
func (c *cut) sweep(found string) (clean bool) {
	clean = true
	var out []session
	c.n.kernel.peers(c.acc, func(p peer) {
		ends := c.rule.ends(c.acc.Name, p.user) && (c.newer == nil || c.newer.ends(c.acc.Name, p.user))
		if !ends && p.user != nil && !c.lost.rules && len(c.lost.scopes) == 0 {
			return
		}
		s, ok := c.n.kernel.session(p)
		switch {
		case !ok:
		case ends || c.overlooked(p, s):
			out = append(out, s)
			clean = false
		case p.user == nil:
			clean = false
		}
	})
	c.close(out, found)
	return clean
}

// overlooked finds a connection that was half-way through its authentication
// when the version came into effect: it may carry the older scope, permissions
// or limits, and the server has not looked at it. It is sent away once.
func (c *cut) overlooked(p peer, s session) bool {
	if p.user == nil || s.start.After(c.swap) {
		return false
	}
	if c.lost.scopes[p.user.SigningKey] {
		return true
	}
	_, seen := slices.BinarySearch(c.lost.seen, s.cid)
	return c.lost.rules && !seen
}

// current returns what the copy holds now. When that is a newer version, a
// sweep must not end what it permits; and what it ends is for its own work to
// close and to list.
func (c *cut) current(ctx context.Context) (entry, bool) {
	held, err := c.n.copy.get(c.w.entry.Kind, c.w.entry.Key)
	if err != nil || ctx.Err() != nil {
		return entry{}, false
	}
	if held.Revision == c.w.entry.Revision {
		return held, true
	}
	claims, err := claimsOf(held)
	if err != nil {
		return entry{}, false
	}
	newer := c.n.ruleOf(claims)
	c.newer = &newer
	return held, true
}
