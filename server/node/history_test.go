package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

// durable writes what a world signs to a real store, through the same calls as
// the in-memory one.
func durable(t *testing.T, w *world) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, c := range w.src.log {
		commit(t, s, w.src.recs[string(c.Kind)+c.Key])
	}
	return s
}

func commit(t *testing.T, s *bolt.Store, rec store.Record) store.Record {
	t.Helper()
	base := rec.Revision - 1
	sum := sha256.Sum256([]byte(rec.JWT))
	err := s.Update(t.Context(), func(tx store.Tx) (err error) {
		rec, err = tx.Put(base, rec, store.Change{
			Time: time.Now().UTC(), Action: "put", Kind: rec.Kind, Key: rec.Key, Name: rec.Name,
			ID: rec.ID, After: hex.EncodeToString(sum[:]),
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// model is what the test knows of one account.
type model struct {
	*tenant
	users   []*user
	revoked map[string]bool
}

// step changes one account at random and returns its stored record.
func (m *model) step(t *testing.T, s *bolt.Store, r *rand.Rand) store.Record {
	t.Helper()
	u := m.users[r.IntN(len(m.users))]
	switch op := r.IntN(10); {
	case op < 4:
		m.claims.RevokeAt(u.key, time.Now())
		m.revoked[u.key] = true
	case op < 6:
		m.claims.ClearRevocation(u.key)
		delete(m.revoked, u.key)
	case op == 6 && !m.rec.Deleted && m.rec.Revision > 0:
		rec := m.rec
		rec.Deleted = true
		rec.Revision++
		m.rec = commit(t, s, rec)
		return m.rec
	case op == 7:
		m.claims.Limits.Subs = int64(100 + r.IntN(100))
	}
	m.rec = commit(t, s, store.Record{
		Kind: store.Account, Key: m.key, Name: m.claims.Name, JWT: m.sign(), ID: m.claims.ID, Revision: m.rec.Revision + 1,
	})
	return m.rec
}

// check compares a node with the model: proof, who may connect, who may not.
func (m *model) check(t *testing.T, n *Node) {
	t.Helper()
	p := inForce(t, n, m.rec)
	if p.Revision != m.rec.Revision {
		t.Errorf("%s %s: %+v, want revision %d", n.Name(), m.claims.Name, p, m.rec.Revision)
	}
	for _, u := range m.users {
		c, err := dial(n, u)
		if err == nil {
			c.Close()
		}
		if want := !m.revoked[u.key] && !m.rec.Deleted; (err == nil) != want {
			t.Errorf("%s %s: connect %v, want %v", n.Name(), m.claims.Name, err, want)
		}
	}
	if held, err := n.copy.get(store.Account, m.key); err != nil || held.JWT != m.rec.JWT || held.Deleted != m.rec.Deleted {
		t.Errorf("%s %s: the copy differs: %v", n.Name(), m.claims.Name, err)
	}
}

// Random puts, revocations, un-revocations, deletions and restores, with users
// that connect all the time and a node that stops and starts: at the end every
// node equals the store, and nothing was corrected by the way.
func TestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := durable(t, w)
	nodes, cfgs := make([]*Node, 2), make([]Config, 2)
	for i := range nodes {
		cfgs[i] = Config{Name: []string{"nats-0", "nats-1"}[i], Dir: t.TempDir(), Source: s, Ports: Ports{Client: -1}}
		nodes[i] = w.start(cfgs[i])
	}
	models := make([]*model, 6)
	for i := range models {
		m := &model{tenant: w.unsaved(string(rune('A' + i))), revoked: map[string]bool{}}
		for range 4 {
			m.users = append(m.users, m.user("u", nil, bearer))
		}
		models[i] = m
	}
	ctx, cancel := context.WithCancel(t.Context())
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		r := rand.New(rand.NewPCG(1, 2))
		for ctx.Err() == nil {
			m := models[r.IntN(len(models))]
			if c, err := rawDial(nodes[0], m.users[r.IntN(len(m.users))].token, nil); err == nil {
				c.Close()
			}
		}
	}()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for i := range 160 {
		m := models[r.IntN(len(models))]
		rec := m.step(t, s, r)
		if i%10 == 0 {
			inForce(t, nodes[0], rec)
		}
		if i%80 == 40 {
			stop(t, nodes[1], Now)
		}
		if i%80 == 70 {
			nodes[1] = w.start(cfgs[1])
		}
	}
	cancel()
	<-busy
	for _, n := range nodes {
		for _, m := range models {
			if m.rec.Revision > 0 {
				m.check(t, n)
			}
		}
		if p := n.Proof(w.sys.key); p.State != api.InForce {
			t.Errorf("system account: %+v", p)
		}
		t.Logf("%s corrected %d claims", n.Name(), n.Repaired())
	}
}
