package stock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/store"
)

// A server is down when it has not given any answer for some pings, and for
// some time: a busy one answers late.
const (
	missedPings = 3
	silence     = 3 * time.Second
)

// listen subscribes to what servers say by themselves and to what others send
// to them.
func (f *Fleet) listen(ctx context.Context) error {
	for subject, h := range map[string]nats.MsgHandler{
		subjectStats:                       func(m *nats.Msg) { f.heardFrom(ctx, m) },
		subjectShutdown:                    f.ended,
		subjectUpdate:                      func(m *nats.Msg) { f.foreign(ctx, m) },
		fmt.Sprintf(subjectUpdateOf, "*"):  func(m *nats.Msg) { f.foreign(ctx, m) },
		fmt.Sprintf(subjectUpdateOld, "*"): func(m *nats.Msg) { f.foreign(ctx, m) },
		subjectDelete:                      func(m *nats.Msg) { f.foreign(ctx, m) },
	} {
		sub, err := f.nc.Subscribe(subject, h)
		if err != nil {
			return err
		}
		f.subs = append(f.subs, sub)
	}
	return f.nc.FlushTimeout(f.cfg.Answer)
}

// listenToEnds subscribes to the ends of connections, once there is a server:
// in a busy cluster these are many.
func (f *Fleet) listenToEnds() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ends != nil {
		return
	}
	var err error
	if f.ends, err = f.nc.Subscribe(subjectClosed, f.closed); err != nil {
		f.log.Warn("connections that servers close cannot be listed", "err", err)
	}
}

