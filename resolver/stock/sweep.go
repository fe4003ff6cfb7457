package stock

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

// When the sweeps run, counted from the answers to the push: a connection that
// was half-way through its authentication shows up in a later one. A version
// counts as swept when one at secondLook or later found nothing.
const (
	firstLook  = 50 * time.Millisecond
	secondLook = 200 * time.Millisecond
	lastLook   = 2 * time.Second
)

// maxConns bounds the connections of an account that one sweep looks at.
const maxConns = 1 << 20

// cut ends the connections that one version does not permit on one server.
type cut struct {
	r       *round
	v       *verdict
	signers map[string]bool

	mu     sync.Mutex
	closed map[uint64]bool
	list   []api.Closed
	hidden int // connections whose JWT the server does not show
}

func (r *round) newCut(v *verdict) *cut {
	return &cut{r: r, v: v, signers: r.claim.signers(), closed: map[uint64]bool{}}
}

// sweeps reports whether a server may have connections that the version ends.
func (r *round) sweeps(v *verdict) bool {
	return v.loaded && v.state == api.InForce && (r.rec.Revision > 1 || r.rec.Deleted)
}

// ends reports whether a user may not be connected.
func (c *cut) ends(u claim) bool {
	return c.r.rec.Deleted || c.r.claim.NATS.Revocations.Covers(u.Subject, u.IssuedAt) || !c.signers[u.Issuer]
}

// sweep looks at every connection of the account and closes those that must not
// be. It reports whether there were none.
func (c *cut) sweep(ctx context.Context, found string) bool {
	conns, err := c.r.f.connections(ctx, c.v.id, c.r.rec.Key)
	if err != nil {
		return false
	}
	clean, hidden := true, 0
	for _, conn := range conns {
		u, err := parse(conn.JWT)
		switch {
		case err != nil && !c.r.rec.Deleted:
			hidden++
		case c.ends(u):
			clean = false
			c.kick(ctx, conn, u, found)
		}
	}
	c.mu.Lock()
	c.hidden = hidden
	c.mu.Unlock()
	return clean
}

func (c *cut) kick(ctx context.Context, conn conn, u claim, found string) {
	body := fmt.Appendf(nil, `{"cid":%d}`, conn.CID)
	_, err := c.r.f.ask.one(ctx, fmt.Sprintf(subjectServer, c.v.id, "KICK"), body, c.r.f.cfg.Answer)
	if err != nil {
		return // the next sweep sees it
	}
	c.note(conn.CID, u.Subject, kindName(conn.Kind, conn.Type), conn.Name, found)
}

// note records a closed connection once.
func (c *cut) note(cid uint64, user, kind, name, found string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed[cid] {
		return
	}
	c.closed[cid] = true
	c.list = append(c.list, api.Closed{
		User: user, Kind: kind, Name: name, CID: cid, Found: found,
		Ms: float64(c.r.f.cfg.Now().Sub(c.r.received).Microseconds()) / 1000,
	})
}

func kindName(kind, transport string) string {
	switch {
	case kind == "Leafnode":
		return "leaf"
	case transport == "websocket" || transport == "mqtt":
		return transport
	}
	return "client"
}

// connections returns the connections of an account on one server.
func (f *Fleet) connections(ctx context.Context, id, account string) ([]conn, error) {
	body, err := json.Marshal(map[string]any{"acc": account, "auth": true, "limit": maxConns})
	if err != nil {
		return nil, err
	}
	m, err := f.ask.one(ctx, fmt.Sprintf(subjectServer, id, "CONNZ"), body, f.cfg.Answer)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "ask for connections: %w", err)
	}
	a, err := decode[connz](m)
	if err == nil && a.Error != nil {
		err = fault.New(fault.Unavailable, "ask for connections: %s", a.Error.Text)
	}
	return a.Data.Conns, err
}

// watch notes connections of the account that servers close by themselves while
// a version is brought to them, until the returned function is called.
func (f *Fleet) watch(key string, cuts map[string]*cut) func() {
	w := &watch{cuts: cuts}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watched[key] = w
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.watched[key] == w {
			delete(f.watched, key)
		}
	}
}

// watch is the cuts of one account, by run.
type watch struct{ cuts map[string]*cut }

// closed takes the event of a closed connection.
func (f *Fleet) closed(m *nats.Msg) {
	key := strings.Split(m.Subject, ".")[2]
	f.mu.Lock()
	w := f.watched[key]
	f.mu.Unlock()
	if w == nil {
		return
	}
	var event struct {
		Server info `json:"server"`
		Client struct {
			ID   uint64 `json:"id"`
			Name string `json:"name"`
			JWT  string `json:"jwt"`
			Kind string `json:"kind"`
			Type string `json:"client_type"`
		} `json:"client"`
	}
	if json.Unmarshal(m.Data, &event) != nil {
		return
	}
	c := w.cuts[event.Server.ID]
	u, err := parse(event.Client.JWT)
	if c != nil && err == nil && c.ends(u) {
		c.note(event.Client.ID, u.Subject, kindName(event.Client.Kind, event.Client.Type), event.Client.Name, "server")
	}
}

// cutsOf returns what is to be looked through on each server.
func (r *round) cutsOf() map[string]*cut {
	out := map[string]*cut{}
	for id, v := range r.verdicts {
		out[id] = r.newCut(v)
	}
	return out
}

// sweep looks through the connections on every server that may have some that
// the version ends, until a complete look at secondLook or later finds none.
// One more look follows after that.
func (r *round) sweep(ctx context.Context, cuts map[string]*cut) {
	began := time.Now()
	var wg sync.WaitGroup
	for id, c := range cuts {
		if r.sweeps(r.verdicts[id]) {
			wg.Go(func() { r.sweepOne(ctx, c, began) })
		}
	}
	wg.Wait()
}

func (r *round) sweepOne(ctx context.Context, c *cut, began time.Time) {
	c.sweep(ctx, "at once")
	pause(ctx, firstLook-time.Since(began))
	c.sweep(ctx, "+50 ms")
	pause(ctx, secondLook-time.Since(began))
	clean := c.sweep(ctx, "+200 ms")
	for tries := 0; !clean && tries < 10 && ctx.Err() == nil && r.f.still(c.v.server, c.v.id); tries++ {
		pause(ctx, firstLook)
		clean = c.sweep(ctx, "again")
	}
	r.swept(c, clean)
	r.f.wg.Go(func() {
		if pause(ctx, lastLook-time.Since(began)) && r.current(ctx) {
			c.sweep(ctx, "+2 s")
			r.swept(c, clean)
		}
	})
}

// current reports whether the version is still the stored one.
func (r *round) current(ctx context.Context) bool {
	rec, err := r.f.record(ctx, r.rec.Key)
	return err == nil && rec.Revision == r.rec.Revision
}

// swept records what the sweeps of one server found.
func (r *round) swept(c *cut, clean bool) {
	p := r.proof(c.v)
	c.mu.Lock()
	p.Closed = append(p.Closed, c.list...)
	hidden := c.hidden
	c.mu.Unlock()
	p.Swept = clean
	if hidden > 0 {
		p.Reason = fmt.Sprintf("the server hides the JWT of %d bearer connections; it looks at those itself", hidden)
	}
	if !clean {
		p.State, p.Reason = api.Pending, "connections that must not be are still open"
	}
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	r.record(c.v, outcome{proof: p, done: clean})
	f.wake(r.rec.Key)
}
