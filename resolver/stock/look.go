package stock

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// pingLoop looks for servers, for ever.
func (f *Fleet) pingLoop(ctx context.Context) {
	f.firstLook(ctx)
	for pause(ctx, f.cfg.Ping) {
		f.ping(ctx, f.cfg.Ping, true)
		f.silent()
	}
}

// firstLook looks for servers until all that are expected, or that those which
// answer have routes and gateways to, have been looked at. Who has not answered
// in time is expected from then on. Without any answer it looks on.
func (f *Fleet) firstLook(ctx context.Context) {
	var r *roll
	for whole := false; ctx.Err() == nil; {
		if r, whole = f.ping(ctx, f.cfg.Ping, true); !whole {
			r, _ = f.ping(ctx, f.cfg.Answer, false) // who is expected and has no route to anybody is away
		}
		if len(r.heard) > 0 {
			break
		}
	}
	if ctx.Err() != nil {
		return
	}
	limit := time.After(f.cfg.Answer)
	for wake := f.stirred(); f.atProbe(); wake = f.stirred() {
		select {
		case <-wake:
			continue
		case <-limit:
		case <-ctx.Done():
		}
		break
	}
	f.expectNamed(r)
	f.forgetTrust()
	f.saveNow(ctx) // admission reads it
	close(f.looked)
}

// Looked returns a channel that is closed when the servers of the cluster have
// been looked for once, for a bounded time after the first has answered: Servers
// names all of them, also who did not answer.
func (f *Fleet) Looked() <-chan struct{} { return f.looked }

// atProbe reports whether a server is being looked at.
func (f *Fleet) atProbe() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.probes) > 0
}

// roll is who has answered a ping, and whom those name as their neighbours.
type roll struct {
	heard    map[string]bool // by identity
	clusters map[string]bool // of those
	routes   map[string]info // by identity
	gateways map[string]bool // by cluster
}

func (r *roll) note(m *nats.Msg) {
	var a struct {
		Server info `json:"server"`
		Stats  struct {
			Routes []struct {
				Name string `json:"name"`
			} `json:"routes"`
			Gateways []struct {
				Name string `json:"name"`
			} `json:"gateways"`
		} `json:"statsz"`
	}
	if json.Unmarshal(m.Data, &a) != nil || a.Server.ID == "" {
		return
	}
	r.heard[identity(a.Server.Cluster, a.Server.Name)] = true
	r.clusters[a.Server.Cluster] = true
	for _, route := range a.Stats.Routes {
		if route.Name != "" {
			r.routes[identity(a.Server.Cluster, route.Name)] = info{Name: route.Name, Cluster: a.Server.Cluster}
		}
	}
	for _, g := range a.Stats.Gateways {
		r.gateways[g.Name] = true
	}
}

// whole reports whether every neighbour of who has answered has answered too,
// and, if all is set, every server that is expected.
func (f *Fleet) whole(r *roll, all bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range r.routes {
		if s := f.servers[id]; !r.heard[id] && (s == nil || !s.stranger) {
			return false
		}
	}
	for name := range r.gateways {
		if !r.clusters[name] {
			return false
		}
	}
	for id, s := range f.servers {
		if all && !r.heard[id] && !s.stranger {
			return false
		}
	}
	return len(r.heard) > 0
}

// ping asks all servers to show themselves, and waits until the roll is whole,
// or for limit. It reports whether it is.
func (f *Fleet) ping(ctx context.Context, limit time.Duration, all bool) (*roll, bool) {
	r := &roll{heard: map[string]bool{}, clusters: map[string]bool{}, routes: map[string]info{}, gateways: map[string]bool{}}
	// Servers that do not answer are down: silent says so.
	whole, _ := f.ask.gather(ctx, fmt.Sprintf(subjectPing, "STATSZ"), nil, limit, f.stirred, func(m *nats.Msg) bool {
		if m == nil {
			return false
		}
		r.note(m)
		f.heardFrom(ctx, m)
		return f.whole(r, all)
	})
	return r, whole
}

// forgetTrust gives up what is stored of who has not been heard: a server that
// is away trusts what it has to when it starts.
func (f *Fleet) forgetTrust() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.servers {
		if !s.up {
			s.trusts = nil
		}
	}
	f.dirty = true
}

// expectNamed expects the servers of the cluster that others have routes to and
// that have not answered: what they serve is not known.
func (f *Fleet) expectNamed(r *roll) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, who := range r.routes {
		if f.servers[id] != nil || r.heard[id] || who.Cluster != f.nc.ConnectedClusterName() || f.cfg.Exclude(who.Name) {
			continue
		}
		f.servers[id] = &Server{f: f, name: who.Name, cluster: who.Cluster, fresh: true, open: map[string]uint64{}, since: f.cfg.Now()}
		f.dirty = true
		f.log.Warn("a server of the cluster has not answered yet", "server", who.Name, "cluster", who.Cluster)
	}
}
