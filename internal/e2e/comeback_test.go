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