// heardFrom notes a sign of life.
func (f *Fleet) heardFrom(ctx context.Context, m *nats.Msg) {
	a, err := decode[json.RawMessage](m)
	if err != nil || a.Server.ID == "" || f.cfg.Exclude(a.Server.Name) {
		return
	}
	who := a.Server
	id := identity(who.Cluster, who.Name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leafs[who.ID] || ctx.Err() != nil {
		return
	}
	s := f.servers[id]
	if s != nil && s.id == who.ID {
		s.heard = time.Now()
		if s.up || s.probing {
			return
		}
	}
	if s == nil {
		s = &Server{f: f, name: who.Name, cluster: who.Cluster, fresh: true, open: map[string]uint64{}, since: f.cfg.Now()}
		if f.expects(who) {
			f.servers[id] = s
			f.dirty = true
		}
	}
	if s.probing || f.probes[who.ID] {
		return
	}
	if s.up {
		f.down(s, "restarted")
	}
	s.id, s.probing, s.stranger, s.heard = who.ID, true, false, time.Now()
	f.probes[who.ID] = true
	f.wg.Go(func() { f.probe(ctx, s, who) })
}

// expects reports whether a server belongs to the cluster of the connection.
// Others may belong to it over gateways; a probe tells. f.mu is held.
func (f *Fleet) expects(who info) bool {
	return who.ID == f.nc.ConnectedServerId() || who.Cluster != "" && who.Cluster == f.nc.ConnectedClusterName()
}

// probe finds out what a server is, and then brings it what it lacks.
func (f *Fleet) probe(ctx context.Context, s *Server, who info) {
	err := f.inspect(ctx, s, who)
	f.mu.Lock()
	s.probing = false
	delete(f.probes, who.ID)
	if err == nil && s.id == who.ID && !f.leafs[who.ID] {
		s.up, s.since = true, f.cfg.Now()
		f.dirty = true
	}
	up, kind := s.up, s.kind
	f.stir()
	f.mu.Unlock()
	if err == nil && up {
		f.listenToEnds()
		f.log.Info("stock server is up", "server", s.name, "cluster", s.cluster, "resolver", kind)
		err = f.catchUp(ctx, s)
		f.reconcileSoon()
	}
	if err != nil && ctx.Err() == nil { // the next ping tries again
		f.log.Warn("stock server could not be looked at", "server", s.name, "err", err)
		f.mu.Lock()
		s.up, s.trusts = false, nil
		f.mu.Unlock()
	}
}

// inspect learns a server's trust and kind. A server that is not expected is
// remembered as such.
func (f *Fleet) inspect(ctx context.Context, s *Server, who info) error {
	m, err := f.ask.one(ctx, fmt.Sprintf(subjectServer, who.ID, "VARZ"), nil, f.cfg.Answer)
	if err != nil {
		return fmt.Errorf("ask for VARZ: %w", err)
	}
	v, err := decode[vars](m)
	if err != nil {
		return err
	}
	f.mu.Lock()
	_, expected := f.servers[s.identity()]
	if !expected && v.Data.Gateway.Name == "" {
		f.leafs[who.ID] = true
	} else if !expected {
		f.servers[s.identity()] = s
	}
	fresh := s.fresh
	f.mu.Unlock()
	if !expected && v.Data.Gateway.Name == "" {
		return nil
	}
	if fresh {
		if err := f.openAll(ctx, s); err != nil {
			return err
		}
	}
	kind, err := f.discern(ctx, who)
	if err != nil {
		return err
	}
	var files map[string]bool
	if kind == Cache {
		if files, err = f.files(ctx, who); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.kind, s.trusts, s.files = kind, v.Data.trusts(), files
	s.deletable, s.undeletable = false, false
	s.url = "nats://" + net.JoinHostPort(v.Data.Host, strconv.Itoa(v.Data.Port))
	return nil
}

// discern finds out the kind of a server: directories answer an update on the
// general subject, and what else asks us for an account that we name to it.
// What is sent is the system account's own version, which it has to have anyway.
func (f *Fleet) discern(ctx context.Context, who info) (Kind, error) {
	token, err := f.systemJWT(ctx)
	if err != nil {
		return Unknown, err
	}
	kind := Unknown
	// Whoever answers ACCOUNTZ after the update has had the update before.
	_, err = f.ask.gather(ctx, subjectUpdate, []byte(token), min(f.cfg.Answer, time.Second), func() <-chan struct{} { return nil }, func(m *nats.Msg) bool {
		if m == nil {
			return false
		}
		a, err := decode[status](m)
		if err != nil || a.Server.ID != who.ID {
			return false
		}
		kind = kindOf(a)
		return true
	})
	if err != nil && !errors.Is(err, nats.ErrNoResponders) || kind != Unknown {
		return kind, err
	}
	return f.fetches(ctx, who)
}

func kindOf(a answer[status]) Kind {
	text := a.Data.Text
	if a.Error != nil {
		text = a.Error.Text
	}
	if strings.HasPrefix(text, "jwt updated cache") || strings.HasPrefix(text, "jwt update cache") {
		return Cache
	}
	return Full
}

// fetches finds out whether a server gets its accounts from our HTTP address:
// asked for the connections of an account, it tries to load the account.
func (f *Fleet) fetches(ctx context.Context, who info) (Kind, error) {
	kp, err := nkeys.CreateAccount()
	if err != nil {
		return Unknown, fmt.Errorf("make a probe: %w", err)
	}
	key, err := kp.PublicKey()
	if err != nil {
		return Unknown, fmt.Errorf("make a probe: %w", err)
	}
	seen := f.cfg.Probes.add(key)
	defer f.cfg.Probes.remove(key)
	body, err := json.Marshal(map[string]any{"acc": key, "limit": 1})
	if err != nil {
		return Unknown, err
	}
	if _, err := f.ask.one(ctx, fmt.Sprintf(subjectServer, who.ID, "CONNZ"), body, f.cfg.Answer); err != nil {
		return Unknown, fmt.Errorf("ask for CONNZ: %w", err)
	}
	select {
	case <-seen:
		return URL, nil
	default:
		return Memory, nil
	}
}

// systemJWT returns the stored version of the system account.
func (f *Fleet) systemJWT(ctx context.Context) (token string, err error) {
	err = f.cfg.Source.View(ctx, func(r store.Reader) error {
		var op claim
		var failed error
		if err := r.Scan(store.Operator, "", func(rec store.Record) bool {
			op, failed = parse(rec.JWT)
			return false
		}); err != nil || failed != nil {
			return errors.Join(err, failed)
		}
		rec, err := r.Get(store.Account, op.NATS.SystemAccount)
		token = rec.JWT
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the system account: %w", err)
	}
	return token, nil
}

// ended notes that a server says that it ends. The subject names its run.
func (f *Fleet) ended(m *nats.Msg) {
	id := strings.Split(m.Subject, ".")[2]
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.servers {
		if s.id == id && s.up {
			f.down(s, "shut down")
		}
	}
}

// silent notes which servers have not answered for some pings.
func (f *Fleet) silent() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.servers {
		if s.up && time.Since(s.heard) > max(silence, missedPings*f.cfg.Ping) {
			f.down(s, "does not answer")
		}
	}
}

// down notes that a server no longer answers. f.mu is held.
func (f *Fleet) down(s *Server, why string) {
	s.up, s.trusts, s.since = false, nil, f.cfg.Now()
	f.dirty = true
	f.stir()
	f.log.Warn("stock server is down", "server", s.name, "cluster", s.cluster, "why", why)
}
