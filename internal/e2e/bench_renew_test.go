package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/keys"
)

// issued is one line of what nsc issue writes.
type issued struct {
	ID   string `json:"id"`
	Seed string `json:"seed"`
	JWT  string `json:"jwt"`
}

// BenchmarkRenew measures b.N renewals over NATS, each of another device, from
// 64 connections to three nodes with four devices in hand on each: a nonce, its
// proof, new credentials. Who asks runs on the same processors; what accountd
// and its nodes take of them is told apart.
func BenchmarkRenew(b *testing.B) {
	const conns, inHand = 64, 4
	c := newCloud(b)
	c.nsc("add", "account", "iot", "--fleet-only", "--ttl", "1h")
	c.nsc("add", "fleet", "devices", "-a", "iot", "--ttl", "1h")
	c.nsc("add", "enrollment-group", "phones", "-a", "iot")
	file := filepath.Join(c.dir, "devices.ndjson")
	c.nsc("issue", "-a", "iot", "--count", fmt.Sprint(b.N+conns), "--prefix", "d-", "--out", file)
	devices := readIssued(b, file)
	var links []*nats.Conn
	for i, d := range devices[:conns] {
		nc, err := nats.Connect(c.ready.Nodes[i%3].URL, nats.UserJWTAndSeed(d.JWT, d.Seed), nats.CustomInboxPrefix("_INBOX."+publicOf(b, d)))
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		links = append(links, nc)
	}
	todo := make(chan issued, len(devices))
	for _, d := range devices[conns:] {
		todo <- d
	}
	close(todo)
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	idle := c.daemon.CPU(b)
	b.ResetTimer()
	for i := range conns * inHand {
		wg.Go(func() {
			var own []time.Duration
			for d := range todo {
				began := time.Now()
				if err := renew(links[i%conns], d); err != nil {
					b.Error(err)
					return
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	wg.Wait()
	b.StopTimer()
	if b.Failed() {
		return
	}
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "renewals/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64((c.daemon.CPU(b)-idle).Microseconds())/float64(b.N), "accountd-cpu-µs/renewal")
}

func readIssued(b *testing.B, file string) []issued {
	b.Helper()
	f, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var out []issued
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var d issued
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			b.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

func publicOf(b *testing.B, d issued) string {
	b.Helper()
	pair, err := keys.UserFromSeed([]byte(d.Seed))
	if err != nil {
		b.Fatal(err)
	}
	return pair.PublicKey()
}

// renew gets new credentials for a device.
func renew(nc *nats.Conn, d issued) error {
	pair, err := keys.UserFromSeed([]byte(d.Seed))
	if err != nil {
		return err
	}
	req := api.EnrollRequest{Key: pair.PublicKey()}
	for range 2 {
		body, err := json.Marshal(req)
		if err != nil {
			return err
		}
		m, err := nc.Request(fleet.EnrollSubject, body, patience)
		if err != nil {
			return err
		}
		var reply api.EnrollReply
		if err := json.Unmarshal(m.Data, &reply); err != nil {
			return err
		}
		if reply.Error != nil || reply.JWT != "" {
			return reply.Error.Fault()
		}
		req.JWT, req.Nonce = d.JWT, reply.Nonce
		if req.Proof, err = pair.Sign(req.Text()); err != nil {
			return err
		}
	}
	return fmt.Errorf("device %s got no credentials", d.ID)
}
