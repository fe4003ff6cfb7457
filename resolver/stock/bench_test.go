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
// of which nothing is proven. One op is all of them. The processor time of the
// servers says what their part of it is.
func BenchmarkStock(b *testing.B) {
	const accounts = 10_000
	b.Run("way=accountd", func(b *testing.B) {
		w := newWorld(b, full, full, full)
		w.start()
		w.up("s0", "s1", "s2")
		w.awaitAll()
		var took, busy time.Duration
		for b.Loop() {
			recs := w.signAll(accounts)
			began, before := time.Now(), w.serversCPU()
			w.putAll(recs)
			w.awaitAll()
			took += time.Since(began)
			busy += w.serversCPU() - before
		}
		w.report(b, accounts, took, busy)
	})
	b.Run("way=stock", func(b *testing.B) {
		w := newWorld(b, full, full, full)
		nc := w.systemConn()
		w.together(nc)
		var took, busy time.Duration
		for b.Loop() {
			tokens := map[string]string{}
			for _, rec := range w.signAll(accounts) {
				tokens[rec.Key] = rec.JWT
			}
			began, before := time.Now(), w.serversCPU()
			w.pushRaw(nc, tokens)
			took += time.Since(began)
			busy += w.serversCPU() - before
		}
		w.report(b, accounts, took, busy)
	})
}

// serversCPU is the processor time that all servers have used.
func (w *world) serversCPU() (sum time.Duration) {
	for _, m := range w.members {
		sum += m.running.CPU(w.t)
	}
	return sum
}

func (w *world) report(b *testing.B, accounts int, took, busy time.Duration) {
	b.ReportMetric(float64(b.N*accounts)/took.Seconds(), "accounts/s")
	b.ReportMetric(float64(busy.Microseconds())/float64(b.N*accounts), "servers-cpu-µs/account")
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
