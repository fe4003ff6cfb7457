package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/internal/natstest"
)

// Pain 6: a server looks at every client of the account before it closes the
// one that was revoked. Here the victim is found by what is known of it; the
// others are not touched.
func TestRevocationFindsItsClientAmongMany(t *testing.T) {
	t.Parallel()
	const idle = 1000
	c := newCloud(t)
	c.nsc("add", "account", "app")
	crowd := token(t, c.user("app", "idle", "--bearer"))
	var others []*raw
	for range idle {
		r, err := dialRaw(c.ready.Nodes[0].URL, crowd)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		others = append(others, r)
	}
	victim := c.dial(c.ready.Nodes[0].URL, c.user("app", "victim"), nats.Name("victim"))
	gone := make(chan struct{})
	victim.SetClosedHandler(func(*nats.Conn) { close(gone) })

	rec := c.change(0, "revoke", "user", "victim", "-a", "app")
	c.inForce(rec)
	within(t, "the victim is cut", gone)
	for _, n := range rec.Nodes {
		switch {
		case n.Server != "nats-0" && len(n.Closed) > 0:
			t.Errorf("%s closed %+v", n.Server, n.Closed)
		case n.Server == "nats-0" && (len(n.Closed) != 1 || n.Closed[0].Found != "index" || n.Closed[0].Name != "victim"):
			t.Errorf("nats-0 closed %+v, expected the victim, found by index", n.Closed)
		case n.Server == "nats-0" && !n.Swept:
			t.Error("nats-0 is not swept")
		}
	}
	for i := 0; i < idle; i += 50 {
		if err := others[i].alive(); err != nil {
			t.Errorf("idle client %d: %v", i, err)
		}
	}
}

