package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

const edgePatience = 30 * time.Second

// leafURLs are where the nodes of the cluster take leaf nodes.
func (c *cluster) leafURLs(t *testing.T) (urls []string) {
	t.Helper()
	var ready struct{ Nodes []struct{ Leaf string } }
	data, err := os.ReadFile(c.dir + ".ready")
	if err := errors.Join(err, json.Unmarshal(data, &ready)); err != nil {
		t.Fatal(err)
	}
	for _, n := range ready.Nodes {
		urls = append(urls, n.Leaf)
	}
	return urls
}

// shorten gives a device credentials as its cohort signs them, which expire soon.
func (p *person) shorten(account, dir string, life time.Duration) (expires time.Time) {
	p.t.Helper()
	doc, file := p.device(dir)
	_, deviceSeed, err := nscstore.ParseCreds(p.read(file))
	if err != nil {
		p.t.Fatal(err)
	}
	seed, err := p.store().Keystore().Seed(doc.Issuer)
	if err != nil {
		p.t.Fatal(err)
	}
	cohort, err := keys.AccountFromSeed(seed)
	if err != nil {
		p.t.Fatal(err)
	}
	expires = p.now().Add(life)
	draft, err := claims.Edit(doc, func(uc *jwt.UserClaims) error {
		uc.Expires = expires.Unix()
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	short, err := draft.Sign(cohort, doc.IssuedAt)
	if err != nil {
		p.t.Fatal(err)
	}
	creds, err := nscstore.FormatCreds(short.Token, deviceSeed)
	if err := errors.Join(err, os.WriteFile(file, creds, 0o600)); err != nil {
		p.t.Fatal(err)
	}
	return expires
}

// running starts the agent; ended yields how it ended.
func (p *person) running(ctx context.Context, args ...string) (ended chan result) {
	agent := *p
	agent.ctx = ctx
	ended = make(chan result, 1)
	go func() { ended <- agent.run(append([]string{"device", "run"}, args...)...) }()
	return ended
}

// TestDeviceDrivesLeaf: a stock leaf node reads the credentials that the agent keeps
// fresh. It stays linked beyond their end, is cut with the device and comes back with
// it, and works on its own all the time.
func TestDeviceDrivesLeaf(t *testing.T) {
	t.Parallel()
	p := enrolling(t, "edge")
	p.ok("device", "enroll", "--token", p.token("edge", "a.token"), "--dir", "gate", "--id", "gate")
	p.ok("add", "user", "hq", "-a", "edge")
	hub, err := nats.Connect(p.serverURL(), nats.UserCredentials(p.credsFile("edge", "hq")))
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	atHub, err := hub.SubscribeSync("edge.>")
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := hub.SubscribeSync("secret")
	if err != nil {
		t.Fatal(err)
	}
	expires := p.shorten("edge", "gate", 4*time.Second)
	_, creds := p.device("gate")
	leaf := natstest.StartLeaf(t, natstest.LeafOptions{Remotes: shared.c.leafURLs(t), Creds: creds})
	edge, err := nats.Connect(leaf.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	atEdge, err := edge.SubscribeSync("edge.gate.>")
	if err != nil {
		t.Fatal(err)
	}
	works := func(linked bool) {
		t.Helper()
		text := strconv.FormatInt(time.Now().UnixNano(), 10)
		for _, subject := range []string{"secret", "edge.gate.t"} {
			if err := edge.Publish(subject, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if m, err := atEdge.NextMsg(edgePatience); err != nil || string(m.Data) != text {
			t.Fatalf("the leaf node does not work on its own: %+v, %v", m, err)
		}
		if !linked {
			return
		}
		if m, err := atHub.NextMsg(edgePatience); err != nil || m.Subject != "edge.gate.t" || string(m.Data) != text {
			t.Fatalf("the hub heard %+v, %v", m, err)
		}
	}
	// The link is up before what is subscribed beyond it is known there.
	natstest.Eventually(t, edgePatience, func() error {
		if err := errors.Join(leaf.Linked(), edge.Publish("edge.gate.first", nil)); err != nil {
			return err
		}
		_, err := atHub.NextMsg(200 * time.Millisecond)
		return err
	})
	drain(t, atHub, atEdge)
	works(true)
	first, err := linkOf(leaf)
	if err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := p.running(ctx, "--dir", "gate")
	natstest.Eventually(t, edgePatience, func() error {
		data, err := os.ReadFile(creds)
		if err != nil {
			return err
		}
		token, _, err := nscstore.ParseCreds(data)
		if err != nil {
			return err
		}
		if doc, err := claims.Decode(token); err != nil || doc.Expires <= expires.Unix() {
			return fmt.Errorf("not renewed: %w", err)
		}
		return nil
	})
	works(true)
	natstest.Eventually(t, edgePatience, func() error { // until the hub has ended the first link
		if id, err := linkOf(leaf); err != nil || id == first {
			return fmt.Errorf("link %d: %w", id, err)
		}
		return nil
	})
	natstest.Eventually(t, edgePatience, func() error {
		if err := edge.Publish("edge.gate.again", nil); err != nil {
			return err
		}
		_, err := atHub.NextMsg(200 * time.Millisecond)
		return err
	})
	drain(t, atHub, atEdge)
	works(true)

	key := p.keyOf("gate")
	p.ok("revoke", "device", key, "-a", "edge").says("refused everywhere")
	natstest.Eventually(t, edgePatience, leaf.Unlinked)
	works(false)
	(<-ended).exits(4).complains("revoked")
	p.ok("unrevoke", "device", key, "-a", "edge")
	natstest.Eventually(t, edgePatience, leaf.Linked)
	p.ok("device", "renew", "--dir", "gate").says("device gate")
	if n, _, err := secrets.Pending(); n > 0 || err != nil {
		t.Errorf("%d secrets of the leaf node came to the hub: %v", n, err)
	}
}

func drain(t *testing.T, subs ...*nats.Subscription) {
	t.Helper()
	for _, sub := range subs {
		for {
			if _, err := sub.NextMsg(300 * time.Millisecond); errors.Is(err, nats.ErrTimeout) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// linkOf returns the number of a leaf node's connection.
func linkOf(leaf *natstest.Server) (uint64, error) {
	var page struct{ Leafs []struct{ ID uint64 } }
	if err := leaf.Monitoring("/leafz", &page); err != nil || len(page.Leafs) != 1 {
		return 0, fmt.Errorf("%d links: %w", len(page.Leafs), err)
	}
	return page.Leafs[0].ID, nil
}

// TestLeafOnlyDevices: devices that may connect as leaf nodes alone enrol and renew,
// though the agent cannot connect as they do.
func TestLeafOnlyDevices(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "leafs")
	p.ok("add", "fleet", "gates", "-a", "leafs", "--cohorts", "1", "--ttl", "1h", "--conn-type", "LEAFNODE")
	p.ok("add", "enrollment-group", "phones", "-a", "leafs")
	p.ok("device", "enroll", "--token", p.token("leafs", "a.token"), "--dir", "gate", "--id", "gate").says("device gate")
	p.ok("device", "renew", "--dir", "gate")
	_, creds := p.device("gate")
	if _, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds)); err == nil {
		t.Error("it may connect as a client")
	}
	leaf := natstest.StartLeaf(t, natstest.LeafOptions{Remotes: shared.c.leafURLs(t), Creds: creds})
	natstest.Eventually(t, edgePatience, leaf.Linked)
}

// TestBearerFleets: devices that cannot sign connect in ways that are named, and live
// shortly, whatever is edited.
func TestBearerFleets(t *testing.T) {
	t.Parallel()
	p := local(t)
	add := []string{"add", "fleet", "chips", "-a", "app", "--cohorts", "1", "--bearer"}
	p.unchanged(func() {
		p.run(add...).exits(7).complains("bearer-fleet", "--conn-type MQTT")
		p.run(append(add, "--conn-type", "MQTT,STANDARD")...).exits(7).complains("bearer-fleet")
		p.run(append(add, "--conn-type", "MQTT", "--ttl", "25h")...).exits(7).complains("live at most 24h")
	})
	p.ok(append(add, "--conn-type", "mqtt")...).says("live at most 24h")
	p.unchanged(func() {
		p.run("edit", "fleet", "chips", "-a", "app", "--ttl", "48h").exits(7).complains("bearer-fleet")
		p.run("edit", "fleet", "chips", "-a", "app", "--conn-type", "LEAFNODE").exits(7).complains("bearer-fleet")
	})
	p.ok("edit", "fleet", "chips", "-a", "app", "--ttl", "12h")
	p.ok("add", "fleet", "sensors", "-a", "app", "--cohorts", "1")
	p.run("edit", "fleet", "sensors", "-a", "app", "--bearer").exits(7).complains("bearer-fleet")
}

// skew is how far the clocks of tests differ: a request takes some of it.
const skew = fleet.Skew - 15*time.Second

// TestClocksDiffer: whoever's clock is five minutes ahead or behind, devices enrol
// and renew, who is revoked is refused and never comes back, and who is not is not
// locked out.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"fast": skew, "slow": -skew} {
		t.Run("nsc "+name, func(t *testing.T) {
			t.Parallel()
			p := shared.get(t).person(t)
			p.now = func() time.Time { return time.Now().Add(ahead) }
			p.clocksDiffer(t, name)
		})
		t.Run("accountd "+name, func(t *testing.T) {
			t.Parallel()
			c := &cluster{dir: filepath.Join(t.TempDir(), "dev"), more: []string{"--nodes", "1"}, vars: []string{daemonAhead + "=" + ahead.String()}}
			if err := c.start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.kill)
			c.person(t).clocksDiffer(t, name)
		})
	}
}

// clocksDiffer takes devices whose clocks differ through a life in an account.
func (p *person) clocksDiffer(t *testing.T, name string) {
	p.ok("add", "account", name, "--fleet-only", "--ttl", "1h")
	p.ok("add", "fleet", "devices", "-a", name, "--cohorts", "2", "--ttl", "1h")
	p.ok("add", "enrollment-group", "phones", "-a", name)
	devices := map[string]*person{}
	for id, now := range map[string]time.Duration{"fast": skew, "slow": -skew, "right": 0} {
		d := *p
		d.now = func() time.Time { return time.Now().Add(now) }
		devices[id] = &d
		d.ok("device", "enroll", "--token", p.token(name, id+".token"), "--dir", id, "--id", id)
		d.ok("device", "renew", "--dir", id)
		_, creds := d.device(id)
		if !p.may(nats.UserCredentials(creds), publishing(name+"."+id+".x")) {
			t.Errorf("the device with the %s clock may not publish", id)
		}
	}
	bad := p.keyOf("slow")
	_, before := p.device("slow")
	old := p.read(before)
	p.ok("revoke", "device", bad, "-a", name).says("refused everywhere")
	devices["slow"].run("device", "renew", "--dir", "slow").exits(4).complains("revoked")

	p.ok("revoke", "device", "--issued-before", fmt.Sprint(p.now().Unix()), "-a", name, "--yes").says("refused everywhere")
	p.ok("compact", name)
	for id, d := range devices { // all are older than that
		d.run("device", "renew", "--dir", id).exits(4).complains("(refused)", "nsc device enroll")
	}
	for _, id := range slices.Sorted(maps.Keys(devices)) {
		if id == "slow" {
			continue
		}
		natstest.Eventually(t, edgePatience, func() error { // what was made in that second is revoked, too
			token := p.token(name, fmt.Sprintf("%s.%d", id, time.Now().UnixNano()))
			if r := devices[id].run("device", "enroll", "--token", token, "--dir", id); r.code != 0 {
				return errors.New(r.err)
			}
			return nil
		})
		devices[id].ok("device", "renew", "--dir", id)
		_, creds := p.device(id)
		if !p.may(nats.UserCredentials(creds), publishing(name+"."+id+".x")) {
			t.Errorf("%s is locked out", id)
		}
	}
	if err := os.WriteFile(filepath.Join(p.dir, "old.creds"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(filepath.Join(p.dir, "old.creds"))); err == nil {
		nc.Close()
		t.Error("who was revoked is back")
	}
	devices["slow"].run("device", "renew", "--dir", "slow").exits(4)
}
