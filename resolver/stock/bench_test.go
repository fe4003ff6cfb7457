package stock

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
)

// pushRaw sends JWTs to all servers at once, pipelined, and waits for as many
// answers as there are servers for each. Nothing is proven by it.
func (w *world) pushRaw(nc *nats.Conn, tokens map[string]string) {
	w.t.Helper()
	inbox := nats.NewInbox()
	sub := must(nc.SubscribeSync(inbox))
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		w.t.Fatal(err)
	}
	for key, token := range tokens {
		if err := nc.PublishRequest(fmt.Sprintf(subjectUpdateOf, key), inbox, []byte(token)); err != nil {
			w.t.Fatal(err)
		}
	}
	for range len(tokens) * len(w.members) {
		if _, err := sub.NextMsg(patience); err != nil {
			w.t.Fatal(err)
		}
	}
}

// BenchmarkStock brings 10,000 new accounts into force on three stock servers
// with full resolvers: by a fleet, each proven on each server, and as raw pushes
// of which nothing is proven. One op is all of them.
func BenchmarkStock(b *testing.B) {
	const accounts = 10_000
	b.Run("way=accountd", func(b *testing.B) {
		w := newWorld(b, full, full, full)
		w.start()
		w.up("s0", "s1", "s2")
		w.awaitAll()
		var took time.Duration
		for b.Loop() {
			recs := w.signAll(accounts)
			began := time.Now()
			w.putAll(recs)
			w.awaitAll()
			took += time.Since(began)
		}
		b.ReportMetric(float64(b.N*accounts)/took.Seconds(), "accounts/s")
	})
	b.Run("way=stock", func(b *testing.B) {
		w := newWorld(b, full, full, full)
		nc := w.systemConn()
		w.together(nc)
		var took time.Duration
		for b.Loop() {
			tokens := map[string]string{}
			for _, rec := range w.signAll(accounts) {
				tokens[rec.Key] = rec.JWT
			}
			began := time.Now()
			w.pushRaw(nc, tokens)
			took += time.Since(began)
		}
		b.ReportMetric(float64(b.N*accounts)/took.Seconds(), "accounts/s")
	})
}

// together waits until all servers answer on one connection.
func (w *world) together(nc *nats.Conn) {
	w.t.Helper()
	natstest.Eventually(w.t, patience, func() error {
		sub, err := nc.SubscribeSync(nats.NewInbox())
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }()
		if err := nc.PublishRequest(fmt.Sprintf(subjectPing, "STATSZ"), sub.Subject, nil); err != nil {
			return err
		}
		for i := range w.members {
			if _, err := sub.NextMsg(time.Second); err != nil {
				return fmt.Errorf("%d servers answer: %w", i, err)
			}
		}
		return nil
	})
}
