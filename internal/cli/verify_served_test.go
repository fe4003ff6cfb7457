package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPolicyIsKept: what accountd was told to keep is kept through its doors over
// NATS, signed requests and pushes of official tools, and over HTTP.
func TestPolicyIsKept(t *testing.T) {
	t.Parallel()
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("isolated: [[coke, pepsi]]"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := own(t, "--policy", policy).person(t)
	for _, name := range []string{"coke", "pepsi", "fanta"} {
		p.ok("add", "account", name)
	}
	p.ok("offer", "--from", "coke", "--to", "pepsi", "--subject", "orders.*")
	id := p.contract("offered").ID
	p.unchanged(func() {
		p.run("accept", id).exits(4).complains("(policy)", "a user of coke publishes orders.*", "nsc verify isolation --all")
	})
	p.ok("offer", "--from", "coke", "--to", "fanta", "--subject", "orders.*")
	for _, one := range p.contracts() {
		if one.To == "fanta" {
			p.ok("accept", one.ID).says("in force on 3 of 3 nodes")
		}
	}
	p.ok("accept", id, "--no-push")
	p.run("push", "-a", "pepsi").exits(4).complains("policy")
	reply, err := p.connect("SYS").Request("$SYS.REQ.CLAIMS.UPDATE", []byte(strings.TrimSpace(p.ok("describe", "account", "pepsi", "--raw").out)), 10*time.Second)
	if err != nil || !strings.Contains(string(reply.Data), `"code":403`) || !strings.Contains(string(reply.Data), "(policy)") {
		t.Errorf("%v: %s", err, reply.Data)
	}
}

// TestVerifyServed: what accountd holds is judged, not what the local store has,
// for every kind of question, with the users that are known here.
func TestVerifyServed(t *testing.T) {
	t.Parallel()
	p := own(t).person(t)
	for _, name := range []string{"coke", "pepsi", "gone"} {
		p.ok("add", "account", name)
	}
	p.ok("add", "user", "till", "-a", "coke", "--deny-pub", "orders.>")
	p.ok("offer", "--from", "coke", "--to", "pepsi", "--subject", "orders.*")
	id := p.contract("offered").ID
	p.ok("accept", id, "--no-push")
	policy := filepath.Join(p.dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte("isolated: [[coke, pepsi]]"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("verify", "isolation", "coke", "pepsi").exits(9)
	p.ok("verify", "isolation", "coke", "pepsi", "--served").says("isolated: coke and pepsi")
	p.ok("verify", "-f", policy, "--served").says("hold")
	p.ok("push", "-a", "pepsi")
	p.ok("delete", "account", "gone", "--yes")
	twin := p.twin()
	p.ok("contracts", "close", id, "-a", "pepsi")
	twin.run("verify", "isolation", "coke", "pepsi").exits(9)
	twin.ok("verify", "isolation", "coke", "pepsi", "--served")
	p.ok("accept", id)
	twin.run("verify", "isolation", "--all", "--served").exits(9).says("coke -> pepsi  stream orders.* as coke.orders.*")
	twin.run("verify", "-f", policy, "--served").exits(9)
	flow := []string{"verify", "flow", "--subject", "orders.new", "--to", "pepsi", "--pattern", "coke.>", "--served", "--from"}
	twin.ok(append(flow, "coke")...).says("delivered on coke.orders.new")
	twin.ok(append(flow, "coke:till")...).says("publish_denied")
	twin.run(append(flow, "gone")...).exits(3)
	twin.run("verify", "isolation", "--all", "--served", "--jwt-dir", p.dir).exits(2)
}
