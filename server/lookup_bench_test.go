package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/resolver/stock"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

const (
	lookupClients  = 32
	lookupAccounts = 1000
	lookupsEach    = 100 // requests on each connection in one turn
)

// BenchmarkLookup asks for accounts over 32 connections that are kept: accountd
// as it is served, a handler that reads the JWT from a file, and one that answers
// with nothing. The clients cost as little as they can.
func BenchmarkLookup(b *testing.B) {
	root, err := keys.NewOperator()
	if err != nil {
		b.Fatal(err)
	}
	st, err := bolt.Open(filepath.Join(b.TempDir(), "accountd.db"), bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	files := b.TempDir()
	paths := make([][]byte, lookupAccounts)
	if err := st.Update(b.Context(), func(tx store.Tx) error {
		for i := range paths {
			pair, err := keys.NewAccount()
			if err != nil {
				return err
			}
			ac := jwt.NewAccountClaims(pair.PublicKey())
			ac.Name = fmt.Sprintf("account-%d", i)
			rec := store.Record{Kind: store.Account, Key: pair.PublicKey(), Name: ac.Name, JWT: signed(b, ac, root)}
			if _, err := tx.Put(0, rec, store.Change{Action: "put"}); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(files, rec.Key), []byte(rec.JWT), 0o600); err != nil {
				return err
			}
			paths[i] = []byte("GET /jwt/v1/accounts/" + rec.Key + " HTTP/1.1\r\nHost: accountd\r\n\r\n")
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	nodes := func() []resolver.Node { return nil }
	m := newMetrics(nodes, headOf(st))
	service, err := resolver.New(resolver.Config{Store: st, Nodes: nodes, Now: time.Now, Meter: m})
	if err != nil {
		b.Fatal(err)
	}
	var probes stock.Probes
	ours := probes.Handler(routes(func(context.Context) map[string]string { return nil }, m, service, nil))
	file := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		jwt, err := os.ReadFile(filepath.Join(files, filepath.Base(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/jwt")
		_, _ = w.Write(jwt)
	})
	handlers := []http.Handler{ours, file, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	clients := make([][]lookupClient, len(handlers))
	for i, h := range handlers {
		lookups := service.Ready
		if i > 0 {
			lookups = func(context.Context, string) (head, body []byte) { return nil, nil }
		}
		clients[i] = serveLookups(b, h, lookups)
	}
	times := make([][]time.Duration, len(handlers))
	for b.Loop() { // in turn, so that what else runs on the machine disturbs all alike
		for i := range handlers {
			times[i] = append(times[i], lookAll(b, clients[i], paths))
		}
	}
	var took [3]float64
	for i, name := range []string{"accountd", "file", "empty"} {
		slices.Sort(times[i])
		took[i] = float64(times[i][len(times[i])/2].Nanoseconds()) / 1000 / (lookupClients * lookupsEach)
		b.ReportMetric(took[i], name+"-µs")
	}
	b.ReportMetric(took[1]/took[0], "file/accountd")
	b.ReportMetric(took[0]/took[2], "accountd/empty")
}

type lookupClient struct {
	net.Conn
	in *bufio.Reader
}

// serveLookups serves h until the benchmark ends, and connects all clients.
func serveLookups(b *testing.B, h http.Handler, lookups ready) []lookupClient {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serveOn(ctx, ln, nil, h, lookups, defaultLimits(), slog.New(slog.DiscardHandler)) }()
	b.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	clients := make([]lookupClient, lookupClients)
	for i := range clients {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		clients[i] = lookupClient{conn, bufio.NewReader(conn)}
	}
	return clients
}

// lookAll sends lookupsEach requests on each connection, and returns how long
// it took.
func lookAll(b *testing.B, clients []lookupClient, requests [][]byte) time.Duration {
	began := time.Now()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for n := range lookupsEach {
				if err := c.lookUp(requests[(i*lookupsEach+n)%len(requests)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// lookUp sends one request and reads its answer.
func (c lookupClient) lookUp(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	size := 0
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("answered with %q", line)
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(line) == 2 {
			_, err := c.in.Discard(size)
			return err
		}
	}
}
