package cli_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
)

// cut is the part of a receipt about devices.
type cut struct {
	Outcome string
	Proven  bool
	Devices struct {
		Devices, Listed, Exposed int
		Retired                  []string
		Renewed                  []int
		Until                    int64
		Budget                   float64
	}
}

// judge returns what servers say to a device by the account's claims, as they
// are now.
func (p *person) judge(account string) (refused func(line) bool) {
	p.t.Helper()
	_, ac := p.account(account)
	return func(l line) bool {
		doc, _ := decode[jwt.UserClaims](p.t, l.JWT)
		return !ac.SigningKeys.Contains(doc.Issuer) || revocation.List(ac.Revocations).Covers(doc.Subject, doc.IssuedAt)
	}
}

func (p *person) refused(account string, l line) bool {
	p.t.Helper()
	return p.judge(account)(l)
}

func TestRevokeDevices(t *testing.T) {
	t.Parallel()
	p := iot(t)
	start := time.Now()
	p.now = func() time.Time { return start }
	p.ok("issue", "-a", "iot", "--count", "100", "--prefix", "s-", "--out", "a.ndjson")
	p.ok("issue", "-a", "iot", "--count", "20", "--prefix", "t-", "--tag", "site:7", "--out", "b.ndjson")
	a, b := lines(t, p.text("a.ndjson")), lines(t, p.text("b.ndjson"))

	p.unchanged(func() {
		p.run("revoke", "device", "-a", "iot").exits(2).complains("say which devices")
		p.run("revoke", "device", "x", "--cohort", "1", "-a", "iot").exits(2)
		p.run("revoke", "device", "x", "--now", "--graceful", "-a", "iot").exits(2)
		p.run("revoke", "device", "a.b", "-a", "iot").exits(7)
		p.run("revoke", "device", a[0].Seed, "-a", "iot").exits(2)
		p.run("revoke", "device", "--tag", "x", "-a", "iot").exits(2).complains("--from")
		p.run("revoke", "device", "--cohort", "4", "-a", "iot").exits(2)
		p.run("revoke", "device", "x", "-a", "app").exits(3)
		p.run("revoke", "device", "s-5", "-a", "iot").exits(3).complains("unknown-key", "--now  everything that 1 key signed", "--graceful  1 of 1 device")
		p.ok("revoke", "device", "s-5", "--from", "a.ndjson", "-a", "iot", "--dry-run").says("would revoke device s-5")
	})
	p.ok("revoke", "device", a[0].Public, "-a", "iot").says("device "+a[0].Public, "1 device listed")
	p.ok("revoke", "device", a[0].Public, "-a", "iot").says("already so")
	p.ok("revoke", "device", "s-2", "s-3", "--from", "a.ndjson", "-a", "iot").says("2 devices of fleet sensors")
	p.ok("revoke", "device", "--tag", "site:7", "--from", "b.ndjson", "-a", "iot").says("20 devices")
	p.put("list.txt", "# stolen\n"+a[10].ID+" "+a[10].Public+"\n"+strings.Split(p.text("a.ndjson"), "\n")[11]+"\n\n"+a[12].Public+"\n")
	p.run("revoke", "device", "--file", "list.txt", "-a", "iot").exits(2).complains("--yes")
	p.ok("revoke", "device", "--file", "list.txt", "-a", "iot", "--yes").says("3 devices")
	for i, l := range a {
		if want := i < 3 || i >= 10 && i < 13; p.refused("iot", l) != want {
			t.Errorf("%s refused: %v", l.ID, !want)
		}
	}
	for _, l := range b {
		if !p.refused("iot", l) {
			t.Errorf("%s is not refused", l.ID)
		}
	}
	p.in = a[13].Public + "\n"
	p.ok("revoke", "device", "--file", "-", "-a", "iot", "--yes").says("1 device listed")
	p.put("bad.txt", "ok\n*\n")
	p.run("revoke", "device", "--file", "bad.txt", "-a", "iot", "--yes").exits(7).complains("bad.txt, line 2", "device-id")
}

func TestRevokeCohortAndStation(t *testing.T) {
	t.Parallel()
	p := iot(t)
	p.ok("add", "station", "line4", "-a", "iot")
	a := lines(t, p.ok("issue", "-a", "iot", "--count", "60", "--out", "-").out)
	s := lines(t, p.ok("issue", "-a", "iot", "--station", "line4", "--first", "1000", "--count", "10", "--out", "-").out)
	_, ac := p.account("iot")
	f, _ := fleet.Find(ac, "")
	p.run("revoke", "device", "--cohort", "2", "-a", "iot").exits(2).complains("everything that 1 key signed (sensors/c02e1)", "--yes")
	var res cut
	p.ok("revoke", "device", "--cohort", "2", "-a", "iot", "--yes", "--json").json(&res)
	if len(res.Devices.Retired) != 1 || fmt.Sprint(res.Devices.Renewed) != "[2]" {
		t.Errorf("%+v", res)
	}
	for _, l := range append(a, s...) {
		if want := f.Cohort(l.ID) == 2 && len(l.ID) < 4; p.refused("iot", l) != want {
			t.Errorf("%s refused: %v", l.ID, !want)
		}
	}
	p.ok("revoke", "device", "--station", "line4", "-a", "iot", "--yes").says("station line4 of fleet sensors")
	for _, l := range s {
		if !p.refused("iot", l) {
			t.Errorf("%s is not refused", l.ID)
		}
	}
	p.put("gone.ndjson", p.ok("issue", "-a", "iot", "--count", "1", "--out", "-").out)
	again := lines(t, p.ok("issue", "-a", "iot", "--ids", p.idsOf(a), "--out", "-").out)
	for _, l := range again {
		if p.refused("iot", l) {
			t.Errorf("%s was issued anew and is refused", l.ID)
		}
	}
	p.run("revoke", "device", "--issued-before", "0", "-a", "iot").exits(2)
	p.run("revoke", "device", "--issued-before", fmt.Sprint(time.Now().Unix()-10), "-a", "app", "--yes").exits(4).complains("fleet-only")
	p.ok("revoke", "device", "--issued-before", fmt.Sprint(time.Now().Unix()), "-a", "iot", "--yes").says("the revocation of *")
	if !p.refused("iot", again[0]) {
		t.Error("what was issued before is not refused")
	}
}

