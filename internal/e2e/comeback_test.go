package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountd/accountd/accounts/fleet"
	agents "github.com/accountd/accountd/device"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// TestHealthyDevicesComeBack: the keys of all cohorts go for ten devices of sixty,
// and accountd is killed meanwhile. The agents of the fifty get new credentials by
// themselves; those of the ten are told that they are revoked, and end.
func TestHealthyDevicesComeBack(t *testing.T) {
	t.Parallel()
	const devices, bad = 60, 10
	c := newCloud(t)
	c.nsc("add", "account", "iot", "--fleet-only", "--ttl", "1h")
	c.nsc("add", "fleet", "sensors", "-a", "iot", "--cohorts", "4", "--ttl", "1h")
	c.nsc("add", "enrollment-group", "phones", "-a", "iot")
	token := strings.TrimSpace(c.nsc("token", "create", "--group", "phones", "-a", "iot", "--uses", fmt.Sprint(devices), "--url", c.ready.Nodes[0].URL+","+c.ready.HTTP).out)
	a := newAgents(t, devices, token)

	var list strings.Builder
	for i := range bad {
		fmt.Fprintf(&list, "d%d\n", i)
	}
	for i := range 12_000 { // more than can be listed
		pair, err := keys.NewUser()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "x%d %s\n", i, pair.PublicKey())
	}
	file := filepath.Join(t.TempDir(), "bad.txt")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r := c.nsc("revoke", "device", "--file", file, "-a", "iot", "--now", "--yes", "--json")
	var rec massReceipt
	if err := json.Unmarshal([]byte(r.out), &rec); err != nil || len(rec.Devices.Retired) != 4 || rec.Devices.Returns == 0 {
		t.Fatalf("%v in %s", err, r)
	}
	c.daemon.Kill()
	c.start()
	for i := range devices {
		if i < bad {
			within(t, fmt.Sprintf("d%d ends", i), a[i].ended)
			if fault.RuleOf(a[i].err) != "revoked" {
				t.Errorf("d%d: %v", i, a[i].err)
			}
			continue
		}
		select {
		case <-a[i].renewed:
		case <-a[i].ended:
			t.Fatalf("d%d: %v", i, a[i].err)
		case <-time.After(patience):
			t.Fatalf("d%d has no new credentials", i)
		}
	}
	for i := range bad {
		if _, err := a[i].Renew(t.Context()); fault.RuleOf(err) != "revoked" {
			t.Errorf("d%d: %v", i, err)
		}
	}
}

// TestRollCutsNobodyForGood: all keys of a fleet go within a minute, long before
// its devices are to renew. accountd is killed meanwhile. Some hear of it and renew
// ahead, others are cut; all have new credentials soon after, over NATS alone and
// without a token. Who was revoked before never has.
func TestRollCutsNobodyForGood(t *testing.T) {
	t.Parallel()
	const devices, bad = 64, 4
	c := newCloud(t)
	c.nsc("add", "account", "iot", "--fleet-only", "--ttl", "1h")
	c.nsc("add", "fleet", "sensors", "-a", "iot", "--cohorts", "4", "--ttl", "1h")
	c.nsc("add", "fleet", "meters", "-a", "iot", "--cohorts", "2", "--ttl", "1h")
	c.nsc("add", "enrollment-group", "phones", "--fleet", "sensors", "-a", "iot")
	file := filepath.Join(t.TempDir(), "token")
	c.nsc("token", "create", "--group", "phones", "-a", "iot", "--uses", fmt.Sprint(devices), "--url", c.ready.Nodes[0].URL, "--out", file)
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := newAgents(t, devices, strings.TrimSpace(string(token)))
	c.nsc("token", "revoke", file, "-a", "iot", "--yes")
	for i := range bad {
		st, err := a[i].State()
		if err != nil {
			t.Fatal(err)
		}
		c.nsc("revoke", "device", st.Key, "-a", "iot", "--fleet", "sensors", "--yes")
	}
	c.nsc("edit", "fleet", "meters", "-a", "iot", "--roll", "--over", "1m")
	c.nsc("edit", "fleet", "meters", "-a", "iot", "--abort-roll")
	begun := time.Now()
	c.nsc("edit", "fleet", "sensors", "-a", "iot", "--roll", "--over", "1m")
	c.daemon.Kill()
	c.start()
	ahead, soon := 0, time.After(time.Minute+patience)
	for i := bad; i < devices; i++ {
		select {
		case <-a[i].renewed:
		case <-a[i].ended:
			t.Fatalf("d%d: %v", i, a[i].err)
		case <-soon:
			t.Fatalf("d%d has no new credentials", i)
		}
		st, err := a[i].State()
		if err != nil {
			t.Fatal(err)
		}
		if issued := time.Unix(st.Issued, 0).Add(fleet.Skew); issued.Before(begun.Add(25 * time.Second)) {
			ahead++
		}
	}
	t.Logf("%d of %d had renewed before the first key went, the last after %s", ahead, devices-bad, time.Since(begun).Round(time.Second))
	if ahead == 0 {
		t.Error("nobody renewed ahead")
	}
	for i := range bad { // servers refuse whatever they show
		select {
		case <-a[i].renewed:
			t.Errorf("d%d is revoked and has new credentials", i)
		default:
		}
		if _, err := a[i].Renew(t.Context()); err == nil {
			t.Errorf("d%d is revoked and renewed", i)
		}
	}
	var meters struct{ Roll struct{ Next int64 } }
	if out := c.nsc("describe", "fleet", "meters", "-a", "iot", "--json").out; json.Unmarshal([]byte(out), &meters) != nil || meters.Roll.Next < begun.Add(time.Hour).Unix() {
		t.Errorf("aborted, and yet: %s", out)
	}
}

// agent is one that runs.
type agent struct {
	*agents.Agent
	renewed chan struct{} // closed when it has other credentials than at first
	ended   chan struct{} // closed when Run returned err
	err     error
}

// newAgents enrols devices d0, d1, … and runs their agents.
func newAgents(t *testing.T, n int, token string) []*agent {
	t.Helper()
	out := make([]*agent, n)
	ctx, stop := context.WithCancel(context.Background())
	var enrol, run sync.WaitGroup
	t.Cleanup(func() {
		stop()
		run.Wait()
	})
	slots := make(chan struct{}, 8)
	for i := range out {
		a := &agent{
			Agent:   agents.New(agents.Options{Dir: filepath.Join(t.TempDir(), fmt.Sprint("d", i))}),
			renewed: make(chan struct{}), ended: make(chan struct{}),
		}
		out[i] = a
		enrol.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if _, err := a.Enroll(ctx, token, fmt.Sprint("d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	if enrol.Wait(); t.Failed() {
		t.FailNow()
	}
	for _, a := range out {
		first := int64(0)
		run.Go(func() {
			defer close(a.ended)
			a.err = a.Run(ctx, func(st agents.State) {
				if first == 0 {
					first = st.Issued
				} else if st.Issued != first {
					select {
					case <-a.renewed:
					default:
						close(a.renewed)
					}
				}
			})
		})
	}
	return out
}
