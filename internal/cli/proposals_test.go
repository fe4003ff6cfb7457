package cli_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
)

// content is a server that enforces whatever is stored.
type content struct{}

func (content) Name() string { return "nats-0" }
func (content) Await(_ context.Context, _ string, revision uint64) api.NodeProof {
	return api.NodeProof{Server: "nats-0", State: api.InForce, Revision: revision}
}
func (content) Proof(string) api.NodeProof {
	return api.NodeProof{Server: "nats-0", State: api.InForce, Revision: 1 << 32}
}
func (content) Trusts() []string                   { return nil }
func (content) Status() api.NodeStatus             { return api.NodeStatus{Server: "nats-0", Healthy: true} }
func (content) Seen(api.SeenRequest) api.SeenReply { return api.SeenReply{} }

// offline runs the service over HTTP for p's operator, without a key of its own.
// With remote, it takes every request for one of another machine.
func (p *person) offline(remote bool) (url string) {
	p.t.Helper()
	st, err := bolt.Open(filepath.Join(p.t.TempDir(), "accountd.db"), bolt.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { st.Close() })
	id, err := keys.NewServer()
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := resolver.New(resolver.Config{
		Store: st, Nodes: func() []resolver.Node { return []resolver.Node{content{}} }, Now: func() time.Time { return p.now() }, Server: id.Key(),
		Known: func(store.Reader) ([]resolver.StockServer, error) {
			return []resolver.StockServer{{Name: "stock", Seconds: true}}, nil // no two versions of one second
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	mux := http.NewServeMux()
	s.Register(mux)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if remote {
			r.RemoteAddr = "192.0.2.1:1"
		}
		mux.ServeHTTP(w, r)
	}))
	p.t.Cleanup(srv.Close)
	url = srv.URL
	if remote { // an address of this machine that does not look like one
		url = strings.Replace(url, "127.0.0.1", "0.0.0.0", 1)
	}
	p.ok("edit", "operator", "--account-jwt-server-url", url+"/jwt/v1", "--no-push")
	op, err := p.operator().JWT()
	if err != nil {
		p.t.Fatal(err)
	}
	sys, err := p.operator().AccountJWT("SYS")
	if err != nil {
		p.t.Fatal(err)
	}
	if err := s.Bootstrap(p.t.Context(), op, sys); err != nil {
		p.t.Fatal(err)
	}
	return url
}

// tenant is an account that signs itself.
type tenant struct {
	pair keys.AccountPair
	url  string
	at   int64 // when it signs, Unix seconds, 0 for now
}