func (p *person) idsOf(list []line) string {
	p.t.Helper()
	var b strings.Builder
	for _, l := range list {
		b.WriteString(l.ID + "\n")
	}
	p.put("ids.txt", b.String())
	return "ids.txt"
}

// TestRevokeBeyondTheBudget: what cannot be listed is refused by neither way
// unasked; --now refuses every one of them, and --graceful says which can still
// connect.
func TestRevokeBeyondTheBudget(t *testing.T) {
	t.Parallel()
	p := iot(t)
	const n = 12000
	var list strings.Builder
	for i := range n {
		user, err := keys.NewUser()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "d-%d %s\n", i, user.PublicKey())
	}
	p.put("devices.txt", list.String())
	p.ok("issue", "-a", "iot", "--public-keys", "devices.txt", "--out", "d.ndjson")
	devices := lines(t, p.text("d.ndjson"))
	args := []string{"revoke", "device", "--file", "devices.txt", "-a", "iot", "--yes"}
	p.unchanged(func() {
		p.run(args...).exits(2).complains("--now  everything that 4 keys signed", "--graceful", "can still connect, until", "choose --now or --graceful", "budget")
	})
	q := p.twin()
	q.ok("env", "--store", strings.Replace(p.store().Dirs().Stores, p.dir, q.dir, 1), "-o", "acme")
	var now cut
	p.ok(append(args, "--now", "--json")...).json(&now)
	if now.Devices.Exposed != 0 || len(now.Devices.Retired) != 4 || now.Devices.Budget > 0.25 {
		t.Errorf("%+v", now)
	}
	refused := p.judge("iot")
	for _, l := range devices {
		if !refused(l) {
			t.Fatalf("%s can still connect", l.ID)
		}
	}
	var soft cut
	r := q.ok(append(args, "--graceful", "--over", "1h", "--rest", "rest.txt", "--json")...)
	r.json(&soft)
	rest := map[string]bool{}
	for text := range strings.Lines(q.text("rest.txt")) {
		rest[strings.TrimSpace(text)] = true
	}
	open := 0
	refused = q.judge("iot")
	for _, l := range devices {
		exposed := rest[l.ID+" "+l.Public]
		if refused(l) == exposed {
			t.Fatalf("%s: refused %v, and exposed %v", l.ID, !exposed, exposed)
		}
		if exposed {
			open++
		}
	}
	if open == 0 || soft.Devices.Exposed != open || soft.Devices.Listed != n-open || soft.Devices.Budget > 1 || soft.Devices.Until > time.Now().Unix()+3600 {
		t.Errorf("%+v, %d can still connect", soft.Devices, open)
	}
	q.now = func() time.Time { return time.Unix(soft.Devices.Until, 0) }
	q.ok("compact", "iot").says("sensors/c03e1")
	refused = q.judge("iot")
	for _, l := range devices {
		if !refused(l) {
			t.Fatalf("%s can still connect after the time that the receipt says", l.ID)
		}
	}
}

// TestRevokeLiveDevice: the key of a device that nobody has written down comes
// from its connection; the cohort's connections are counted and cut.
func TestRevokeLiveDevice(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "live", "--fleet-only", "--ttl", "1h")
	p.ok("add", "fleet", "cams", "-a", "live", "--cohorts", "2", "--ttl", "1h")
	devices := lines(t, p.ok("issue", "-a", "live", "--count", "12", "--prefix", "cam-", "--out", "-").out)
	conns := map[string]*nats.Conn{}
	for _, l := range devices {
		nc, err := nats.Connect(p.serverURL(), nats.UserJWTAndSeed(l.JWT, l.Seed), nats.NoReconnect())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		conns[l.ID] = nc
	}
	p.run("revoke", "device", "cam-99", "-a", "live").exits(3).complains("unknown-key")
	p.ok("revoke", "device", "cam-1", "-a", "live").says("revoked device cam-1 of fleet cams in live", "closed 1 connection", "refused everywhere, sweep clean")
	closed(t, conns["cam-1"])
	_, ac := p.account("live")
	f, _ := fleet.Find(ac, "")
	cohort := f.Cohort("cam-2")
	p.run("revoke", "device", "--cohort", fmt.Sprint(cohort), "-a", "live").exits(2).complains("connected now: ")
	p.ok("revoke", "device", "--cohort", fmt.Sprint(cohort), "-a", "live", "--yes").says("refused everywhere")
	for _, l := range devices[1:] {
		if f.Cohort(l.ID) == cohort {
			closed(t, conns[l.ID])
		} else if err := conns[l.ID].FlushTimeout(5 * time.Second); err != nil {
			t.Errorf("%s of the other cohort was cut: %v", l.ID, err)
		}
	}
}

// closed waits until the server has closed a connection.
func closed(t *testing.T, nc *nats.Conn) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(10 * time.Second); !nc.IsClosed(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("still connected")
		}
	}
}
