package stock

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/store"
)

// metaServers is the name of the stored list of expected servers.
const metaServers = "stock.servers"

// saveEvery is how long the stored list may lag behind.
const saveEvery = time.Second

// known is one line of the stored list.
type known struct {
	Name    string    `json:"name"`
	Cluster string    `json:"cluster,omitempty"`
	Kind    Kind      `json:"kind,omitempty"`
	URL     string    `json:"url,omitempty"`
	Trusts  []string  `json:"trusts,omitempty"` // operator keys, none if it was away
	Applied uint64    `json:"applied"`          // change up to which it lacks nothing
	Seen    time.Time `json:"seen"`
}

// load takes the stored list: every server on it is expected and down until it
// answers, and what came after its last change is open for it.
func (f *Fleet) load(ctx context.Context) error {
	var list []known
	if err := f.cfg.Source.View(ctx, func(r store.Reader) (err error) {
		if f.followed, err = r.Head(); err != nil { // nobody needs what came before
			return err
		}
		list, err = storedList(r)
		return err
	}); err != nil {
		return err
	}
	for _, k := range list {
		s := &Server{f: f, name: k.Name, cluster: k.Cluster, kind: k.Kind, url: k.URL, trusts: k.Trusts, since: k.Seen, open: map[string]uint64{}}
		f.servers[s.identity()] = s
		f.followed = min(f.followed, k.Applied)
		s.skip = k.Applied
	}
	return nil
}

func storedList(r store.Reader) ([]known, error) {
	text, err := r.Meta(metaServers)
	if err != nil || text == "" {
		return nil, err
	}
	var list []known
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fault.New(fault.Invalid, "the stored list of servers is damaged: %w", err).About("store", metaServers)
	}
	return list, nil
}

// Known returns the expected servers as the Fleet of any process on the store
// has last stored them, which it does within a second of a change.
func Known(r store.Reader) ([]resolver.StockServer, error) {
	list, err := storedList(r)
	out := make([]resolver.StockServer, len(list))
	for i, k := range list {
		out[i] = resolver.StockServer{Name: k.Name, Trusts: k.Trusts, Seconds: k.Kind.seconds()}
	}
	return out, err
}

// save stores the list if it differs from the stored one.
func (f *Fleet) save(ctx context.Context) error {
	f.mu.Lock()
	list := make([]known, 0, len(f.servers))
	for _, s := range f.servers {
		list = append(list, known{
			Name: s.name, Cluster: s.cluster, Kind: s.kind, URL: s.url, Trusts: s.trusts,
			Applied: s.applied(), Seen: s.since,
		})
	}
	f.dirty = false
	f.mu.Unlock()
	slices.SortFunc(list, func(a, b known) int {
		return strings.Compare(identity(a.Cluster, a.Name), identity(b.Cluster, b.Name))
	})
	text, err := json.Marshal(list)
	if err != nil {
		return fault.New(fault.Internal, "encode the list of servers: %w", err)
	}
	err = f.cfg.Source.Update(ctx, func(tx store.Tx) error { return tx.SetMeta(metaServers, string(text)) })
	if err != nil {
		f.mu.Lock()
		f.dirty = true
		f.mu.Unlock()
	}
	return err
}

// saveLoop stores the list whenever it has changed, and at the end.
func (f *Fleet) saveLoop(ctx context.Context) {
	for more := true; more; {
		more = pause(ctx, saveEvery)
		f.mu.Lock()
		dirty := f.dirty
		f.mu.Unlock()
		if !dirty {
			continue
		}
		f.saveNow(ctx)
	}
}

// saveNow stores the list, also while the fleet ends.
func (f *Fleet) saveNow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.cfg.Answer)
	defer cancel()
	if err := f.save(ctx); err != nil { // it stays dirty
		f.log.Warn("the list of stock servers could not be stored", "err", err)
	}
}
