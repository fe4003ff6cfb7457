package stock

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// strangerPings is after how many pings the routes are looked at again.
const strangerPings = 10

// routez is what ROUTEZ tells of the servers that a server has routes to.
type routez struct {
	Routes []struct {
		ID   string `json:"remote_id"`
		Name string `json:"remote_name"`
	} `json:"routes"`
}

// strangerLoop looks for servers of the cluster that do not answer on the
// system account, for ever.
func (f *Fleet) strangerLoop(ctx context.Context) {
	before := map[string]info{}
	for pause(ctx, strangerPings*f.cfg.Ping) {
		now := f.routed(ctx)
		f.meet(before, now)
		before = now
	}
}

// routed returns the servers that others have routes to, by run.
func (f *Fleet) routed(ctx context.Context) map[string]info {
	out := map[string]info{}
	up := f.upNow()
	_, _ = f.ask.gather(ctx, fmt.Sprintf(subjectPing, "ROUTEZ"), nil, f.cfg.Ping, f.stirred, func(m *nats.Msg) bool {
		if m == nil {
			return false
		}
		a, err := decode[routez](m)
		if err != nil || a.Server.Cluster == "" || a.Server.Cluster != f.nc.ConnectedClusterName() {
			return false
		}
		for _, r := range a.Data.Routes {
			out[r.ID] = info{ID: r.ID, Name: r.Name, Cluster: a.Server.Cluster}
		}
		delete(up, a.Server.ID)
		return len(up) == 0
	}) // whoever did not answer now is asked again
	return out
}

// meet takes the servers that have routes in two looks and were never heard:
// they are in the cluster and serve clients, and no claim reaches them.
func (f *Fleet) meet(before, now map[string]info) {
	f.mu.Lock()
	defer f.mu.Unlock()
	heard := map[string]bool{}
	for _, s := range f.servers {
		s.stranger = s.stranger && now[s.id].ID != ""
		if !s.stranger {
			heard[s.id] = true
		}
	}
	for id, who := range now {
		if _, twice := before[id]; !twice || heard[id] || f.leafs[id] || who.Name == "" || f.cfg.Exclude(who.Name) {
			continue
		}
		s := f.servers[identity(who.Cluster, who.Name)]
		if s == nil {
			s = &Server{f: f, name: who.Name, cluster: who.Cluster, fresh: true, open: map[string]uint64{}}
			f.servers[s.identity()] = s
			f.dirty = true
		}
		if s.up || s.probing || s.stranger || time.Since(s.heard) < silence {
			continue
		}
		s.id, s.stranger, s.since = id, true, f.cfg.Now()
		f.log.Warn("a server of the cluster does not answer on the system account", "server", s.name, "cluster", s.cluster)
		f.stir()
	}
}
