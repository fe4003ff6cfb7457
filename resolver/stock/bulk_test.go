package stock

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/store"
)

// signAll makes and signs many accounts.
func (w *world) signAll(n int) []store.Record {
	recs := make([]store.Record, n)
	for i := range recs {
		a := w.tenant(fmt.Sprintf("a%d", i))
		recs[i] = store.Record{Kind: store.Account, Key: a.kp.PublicKey(), Name: a.ac.Name, JWT: a.sign()}
	}
	return recs
}

// writeAll stores the first version of many new accounts.
func (w *world) writeAll(n int) []store.Record {
	w.t.Helper()
	return w.putAll(w.signAll(n))
}

// putAll stores first versions in one transaction.
func (w *world) putAll(recs []store.Record) []store.Record {
	w.t.Helper()
	if err := w.store.Update(context.Background(), func(tx store.Tx) (err error) {
		for i, rec := range recs {
			if recs[i], err = tx.Put(0, rec, store.Change{Time: time.Now().UTC(), Action: "put"}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return recs
}

// awaitAll waits until no server lacks any change.
func (w *world) awaitAll() {
	w.t.Helper()
	head := must(w.head())
	natstest.Eventually(w.t, 10*patience, func() error {
		for _, s := range w.fleet.Servers() {
			if got := s.Status().Applied; got != head {
				return fmt.Errorf("%s has followed to %d of %d", s.Name(), got, head)
			}
		}
		return nil
	})
}

// TestThousandAccounts: all are proven on every server, without a wait for each;
// the one that a server has loaded is told from the others.
func TestThousandAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full, full, full)
	w.start()
	w.up("s0", "s1", "s2")
	w.awaitAll()
	began := time.Now()
	recs := w.writeAll(1000)
	w.awaitAll()
	t.Logf("1000 accounts on 3 servers in %v", time.Since(began))
	for _, i := range []int{0, 500, 999} {
		w.shows(api.Stored, recs[i], "s0", "s1", "s2")
	}
	loaded := w.tenant("loaded")
	w.shows(api.Stored, loaded.put(), "s0", "s1", "s2")
	must(w.user(loaded.kp).connect(w.members[1].url())).Close()
	w.writeAll(500)
	rec := loaded.put()
	w.writeAll(500)
	w.shows(api.Stored, rec, "s0", "s2")
	w.shows(api.InForce, rec, "s1")
}

// TestExportersFirst: an importer that is written before its exporter, in one
// transaction with it, is complete.
func TestExportersFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, full)
	w.start()
	w.up("s0")
	from, to := w.tenant("exporter"), w.tenant("importer")
	to.put()
	w.shows(api.Stored, from.put(), "s0")
	must(w.user(to.kp).connect(w.members[0].url())).Close() // loads it
	from.ac.Exports.Add(&jwt.Export{Subject: "orders.>", Type: jwt.Stream})
	to.ac.Imports.Add(&jwt.Import{Account: from.kp.PublicKey(), Subject: "orders.>", Type: jwt.Stream})
	importer, exporter := to.sign(), from.sign()
	var recs []store.Record
	if err := w.store.Update(context.Background(), func(tx store.Tx) error {
		recs = nil
		for _, version := range []struct {
			of  *tenant
			jwt string
		}{{to, importer}, {from, exporter}} {
			key := version.of.kp.PublicKey()
			old, err := tx.Get(store.Account, key)
			if err != nil {
				return err
			}
			old.JWT = version.jwt
			rec, err := tx.Put(old.Revision, old, store.Change{Time: time.Now().UTC(), Action: "put"})
			if err != nil {
				return err
			}
			recs = append(recs, rec)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	p := w.await("s0", recs[0])
	if p.State != api.InForce || !p.Loaded {
		t.Fatalf("importer: %+v", p)
	}
	if n := w.fleet.tries(recs[0].Key); n != 0 {
		t.Fatalf("it took %d more attempts", n)
	}
}

// tries returns how often the delivery of an account has failed.
func (f *Fleet) tries(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if j := f.jobs[key]; j != nil {
		return j.fails
	}
	return 0
}
