package cli_test

import (
	"testing"

	"github.com/accountd/accountd/api"
)

// TestServers: the expected servers are listed, and a bundled node cannot be
// forgotten.
func TestServers(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("servers", "list").says("NAME", "nats-0", "nats-1", "nats-2", "healthy")
	var list struct {
		Schema  int
		Servers []api.NodeStatus
	}
	p.ok("servers", "list", "--json").json(&list)
	if list.Schema != 1 || len(list.Servers) != 3 || list.Servers[0].Server != "nats-0" || len(list.Servers[0].Trusts) == 0 {
		t.Errorf("%+v", list)
	}
	p.run("servers", "forget", "nats-0").exits(4).complains("bundled node")
	p.run("servers", "forget", "edge-7").exits(3).complains("edge-7")
	p.run("servers", "forget").exits(2)
}
