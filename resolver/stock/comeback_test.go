package stock

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/store"
)

// known writes accounts to the store and to the directories of all servers, as
// if they had been delivered long ago.
func (w *world) known(accounts int) []store.Record {
	w.t.Helper()
	var recs []store.Record
	for len(recs) < accounts {
		recs = append(recs, w.putAll(w.signAll(min(1000, accounts-len(recs))))...)
	}
	var list []known
	for _, m := range w.members {
		m.stop()
		for _, rec := range recs {
			if err := os.WriteFile(filepath.Join(m.dir, rec.Key+".jwt"), []byte(rec.JWT), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
		list = append(list, known{Name: m.name, Cluster: "acme", Kind: Full, Applied: must(w.head())})
	}
	text := must(json.Marshal(list))
	if err := w.store.Update(context.Background(), func(tx store.Tx) error { return tx.SetMeta(metaServers, string(text)) }); err != nil {
		w.t.Fatal(err)
	}
	for _, m := range w.members {
		m.start()
	}
	return recs
}

// received returns how many messages a server has got since its start.
func (m *member) received() int {
	m.w.t.Helper()
	resp := must(http.Get(m.running.Monitor + "/varz"))
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var v struct {
		InMsgs int `json:"in_msgs"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		m.w.t.Fatal(err)
	}
	return v.InMsgs
}

// comeback brings back a server that missed some changes of many accounts, and
// returns how long it took until it lacked nothing, and the messages that it got
// until all directories were compared with the store again.
func comeback(tb testing.TB, accounts, missed int) (messages int, took time.Duration) {
	w := newWorld(tb, full, full, full)
	recs := w.known(accounts)
	w.start(func(c *Config) { c.Ping = time.Second })
	w.up("s0", "s1", "s2")
	w.awaitAll()
	natstest.Eventually(tb, 10*patience, func() error { return w.fleet.reconcile(context.Background()) })
	away := w.members[2]
	away.stop()
	natstest.Eventually(tb, patience, func() error {
		if w.server("s2").Status().Healthy {
			return fmt.Errorf("s2 counts as up")
		}
		return nil
	})
	for _, rec := range recs[:missed] {
		w.again(rec)
	}
	natstest.Eventually(tb, 10*patience, func() error {
		if st := w.server("s0").Status(); st.Applied != must(w.head()) {
			return fmt.Errorf("s0 has followed to %d", st.Applied)
		}
		return nil
	})
	began := time.Now()
	away.start()
	w.awaitAll()
	took = time.Since(began)
	natstest.Eventually(tb, 10*patience, func() error { return w.fleet.reconcile(context.Background()) })
	for _, rec := range recs[:missed] {
		if got := must(os.ReadFile(filepath.Join(away.dir, rec.Key+".jwt"))); string(got) == rec.JWT {
			tb.Fatalf("s2 still has the old version of %s", rec.Key)
		}
	}
	return away.received(), took
}

// again stores a version of an account that is signed anew.
func (w *world) again(rec store.Record) {
	w.t.Helper()
	doc := must(claims.Decode(rec.JWT))
	draft := must(claims.Edit(doc, func(ac *jwt.AccountClaims) error { ac.Tags.Add("again"); return nil }))
	rec.JWT = must(draft.Sign(w.sk, doc.IssuedAt+1)).Token
	w.write(rec)
}

// TestComebackCostsWhatWasMissed: a server that returns with its old directory
// gets the changes that it missed, not all accounts.
func TestComebackCostsWhatWasMissed(t *testing.T) {
	t.Parallel()
	const accounts, missed = 3000, 20
	messages, took := comeback(t, accounts, missed)
	t.Logf("%d messages in %v", messages, took)
	if messages > 400+10*missed { // beside its own talk with the cluster
		t.Fatalf("%d messages for %d changes", messages, missed)
	}
}

// BenchmarkComeback brings back a server that missed 100 changes of 100,000
// accounts.
func BenchmarkComeback(b *testing.B) {
	for b.Loop() {
		messages, took := comeback(b, 100_000, 100)
		b.ReportMetric(float64(messages), "messages")
		b.ReportMetric(took.Seconds(), "s")
	}
}
