package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

// renewer is a device that renews.
type renewer struct {
	pair  keys.UserPair
	req   api.EnrollRequest // the next one
	body  []byte            // req, signed
	asked time.Time
}

// take makes the next request of the answer to the last one.
func (d *renewer) take(reply api.EnrollReply) (err error) {
	d.req.JWT, d.req.Nonce = reply.JWT, reply.Next
	return d.sign()
}

func (d *renewer) sign() (err error) {
	if d.req.Proof, err = d.pair.Sign(d.req.Text()); err == nil {
		d.body, err = json.Marshal(d.req)
	}
	return err
}

// renewers are the devices of a fleet, on three nodes. They share connections:
// accountd cannot tell, since a request proves itself.
type renewers struct {
	*cloud
	devices []*renewer
	links   []*nats.Conn
}

const renewLinks = 64

func newRenewers(t testing.TB, count int) *renewers {
	t.Helper()
	r := &renewers{cloud: newCloud(t)}
	r.nsc("add", "account", "iot", "--fleet-only", "--ttl", "24h")
	r.nsc("add", "fleet", "devices", "-a", "iot", "--ttl", "24h")
	r.nsc("add", "enrollment-group", "phones", "-a", "iot")
	file := filepath.Join(r.dir, "devices.ndjson")
	r.nsc("issue", "-a", "iot", "--count", fmt.Sprint(count+renewLinks), "--prefix", "d-", "--out", file)
	for i, d := range readIssued(t, file) {
		pair, err := keys.UserFromSeed([]byte(d.Seed))
		if err != nil {
			t.Fatal(err)
		}
		if i >= renewLinks {
			r.devices = append(r.devices, &renewer{pair: pair, req: api.EnrollRequest{Key: pair.PublicKey(), JWT: d.JWT}})
			continue
		}
		nc, err := nats.Connect(r.ready.Nodes[i%3].URL, nats.UserJWTAndSeed(d.JWT, d.Seed), nats.CustomInboxPrefix("_INBOX."+pair.PublicKey()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		r.links = append(r.links, nc)
	}
	return r
}

func readIssued(t testing.TB, file string) []issued {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []issued
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var d issued
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// each calls renew for every device, with four of each connection in hand, and
// returns how long they took, sorted.
func (r *renewers) each(renew func(nc *nats.Conn, d *renewer) error) []time.Duration {
	r.t.Helper()
	took := make([]time.Duration, len(r.devices))
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 * len(r.links) {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(r.devices) {
					return
				}
				began := time.Now()
				if err := renew(r.links[i%len(r.links)], r.devices[n]); err != nil {
					r.t.Error(err)
					return
				}
				took[n] = time.Since(began)
			}
		})
	}
	wg.Wait()
	if r.t.Failed() {
		r.t.FailNow()
	}
	slices.Sort(took)
	return took
}

func ask(nc *nats.Conn, body []byte) (reply api.EnrollReply, err error) {
	m, err := nc.Request(fleet.EnrollSubject, body, patience)
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return reply, err
	}
	return reply, reply.Error.Fault()
}

// first renews by a nonce that is asked for.
func first(nc *nats.Conn, d *renewer) error {
	body, err := json.Marshal(api.EnrollRequest{Key: d.req.Key})
	if err != nil {
		return err
	}
	reply, err := ask(nc, body)
	if err != nil {
		return err
	}
	d.req.Nonce = reply.Nonce
	if err := d.sign(); err != nil {
		return err
	}
	if reply, err = ask(nc, d.body); err != nil {
		return err
	}
	return d.take(reply)
}

// again renews by the nonce that came with the credentials.
func again(nc *nats.Conn, d *renewer) error {
	reply, err := ask(nc, d.body)
	if err != nil {
		return err
	}
	return d.take(reply)
}

// BenchmarkRenew measures b.N renewals over NATS, each of another device, from
// 64 connections to three nodes with four devices in hand on each. Who asks runs
// on the same processors, and signs what it will ask before: devices have
// processors of their own. What accountd and its nodes take is told apart. That
// of the first renewal of credentials from a factory, which asks for a nonce, has
// "first" in its name.
func BenchmarkRenew(b *testing.B) {
	r := newRenewers(b, b.N)
	measure := func(name string, renew func(nc *nats.Conn, d *renewer) error) {
		idle, began := r.daemon.CPU(b), time.Now()
		took := r.each(renew)
		b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), name+"renewals/s")
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name+"p99-ms")
		b.ReportMetric(float64((r.daemon.CPU(b)-idle).Microseconds())/float64(b.N), name+"accountd-cpu-µs/renewal")
	}
	measure("first-", first)
	b.ResetTimer()
	measure("", func(nc *nats.Conn, d *renewer) error {
		_, err := ask(nc, d.body)
		return err
	})
}

// storm is how many devices renew at once: as many as RENEW_STORM says.
func storm() int {
	if n, err := strconv.Atoi(os.Getenv("RENEW_STORM")); err == nil {
		return n
	}
	return 3000
}