// Pain 8: commands that run at the same time lose nothing, in the store on disk
// and on the servers.
func TestParallelCommandsLoseNothing(t *testing.T) {
	t.Parallel()
	const users, edits, atOnce = 100, 40, 20
	c := newCloud(t)
	c.nsc("add", "account", "app")
	var commands errgroup.Group
	commands.SetLimit(atOnce)
	for i := range users {
		commands.Go(func() error {
			return succeeds(c.run("nsc", "add", "user", fmt.Sprintf("u%d", i), "-a", "app"))
		})
	}
	if err := commands.Wait(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range users {
		seen[subject(t, token(t, c.creds("app", fmt.Sprintf("u%d", i))))] = true
	}
	if len(seen) != users {
		t.Errorf("%d users have %d different keys", users, len(seen))
	}

	var together errgroup.Group
	for i := range edits { // one account, all at once
		together.Go(func() error {
			return succeeds(c.run("nsc", "edit", "account", "app", "--tag", fmt.Sprintf("t%d", i), "--timeout", "60s"))
		})
	}
	if err := together.Wait(); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range edits {
		want = append(want, fmt.Sprintf("t%d", i))
	}
	slices.Sort(want)
	onDisk := c.accountOnDisk("app")
	served := c.accountServed("app")
	for where, tags := range map[string][]string{"on disk": onDisk.Tags, "served": served.Tags} {
		tags = slices.Sorted(slices.Values(tags))
		if !slices.Equal(tags, want) {
			t.Errorf("%s: tags %v, expected %v", where, tags, want)
		}
	}
	for _, n := range c.ready.Nodes {
		nc := c.dial(n.URL, c.creds("app", "u0"))
		nc.Close()
	}
}

func succeeds(r result) error {
	if r.code != 0 {
		return errors.New(r.String())
	}
	return nil
}

// Pain 26: clients that dial while their revocation is applied. When the receipt
// is there, none of them is connected, nor gets in again.
func TestHammeringDialersLeaveNoSurvivor(t *testing.T) {
	t.Parallel()
	const accounts, atOnce, dialers = 100, 4, 3
	c := newCloud(t)
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i := range accounts {
		all.Go(func() error {
			app := fmt.Sprintf("app%d", i)
			for _, line := range [][]string{{"add", "account", app, "--wait=false"}, {"add", "user", "u", "-a", app, "--bearer"}} {
				if err := succeeds(c.run("nsc", line...)); err != nil {
					return err
				}
			}
			jwt, err := readToken(c.creds(app, "u"))
			if err != nil {
				return err
			}
			return hammer(c.urls(), jwt, dialers, func() error {
				return succeeds(c.run("nsc", "revoke", "user", "u", "-a", app, "--timeout", "60s"))
			})
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

// hammerEvery is how often one dialer connects, if it can.
const hammerEvery = 2 * time.Millisecond

// hammer lets n dialers connect again and again, each holding the connection
// that it made last, while revoke runs. It is an error if one of them is
// connected when revoke has returned.
func hammer(urls []string, jwt string, n int, revoke func() error) error {
	stop, connected := make(chan struct{}), make(chan struct{}, n)
	var dialers errgroup.Group
	for i := range n {
		dialers.Go(func() error { return hammerOne(urls[i%len(urls)], jwt, stop, connected) })
	}
	for range n {
		<-connected
	}
	err := revoke()
	close(stop)
	return errors.Join(err, dialers.Wait())
}

// hammerOne sends to connected once, when it is in for the first time or fails.
func hammerOne(url, jwt string, stop <-chan struct{}, connected chan<- struct{}) error {
	var last *raw
	defer func() {
		if last != nil {
			last.Close()
		}
	}()
	told := false
	tell := func() {
		if !told {
			connected <- struct{}{}
		}
		told = true
	}
	defer tell()
	pause := time.NewTicker(hammerEvery) // leaves the processor to the servers
	defer pause.Stop()
	for ; ; <-pause.C {
		select {
		case <-stop: // the receipt was printed
			if last != nil && last.alive() == nil {
				return fmt.Errorf("a client that dialled %s during the revocation survives", url)
			}
			again, err := dialRaw(url, jwt)
			if err == nil {
				again.Close()
				return fmt.Errorf("%s accepts a revoked user", url)
			}
			return nil
		default:
		}
		next, err := dialRaw(url, jwt)
		if err != nil && !told {
			return err
		}
		if err != nil {
			continue // refused, or cut while it connected
		}
		if last != nil {
			last.Close()
		}
		last = next
		tell()
	}
}

// Pain 27: the replica of a tenant comes back with its server, whatever the
// service is doing: every node starts from its own copy of the claims. That it
// needs no store for it is tested in server/node, where there can be none.
func TestReplicaReturnsWithItsServer(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.nsc("add", "account", "app")
	c.jetStream("app")
	creds := c.user("app", "u")
	js := c.stream(creds, "orders")
	publish(t, js, "orders", 50)
	c.node("stop", 2)
	publish(t, js, "orders", 50)
	c.node("start", 2)
	c.replicated(creds, "orders", 100)

	c.daemon.Kill()
	c.start()
	c.replicated(creds, "orders", 100)
	publish(t, c.jsAt(0, creds), "orders", 50)
	c.replicated(creds, "orders", 150)
}

// jsAt is the JetStream of a user at one node.
func (c *cloud) jsAt(i int, creds string) nats.JetStreamContext {
	c.t.Helper()
	js, err := c.dial(c.ready.Nodes[i].URL, creds).JetStream()
	if err != nil {
		c.t.Fatal(err)
	}
	return js
}

// stream makes a stream with a replica on every node.
func (c *cloud) stream(creds, name string) nats.JetStreamContext {
	c.t.Helper()
	js := c.jsAt(0, creds)
	natstest.Eventually(c.t, patience, func() error { // until the cluster has a leader that knows all three
		_, err := js.AddStream(&nats.StreamConfig{Name: name, Subjects: []string{name}, Replicas: len(c.ready.Nodes)})
		return err
	})
	return js
}

// election is how long a cluster may take to agree on leaders after all its
// servers were killed: several rounds of the servers' own time-outs.
const election = 4 * patience

func publish(t testing.TB, js nats.JetStreamContext, subject string, n int) {
	t.Helper()
	for range n {
		natstest.Eventually(t, election, func() error { // a new leader may be on its way
			_, err := js.Publish(subject, []byte("x"))
			return err
		})
	}
}

// replicated waits until every replica of the stream is current and the stream
// holds the messages; retried publications may have added some.
func (c *cloud) replicated(creds, name string, msgs uint64) {
	c.t.Helper()
	js := c.jsAt(0, creds)
	natstest.Eventually(c.t, election, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		info, err := js.StreamInfo(name, nats.Context(ctx))
		if err != nil {
			return err
		}
		if info.State.Msgs < msgs || info.Cluster == nil || len(info.Cluster.Replicas) != len(c.ready.Nodes)-1 {
			return fmt.Errorf("the stream is %+v of %+v", info.State, info.Cluster)
		}
		for _, r := range info.Cluster.Replicas {
			if r.Offline || !r.Current || r.Lag > 0 {
				return fmt.Errorf("replica %s is not current: %+v", r.Name, r)
			}
		}
		if names := strings.Join(c.names(), " "); !strings.Contains(names, info.Cluster.Leader) {
			return fmt.Errorf("unknown leader %s", info.Cluster.Leader)
		}
		return nil
	})
}

// names are those of the nodes.
func (c *cloud) names() []string {
	var names []string
	for _, n := range c.ready.Nodes {
		names = append(names, n.Name)
	}
	return names
}