// post sends claims, signed by the tenant's own key, and returns the status.
func (x tenant) post(t *testing.T, edit func(*jwt.AccountClaims)) int {
	t.Helper()
	ac := jwt.NewAccountClaims(x.pair.PublicKey())
	ac.Name = "pepsi"
	edit(ac)
	draft, err := claims.New(ac)
	if err != nil {
		t.Fatal(err)
	}
	d, err := draft.Sign(x.pair, max(x.at, time.Now().Unix()))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(x.url+"/jwt/v1/accounts/"+d.Subject, "application/jwt", strings.NewReader(d.Token))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestProposals: the operator allows an account, sees what its tenant proposes,
// and signs it within what is the operator's to decide.
func TestProposals(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.ok("add", "operator", "acme", "--sys", "--generate-signing-key")
	pair, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	key := pair.PublicKey()
	x := tenant{pair: pair, url: p.offline(false)}
	same := func(*jwt.AccountClaims) {}
	if status := x.post(t, same); status != 403 {
		t.Errorf("before it is allowed: %d", status)
	}
	p.run("allow", "account").exits(2)
	p.run("allow", "account", "pepsi").exits(7)
	p.run("allow", "account", key, "--list").exits(2)
	p.ok("allow", "account", key, "--dry-run").says("dry run")
	p.ok("allow", "account", key).says(key)
	p.ok("allow", "account", "--list").says(key)
	p.ok("allow", "account", key, "--rm").says("may not be made")
	if status := x.post(t, same); status != 403 {
		t.Errorf("after it was taken back: %d", status)
	}
	p.ok("allow", "account", key)
	if status := x.post(t, func(ac *jwt.AccountClaims) { ac.Limits.Conn, ac.Limits.DiskStorage = 5, -1 }); status != 202 {
		t.Errorf("allowed: %d", status)
	}
	p.ok("proposals", "list").says("pepsi", key)
	var list struct {
		Schema int
		Items  []struct{ Key, Name, JTI string }
	}
	p.ok("proposals", "list", "--json").json(&list)
	if list.Schema != 1 || len(list.Items) != 1 || list.Items[0].Key != key || list.Items[0].Name != "pepsi" || list.Items[0].JTI == "" {
		t.Errorf("%+v", list)
	}
	p.run("proposals", "accept", "coke").exits(3).complains("no proposal", "nsc proposals list")
	p.ok("proposals", "accept", "pepsi", "--dry-run").says("dry run", "pepsi")
	p.ok("proposals", "list").says(key)
	p.ok("proposals", "accept", "pepsi").says("revision 1", "in force on 1 of 1 nodes", "nsc pull -a pepsi")
	p.ok("pull", "-a", "pepsi")
	if doc, ac := p.account("pepsi"); doc.Issuer == key || ac.Limits.Conn != jwt.NoLimit || ac.Limits.IsJSEnabled() {
		t.Errorf("taken as %s", ac)
	}
	// Of the very second of the stored version, it is signed with a later time.
	at := time.Unix(time.Now().Unix()+5, 0)
	p.now = func() time.Time { return at }
	p.ok("edit", "account", "pepsi", "--tag", "gold")
	x.at = at.Unix()
	if status := x.post(t, func(ac *jwt.AccountClaims) { ac.Description = "at once" }); status != 202 {
		t.Errorf("at once: %d", status)
	}
	p.ok("proposals", "accept", "pepsi").says("in force on 1 of 1 nodes")
	p.ok("pull", "-a", "pepsi")
	if doc, ac := p.account("pepsi"); doc.IssuedAt != at.Unix()+1 || ac.Description != "at once" {
		t.Errorf("issued at %d, with %q, after a version of %d", doc.IssuedAt, ac.Description, at.Unix())
	}
	p.now, x.at = time.Now, at.Unix()+1
	if status := x.post(t, func(ac *jwt.AccountClaims) { ac.Description = "again" }); status != 202 {
		t.Errorf("a second version: %d", status)
	}
	p.ok("proposals", "reject", "pepsi").says("rejected")
	p.run("proposals", "reject", key).exits(3)
	p.ok("allow", "account", "--list", "-o", "yaml").says("items: []")
}

// TestDueWithoutAKey: what is due in an account waits for the operator where
// accountd has no key, and one command signs it.
func TestDueWithoutAKey(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.ok("add", "operator", "acme", "--sys", "--generate-signing-key")
	p.offline(false)
	p.ok("add", "account", "iot", "--fleet-only", "--ttl", "168h")
	p.ok("add", "fleet", "sensors", "-a", "iot", "--cohorts", "2")
	p.ok("sign", "proposals").says("nothing waits")
	p.ok("edit", "fleet", "-a", "iot", "--roll", "--cohort", "1")
	late := time.Now().Add(-48 * time.Hour).Unix()
	p.ok("edit", "account", "iot", "--tag", fmt.Sprintf("retires:sensors/c01e1:%d", late)) // as if it was rolled long ago
	p.ok("status").says("to be signed", "iot: compact, since ", ", late since ", "sign with: nsc sign proposals")
	p.ok("status", "iot").says("to be signed: iot: compact")
	p.ok("proposals", "list").says("iot", "compact", "LATE FROM")
	var list struct {
		Items []struct {
			Name, Do string
			At, By   int64
		}
	}
	p.ok("proposals", "list", "--json").json(&list)
	if len(list.Items) != 1 || list.Items[0].Do != "compact" || list.Items[0].At != late || list.Items[0].By <= late {
		t.Fatalf("%+v", list)
	}
	p.unchanged(func() {
		p.ok("sign", "proposals", "--dry-run").says("sensors/c01e1", "dry run")
		p.ok("proposals", "accept", "iot", "--dry-run").says("sensors/c01e1", "dry run")
		p.run("sign", "proposals", "coke").exits(3).complains("no proposal of account coke waits")
	})
	p.ok("sign", "proposals", "iot").says("account iot", `role "sensors/c01e1" is retired for ever`)
	p.ok("proposals", "list", "-o", "yaml").says("items: []")
	pair, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	x := tenant{pair: pair, url: p.operatorURL()}
	p.ok("allow", "account", pair.PublicKey())
	if status := x.post(t, func(*jwt.AccountClaims) {}); status != 202 {
		t.Fatal(status)
	}
	p.run("sign", "proposals").exits(2).complains("versions of pepsi that their tenants made will be signed", "--yes")
	p.ok("sign", "proposals", "--yes").says("pepsi", "in force")
}

// TestRollOfFullList: when as much of the claim is in use as was said, a roll
// waits until somebody signs it.
func TestRollOfFullList(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.ok("add", "operator", "acme", "--sys", "--generate-signing-key")
	p.ok("edit", "operator", "--require-signing-keys")
	p.offline(false)
	p.ok("add", "account", "iot")
	p.ok("add", "fleet", "sensors", "-a", "iot", "--cohorts", "2")
	p.run("edit", "fleet", "-a", "iot", "--roll-at", "5").exits(7).complains("roll-at")
	p.run("edit", "fleet", "-a", "iot", "--roll-at", "10", "--roll").exits(2)
	p.ok("edit", "fleet", "-a", "iot", "--roll-at", "10", "--over", "1m").says("when 10 % of the claim are in use, a roll of all cohorts within 1m")
	p.ok("edit", "fleet", "-a", "iot", "--roll-at", "10", "--over", "1m").says("already so")
	p.ok("sign", "proposals").says("nothing waits")
	var list strings.Builder
	for range 1300 {
		user, err := keys.NewUser()
		if err != nil {
			t.Fatal(err)
		}
		list.WriteString(user.PublicKey() + "\n")
	}
	p.put("stolen.txt", list.String())
	p.ok("revoke", "device", "--file", "stolen.txt", "-a", "iot", "--yes").says("1300 devices listed")
	p.ok("sign", "proposals").says("nothing waits") // what was revoked just before a roll stays listed
	p.now = func() time.Time { return time.Now().Add(11 * time.Minute) }
	p.ok("status").says("to be signed", "iot: roll fleet sensors, since ")
	p.ok("describe", "fleet", "-a", "iot").says("of all cohorts when 10 %")
	p.unchanged(func() { p.ok("sign", "proposals", "--dry-run").says("2 cohorts got new keys") })
	p.ok("sign", "proposals").says("2 cohorts got new keys").complains("are cut, cohort by cohort from")
	p.ok("sign", "proposals").says("nothing waits")
	p.ok("status").says("rolling", "fleet sensors in iot: 2 old keys")
	p.now = func() time.Time { return time.Now().Add(30 * time.Minute) }
	p.ok("compact", "iot", "--no-push").says("sensors/c00e1", "sensors/c01e1")
}

// TestFleetCommandsTakeWhatIsInForce: a store that others have left behind plans
// on the keys that there are, and issues by them.
func TestFleetCommandsTakeWhatIsInForce(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.ok("add", "operator", "acme", "--sys", "--generate-signing-key")
	p.offline(false)
	p.ok("add", "account", "iot")
	p.ok("add", "fleet", "sensors", "-a", "iot", "--cohorts", "1", "--ttl", "1h")
	q := p.twin()
	q.ok("env", "--store", strings.Replace(p.store().Dirs().Stores, p.dir, q.dir, 1), "-o", "acme")
	p.ok("edit", "fleet", "-a", "iot", "--roll")
	d := lines(t, p.ok("issue", "-a", "iot", "--count", "1", "--prefix", "s-", "--out", "-").out)
	p.put("seen.txt", "s-1\n")
	q.put("seen.txt", "s-1\n")
	q.ok("revoke", "device", "--file", "seen.txt", "-a", "iot", "--now", "--yes")
	p.ok("pull", "-a", "iot")
	if !p.refused("iot", d[0]) {
		t.Error("the key of another's roll was not retired")
	}
	p.ok("revoke", "device", "--cohort", "0", "-a", "iot", "--yes")
	q.run("issue", "-a", "iot", "--count", "1", "--out", "-").exits(4).complains("the keystore has no seed of")
}

// operatorURL is where the operator's account server is.
func (p *person) operatorURL() string {
	p.t.Helper()
	token, err := p.operator().JWT()
	if err != nil {
		p.t.Fatal(err)
	}
	_, oc := decode[jwt.OperatorClaims](p.t, token)
	return strings.TrimSuffix(oc.AccountServerURL, "/jwt/v1")
}

// TestReadsFromAnotherMachine are signed with a key of the operator; without one
// the refusal says what is missing.
func TestReadsFromAnotherMachine(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.ok("add", "operator", "acme", "--sys", "--generate-signing-key")
	p.offline(true)
	p.ok("add", "account", "coke").says("revision 1", "in force on 1 of 1 nodes")
	p.ok("status", "coke").says("in force")
	p.ok("servers", "list").says("nats-0")
	p.ok("pull", "-a", "coke")
	seeds, err := filepath.Glob(filepath.Join(p.dir, "keys", "keys", "O", "*", "*.nk"))
	if err != nil || len(seeds) != 2 {
		t.Fatal(seeds, err)
	}
	moved := filepath.Join(t.TempDir(), "operator.nk")
	for _, seed := range seeds {
		if err := os.Rename(seed, moved); err != nil { // the last one stays there
			t.Fatal(err)
		}
	}
	p.run("status").exits(4).complains("only what the operator signs", "-K <file>")
	p.ok("status", "-K", moved).says("acme")
}