// TestRenewalStorm: 20,000 devices a second come to renew. Each is answered, those
// that are told to come back do when they were told, and none is lost.
func TestRenewalStorm(t *testing.T) {
	t.Parallel()
	r := newRenewers(t, storm())
	r.each(first)
	quiet, idle := r.daemon.Memory(t), r.daemon.CPU(t)
	type answer struct {
		took  time.Duration
		reply api.EnrollReply
		n     int
	}
	answers := make(chan answer, len(r.devices))
	var subs []*nats.Subscription
	send := func(n int) {
		at := n % len(r.links)
		r.devices[n].asked = time.Now()
		inbox := strings.TrimSuffix(subs[at].Subject, "*") + strconv.Itoa(n)
		if err := r.links[at].PublishRequest(fleet.EnrollSubject, inbox, r.devices[n].body); err != nil {
			t.Error(err)
		}
	}
	for _, nc := range r.links {
		sub, err := nc.Subscribe(nc.NewInbox()+".*", func(m *nats.Msg) {
			n, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
			a := answer{n: n}
			if err == nil {
				a.took = time.Since(r.devices[n].asked)
				err = json.Unmarshal(m.Data, &a.reply)
			}
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	began := time.Now()
	for n := range r.devices { // as the agents of 100,000 that are cut: within 5 s
		time.AfterFunc(rand.N(time.Duration(len(r.devices))*50*time.Microsecond), func() { send(n) })
	}
	var took []time.Duration
	sent, away := len(r.devices), 0
	for renewed := 0; renewed < len(r.devices); {
		select {
		case a := <-answers:
			took = append(took, a.took)
			switch {
			case a.reply.JWT != "":
				renewed++
			case a.reply.Wait > 0:
				away++
				sent++
				time.AfterFunc(time.Duration(a.reply.Wait)*time.Second+rand.N(time.Second), func() { send(a.n) })
			default:
				t.Fatalf("device %d: %v", a.n, a.reply.Error)
			}
		case <-time.After(patience + time.Minute):
			t.Fatalf("%d of %d renewed, %d requests, %d answers", renewed, len(r.devices), sent, len(took))
		}
	}
	all, cpu := time.Since(began), r.daemon.CPU(t)-idle
	if sent != len(took) {
		t.Errorf("%d requests had %d answers", sent, len(took))
	}
	slices.Sort(took)
	peak := r.daemon.Memory(t)
	t.Logf("%d devices: all renewed after %s (%.0f/s); answers p50 %s, p99 %s; %d were told to come back; accountd %s each, peak memory %d MB, before %d MB",
		len(r.devices), all.Round(time.Millisecond), float64(len(r.devices))/all.Seconds(), took[len(took)/2].Round(time.Millisecond),
		took[len(took)*99/100].Round(time.Millisecond), away, (cpu / time.Duration(len(r.devices))).Round(time.Microsecond), peak>>20, quiet>>20)
	if grown := peak - quiet; grown > 512<<20 {
		t.Errorf("the storm took %d MB of memory", grown>>20)
	}
}

// TestRenewalsLeaveNothing: however many renewals there are, the store and its
// log stay as they are, and so does memory. RENEW_SOAK says how long, at 260
// renewals a second; of 1,000,000 devices with a lifetime of 7 days there are 2.6.
func TestRenewalsLeaveNothing(t *testing.T) {
	t.Parallel()
	const rate = 260
	long, err := time.ParseDuration(os.Getenv("RENEW_SOAK"))
	devices, rounds := 500, 5 // as fast as they go
	if err == nil {
		devices = 20 * rate // each once in 20 s, which its limit allows
		rounds = max(2, int(long/(20*time.Second)))
	}
	r := newRenewers(t, devices)
	r.each(first)
	file := filepath.Join(r.dir, "accountd.db")
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	changes := func() string {
		resp, err := http.Get(r.ready.HTTP + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		_, value, ok := strings.Cut(string(text), "\naccountd_changes_total ")
		if err != nil || !ok {
			t.Fatalf("no metrics: %v", err)
		}
		value, _, _ = strings.Cut(value, "\n")
		return value
	}
	pace := func(nc *nats.Conn, d *renewer) error { return again(nc, d) }
	if err == nil {
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		pace = func(nc *nats.Conn, d *renewer) error { <-tick.C; return again(nc, d) }
	}
	store, log, warm := size(), changes(), uint64(0)
	for i := range rounds {
		r.each(pace)
		if i == rounds/2 {
			warm = r.daemon.Memory(t)
		}
	}
	if size() != store || changes() != log {
		t.Errorf("after %d renewals the store has %d bytes, before %d; the log %s changes, before %s", rounds*devices, size(), store, changes(), log)
	}
	end := r.daemon.Memory(t)
	t.Logf("%d renewals: store %d bytes, %s changes, peak memory %d MB, after half of them %d MB", rounds*devices, store, log, end>>20, warm>>20)
	if end > warm+warm/2+32<<20 {
		t.Errorf("memory grew from %d to %d MB", warm>>20, end>>20)
	}
}
