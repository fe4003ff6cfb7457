package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestMassRevocation is the story's twelfth act: a station's whole batch is
// refused at once, then an arbitrary list, with healthy devices or without. What
// can still connect, and until when, is what the receipt says. MASS_ISSUED,
// MASS_STATION, MASS_ARBITRARY and MASS_CONNECTED are for more devices than CI
// has time for; see scripts/bench mass.
func TestMassRevocation(t *testing.T) {
	t.Parallel()
	m := &mass{
		cloud: newCloud(t), issued: number("MASS_ISSUED", 15_000), station: number("MASS_STATION", 500),
		bad: number("MASS_ARBITRARY", 13_500), connected: number("MASS_CONNECTED", 90),
	}
	m.limit = time.Hour
	m.nsc("add", "account", "iot", "--fleet-only", "--ttl", "1h")
	m.nsc("add", "fleet", "sensors", "-a", "iot", "--cohorts", "16", "--ttl", "1h")
	m.nsc("add", "station", "line4", "--fleet", "sensors", "-a", "iot")
	m.nsc("issue", "-a", "iot", "--fleet", "sensors", "--count", fmt.Sprint(m.issued), "--prefix", "s-", "--out", "all.ndjson")
	m.nsc("issue", "-a", "iot", "--fleet", "sensors", "--station", "line4", "--count", fmt.Sprint(m.station), "--prefix", "t-", "--out", "line4.ndjson")
	m.cutStation()
	m.cutNow()
	m.cutGracefully()
}

func number(env string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
		return n
	}
	return usual
}

type mass struct {
	*cloud
	issued, station, bad, connected int
}

// massDevice is one device of many.
type massDevice struct {
	ID     string `json:"id"`
	Public string `json:"public_key"`
	Seed   string `json:"seed"`
	JWT    string `json:"jwt"`

	conn *nats.Conn
	gone chan struct{} // closed when its connection is
	at   time.Time     // of that
}

// massReceipt is what the act reads of a receipt.
type massReceipt struct {
	receipt
	Devices struct {
		Devices, Listed, Exposed int
		Retired                  []string
		Until, Returns           int64
		Budget                   float64
	}
}

func (m *mass) path(name string) string { return filepath.Join(filepath.Dir(m.dir), name) }

