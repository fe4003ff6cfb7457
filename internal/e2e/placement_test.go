package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/accountd/accountd/internal/natstest"
)

// TestPlacement: a tenant's streams lie on the servers that are tagged as its own
// and nowhere else, within the limits of the tier that it has.
func TestPlacement(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	c := &cloud{t: t, dir: filepath.Join(home, "D"), home: home}
	c.env = []string{"PATH=" + binDir(t), "HOME=" + home}
	c.nsc("add", "operator", "OP", "--sys")
	c.nsc("add", "account", "pepsi")
	c.nsc("edit", "account", "pepsi", "--js-tier", "1", "--js-disk-storage", "10M", "--js-streams", "3", "--js-consumer", "3")
	c.nsc("add", "user", "hq", "-a", "pepsi")
	url := c.taggedServers("dedicated:pepsi", "shared", "shared")
	nc := c.dial(url, filepath.Join(home, ".local/share/nats/nsc/keys/creds/OP/pepsi/hq.creds"))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, tag string, replicas int) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		made, err := js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{name + ".>"}, Replicas: replicas, MaxBytes: 1 << 20,
			Placement: &jetstream.Placement{Tags: []string{tag}},
		})
		if err != nil {
			return "", err
		}
		return made.CachedInfo().Cluster.Leader, nil
	}
	for i := range 3 {
		natstest.Eventually(t, patience, func() error { // the cluster elects who places streams
			at, err := add(fmt.Sprintf("sales%d", i), "dedicated:pepsi", 1)
			if err == nil && at != "s0" {
				t.Errorf("a stream of the tenant lies on %s", at)
			}
			return err
		})
	}
	refused := func(tag string, replicas int, why string) {
		t.Helper()
		if at, err := add("more", tag, replicas); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("a stream was made on %q, %v; expected: %s", at, err, why)
		}
	}
	refused("dedicated:pepsi", 1, "maximum number of streams")
	refused("dedicated:pepsi", 3, "no JetStream default or applicable tiered limit")
	if err := js.DeleteStream(t.Context(), "sales0"); err != nil {
		t.Fatal(err)
	}
	refused("dedicated:coke", 1, "tags not matched")
}

// taggedServers starts a cluster of stock servers, named s0 and on, with a tag
// each, from the configuration that nsc generates, and returns the last one's URL.
func (c *cloud) taggedServers(tags ...string) (url string) {
	c.t.Helper()
	ports := natstest.FreePorts(c.t, len(tags))
	routes := make([]string, len(tags))
	for i, port := range ports {
		routes[i] = fmt.Sprintf("nats-route://127.0.0.1:%d", port)
	}
	for i, tag := range tags {
		server := natstest.StartServer(c.t, fmt.Sprintf("%s\nserver_name: s%d\njetstream { store_dir: %q }\n"+
			"cluster { name: acme, listen: \"127.0.0.1:%d\", routes: [ %s ] }\n",
			c.nsc("generate", "config", "--mem-resolver", "--server-tag", tag).out, i, c.t.TempDir(), ports[i], strings.Join(routes, ", ")))
		url = server.URL
	}
	return url
}