// each reads the devices that nsc issue wrote.
func (m *mass) each(name string, do func(i int, d *massDevice)) {
	m.t.Helper()
	f, err := os.Open(m.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for i := 0; lines.Scan(); i++ {
		d := &massDevice{}
		if err := json.Unmarshal(lines.Bytes(), d); err != nil {
			m.t.Fatal(err)
		}
		do(i, d)
	}
	if err := lines.Err(); err != nil {
		m.t.Fatal(err)
	}
}

// write writes a file with a line for each device that line returns one for.
func (m *mass) write(name, from string, line func(i int, d *massDevice) string) {
	m.t.Helper()
	var b strings.Builder
	m.each(from, func(i int, d *massDevice) {
		if text := line(i, d); text != "" {
			b.WriteString(text + "\n")
		}
	})
	if err := os.WriteFile(m.path(name), []byte(b.String()), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// pick returns n devices of a file, at even distances, of those that are wanted.
func (m *mass) pick(from string, n, of int, wanted func(i int) bool) []*massDevice {
	m.t.Helper()
	var out []*massDevice
	seen := 0
	m.each(from, func(i int, d *massDevice) {
		if !wanted(i) {
			return
		}
		if seen*n/of > (seen-1)*n/of || seen == 0 {
			out = append(out, d)
		}
		seen++
	})
	return out
}

// connect connects devices, to one node after the other.
func (m *mass) connect(devices []*massDevice) {
	m.t.Helper()
	var g sync.WaitGroup
	errs := make(chan error, len(devices))
	slots := make(chan struct{}, 32)
	for i, d := range devices {
		slots <- struct{}{}
		g.Go(func() {
			defer func() { <-slots }()
			errs <- m.dialDevice(d, m.ready.Nodes[i%len(m.ready.Nodes)].URL)
		})
	}
	g.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *mass) dialDevice(d *massDevice, url string) (err error) {
	d.gone = make(chan struct{})
	d.conn, err = nats.Connect(url, nats.UserJWTAndSeed(d.JWT, d.Seed), nats.NoReconnect(), nats.Timeout(patience),
		nats.ReconnectBufSize(-1), nats.ClosedHandler(func(*nats.Conn) {
			d.at = time.Now()
			close(d.gone)
		}), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return fmt.Errorf("connect %s: %w", d.ID, err)
	}
	m.t.Cleanup(d.conn.Close)
	return nil
}

// gone waits until the connections of devices are closed, and returns when the
// last was.
func (m *mass) gone(devices []*massDevice) (last time.Time) {
	m.t.Helper()
	for _, d := range devices {
		within(m.t, d.ID+" is cut", d.gone)
		if d.at.After(last) {
			last = d.at
		}
	}
	return last
}

// stay requires devices to be connected.
func (m *mass) stay(devices []*massDevice) {
	m.t.Helper()
	for _, d := range devices {
		if d.conn.IsClosed() {
			m.t.Fatalf("%s was cut", d.ID)
		}
	}
}

// may requires what every node says to some of the devices when they connect.
func (m *mass) may(devices []*massDevice, want bool) {
	m.t.Helper()
	for _, d := range devices[:min(len(devices), 5)] {
		for _, url := range m.urls() {
			nc, err := nats.Connect(url, nats.UserJWTAndSeed(d.JWT, d.Seed), nats.NoReconnect(), nats.Timeout(patience))
			if err == nil {
				nc.Close()
			} else if !errors.Is(err, nats.ErrAuthorization) {
				m.t.Fatal(err)
			}
			if (err == nil) != want {
				m.t.Fatalf("%s at %s: %v", d.ID, url, err)
			}
		}
	}
}

// revoke runs nsc revoke device, and says how long it took.
func (m *mass) revoke(what string, args ...string) (massReceipt, time.Time) {
	m.t.Helper()
	begin := time.Now()
	r := m.nsc(append([]string{"revoke", "device", "--fleet", "sensors", "-a", "iot", "--yes", "--json", "--timeout", "2m"}, args...)...)
	took := time.Since(begin)
	var rec massReceipt
	if err := json.Unmarshal([]byte(r.out), &rec); err != nil {
		m.t.Fatalf("%v in %s", err, r)
	}
	m.inForce(rec.receipt)
	m.t.Logf("%s: %s to the proof, %s of it processor time of nsc; listed %d, keys retired %d, exposed %d, claim %.0f %% of its largest",
		what, took.Round(time.Millisecond), r.cpu.Round(time.Millisecond), rec.Devices.Listed, len(rec.Devices.Retired), rec.Devices.Exposed, rec.Devices.Budget*100)
	return rec, begin
}

func (m *mass) cutStation() {
	third := m.connected / 3
	station := m.pick("line4.ndjson", third, m.station, func(int) bool { return true })
	healthy := m.pick("all.ndjson", third, m.issued, func(int) bool { return true })
	m.connect(append(station, healthy...))
	rec, begin := m.revoke(fmt.Sprintf("station of %d", m.station), "--station", "line4")
	m.t.Logf("the last of %d connected was cut after %s", len(station), m.gone(station).Sub(begin).Round(time.Millisecond))
	if len(rec.Devices.Retired) != 1 || rec.Devices.Budget > 0.25 {
		m.t.Errorf("%+v", rec.Devices)
	}
	m.stay(healthy)
	m.may(station, false)
	m.may(healthy, true)
	for _, d := range healthy {
		d.conn.Close()
	}
}

// cutNow refuses an arbitrary list at once, and healthy devices with it, which
// come back with new credentials for the keys that they have.
func (m *mass) cutNow() {
	third := m.connected / 3
	isBad := func(i int) bool { return i < m.bad }
	bad := m.pick("all.ndjson", third, m.bad, isBad)
	healthy := m.pick("all.ndjson", third, m.issued-m.bad, func(i int) bool { return !isBad(i) })
	m.connect(append(bad, healthy...))
	m.write("bad.txt", "all.ndjson", func(i int, d *massDevice) string {
		if isBad(i) {
			return d.ID + " " + d.Public
		}
		return ""
	})
	if r := m.nscExits(2, "revoke", "device", "--fleet", "sensors", "-a", "iot", "--yes", "--file", "bad.txt"); !strings.Contains(r.err, "choose --now or --graceful") {
		m.t.Error(r)
	}
	rec, begin := m.revoke(fmt.Sprintf("%d arbitrary, --now", m.bad), "--file", "bad.txt", "--now")
	m.t.Logf("the last of %d connected was cut after %s", len(bad), m.gone(bad).Sub(begin).Round(time.Millisecond))
	if rec.Devices.Exposed != 0 || rec.Devices.Budget > 0.25 {
		m.t.Errorf("%+v", rec.Devices)
	}
	m.may(bad, false)
	m.gone(healthy)
	m.connect(m.anew("healthy.ndjson", healthy))
}

// anew issues devices new credentials for the keys that they have.
func (m *mass) anew(name string, devices []*massDevice) []*massDevice {
	m.t.Helper()
	seeds := map[string]string{}
	var list strings.Builder
	for _, d := range devices {
		seeds[d.ID] = d.Seed
		list.WriteString(d.ID + " " + d.Public + "\n")
	}
	if err := os.WriteFile(m.path(name+".keys"), []byte(list.String()), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.nsc("issue", "-a", "iot", "--fleet", "sensors", "--public-keys", name+".keys", "--out", name)
	var out []*massDevice
	m.each(name, func(_ int, d *massDevice) {
		d.Seed = seeds[d.ID]
		out = append(out, d)
	})
	return out
}

// cutGracefully lists as many as there is room for. The others can connect until
// the time in the receipt, and healthy devices that renew notice nothing.
func (m *mass) cutGracefully() {
	of := min(m.issued, 2*m.bad)
	m.nsc("issue", "-a", "iot", "--fleet", "sensors", "--count", fmt.Sprint(of), "--prefix", "s-", "--out", "again.ndjson")
	third := m.connected / 3
	isBad := func(i int) bool { return i < m.bad }
	bad := m.pick("again.ndjson", third, m.bad, isBad)
	healthy := m.pick("again.ndjson", third, of-m.bad, func(i int) bool { return !isBad(i) })
	m.connect(append(bad, healthy...))
	m.write("bad2.txt", "again.ndjson", func(i int, d *massDevice) string {
		if isBad(i) {
			return d.ID + " " + d.Public
		}
		return ""
	})
	rec, begin := m.revoke(fmt.Sprintf("%d arbitrary, --graceful within a minute", m.bad), "--file", "bad2.txt", "--graceful", "--over", "1m", "--rest", "rest.txt")
	rest := map[string]bool{}
	data, err := os.ReadFile(m.path("rest.txt"))
	if err != nil {
		m.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		rest[strings.Fields(line)[0]] = true
	}
	var listed, exposed []*massDevice
	for _, d := range bad {
		if rest[d.ID] {
			exposed = append(exposed, d)
		} else {
			listed = append(listed, d)
		}
	}
	if len(rest) != rec.Devices.Exposed || len(rest)+rec.Devices.Listed != m.bad || len(listed) == 0 || len(exposed) == 0 {
		m.t.Fatalf("%d in --rest, %d and %d of them connected; %+v", len(rest), len(listed), len(exposed), rec.Devices)
	}
	m.t.Logf("the last of %d connected that are listed was cut after %s", len(listed), m.gone(listed).Sub(begin).Round(time.Millisecond))
	m.may(listed, false)
	renewed := m.anew("renewed.ndjson", healthy)
	m.connect(renewed)
	until := time.Unix(rec.Devices.Until, 0)
	var first, last time.Time
	for _, d := range exposed {
		select {
		case <-d.gone:
		case <-time.After(time.Until(until) + patience):
			m.t.Fatalf("%s can still connect after %s", d.ID, until)
		}
		if first.IsZero() || d.at.Before(first) {
			first = d.at
		}
		if d.at.After(last) {
			last = d.at
		}
	}
	m.t.Logf("of %d connected that were exposed, the first was cut after %s, the last after %s; the receipt said %s", len(exposed),
		first.Sub(begin).Round(time.Millisecond), last.Sub(begin).Round(time.Millisecond), until.Sub(begin).Round(time.Second))
	if last.After(until) {
		m.t.Errorf("an exposed device was connected %s after the time in the receipt", last.Sub(until))
	}
	m.may(exposed, false)
	m.stay(renewed)
	m.may(renewed, true)
}
