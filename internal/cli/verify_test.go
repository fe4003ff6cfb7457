package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/claims"
)

// tenants writes the claims of three accounts below a folder: pepsi imports the
// stream orders.* of coke, fanta nothing.
func tenants(t *testing.T, p *person) string {
	t.Helper()
	dir := filepath.Join(p.dir, "claims")
	op := pair(t, nkeys.CreateOperator)
	oc := jwt.NewOperatorClaims(public(t, op))
	oc.Name = "acme"
	save(t, dir, "acme.jwt", oc, op)
	coke := pair(t, nkeys.CreateAccount)
	cc := jwt.NewAccountClaims(public(t, coke))
	cc.Name = "coke"
	cc.Exports.Add(&jwt.Export{Subject: "orders.*", Type: jwt.Stream})
	save(t, dir, "coke/coke.jwt", cc, op)
	pepsi := jwt.NewAccountClaims(public(t, pair(t, nkeys.CreateAccount)))
	pepsi.Name = "pepsi"
	pepsi.Imports.Add(&jwt.Import{Account: cc.Subject, Subject: "orders.*", LocalSubject: "coke.$1", Type: jwt.Stream})
	save(t, dir, "pepsi/pepsi.jwt", pepsi, op)
	fanta := jwt.NewAccountClaims(public(t, pair(t, nkeys.CreateAccount)))
	fanta.Name = "fanta"
	save(t, dir, "fanta.jwt", fanta, op)
	user := jwt.NewUserClaims(public(t, pair(t, nkeys.CreateUser)))
	user.Name = "till"
	user.Pub.Allow.Add("till.>")
	save(t, dir, "coke/users/till.jwt", user, coke)
	return dir
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	kp, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return kp
}

func public(t *testing.T, kp nkeys.KeyPair) string {
	t.Helper()
	pub, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func save(t *testing.T, dir, name string, c jwt.Claims, by nkeys.KeyPair) {
	t.Helper()
	token, err := c.Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFlow(t *testing.T) {
	t.Parallel()
	p := alone(t)
	dir := tenants(t, p)
	flow := func(args ...string) result {
		return p.run(append([]string{"verify", "flow", "--jwt-dir", dir}, args...)...)
	}
	flow("--from", "coke", "--subject", "orders.new", "--to", "pepsi", "--pattern", "coke.>").exits(0).
		says("delivered on coke.new (stream import)", "pepsi imports orders.new from coke as a stream, as coke.new")
	flow("--from", "coke:till", "--subject", "orders.new", "--to", "pepsi").exits(0).
		says("publish_denied (publish permission)", "coke:till may not publish orders.new")
	var out struct {
		Outcome, Rule  string
		Subjects, Path []string
	}
	flow("--from", "coke", "--subject", "orders.new", "--to", "fanta", "--json").exits(0).json(&out)
	if out.Outcome != "none" || out.Rule != "no import" || out.Subjects == nil || len(out.Path) == 0 {
		t.Errorf("%+v", out)
	}
	p.in = `{"from":"coke","subject":"orders.new","to":"pepsi","pattern":"*.new","queue":"q"}` + "\n\n" +
		`{"from":"coke","subject":"orders.new","to":"nobody"}` + "\n"
	r := flow("--file", "-").exits(0).says(`"subjects":["coke.new"]`, `{"schema":1,"outcome":"login_refused","subjects":[],`)
	if n := strings.Count(r.out, "\n"); n != 2 {
		t.Errorf("%d lines for two flows:\n%s", n, r.out)
	}
	p.in = `{"from":"coke"}`
	flow("--file", "-").exits(7).complains("line 1 is no flow")
	flow("--from", "cola", "--subject", "x", "--to", "pepsi").exits(3).complains(`account "cola" is not among the claims`)
	flow("--from", "coke", "--subject", "x").exits(2)
	flow("--from", "coke", "--subject", "x", "--to", "pepsi", "--servers", "two").exits(2)
}

// TestVerifyFolder: a folder may hold older versions, others of a name, other
// files and tokens; one without accounts, or of several operators, is no answer.
func TestVerifyFolder(t *testing.T) {
	t.Parallel()
	p := alone(t)
	dir := tenants(t, p)
	flow := func(args ...string) result {
		return p.run(append([]string{"verify", "flow", "--jwt-dir", dir, "--from", "coke:till", "--subject", "till.1", "--to", "coke"}, args...)...)
	}
	flow().exits(0).says("delivered on till.1")
	coke := pair(t, nkeys.CreateAccount)
	now := time.Now().Unix()
	till := func(name string, at int64, deny ...string) {
		u := jwt.NewUserClaims(public(t, pair(t, nkeys.CreateUser)))
		u.Name = "till"
		u.Pub.Deny.Add(deny...)
		put(t, dir, name, u, coke, at)
	}
	account := func(name string, at int64) {
		ac := jwt.NewAccountClaims(public(t, coke))
		ac.Name = "coke"
		op := pair(t, nkeys.CreateOperator)
		oc := jwt.NewOperatorClaims(public(t, op))
		oc.Name = "other"
		put(t, dir, "op-"+name, oc, op, at)
		put(t, dir, name, ac, op, at)
	}
	account("0.jwt", now-3600)
	flow().exits(7).complains("claims of two operators, acme and other", "--operator")
	flow("--operator", "acme").exits(0).says("delivered")
	flow("--operator", "fanta").exits(3)
	account("1.jwt", now+2) // another account called coke, which is newer
	till("a.jwt", now-1, "till.1")
	till("b.jwt", now-2)
	flow("--operator", "other").exits(7)
	if err := os.Remove(filepath.Join(dir, "op-0.jwt")); err != nil {
		t.Fatal(err)
	}
	flow("--operator", "other").exits(0).says("publish_denied")
	till("c.jwt", now)
	flow("--operator", "other").exits(0).says("delivered")
	for name, text := range map[string]string{"till.creds": "-----BEGIN", "README.md": "no token"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flow("--operator", "other").exits(0)
	if err := os.WriteFile(filepath.Join(dir, "broken.jwt"), []byte("no token"), 0o600); err != nil {
		t.Fatal(err)
	}
	flow("--operator", "other").exits(7).complains("broken.jwt")
	p.run("verify", "isolation", "--all", "--jwt-dir", filepath.Join(dir, "coke", "users")).exits(3).complains("is of an account")
}

// put writes claims that were issued at a time.
func put[T claims.Typed](t *testing.T, dir, name string, c *T, by nkeys.KeyPair, at int64) {
	t.Helper()
	draft, err := claims.New(c)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := draft.Sign(signer{by}, at)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(doc.Token), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFlowInTheStore(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app", "--allow-pub", "a.>")
	p.ok("verify", "flow", "--from", "app:u", "--subject", "a.b", "--to", "app", "--pattern", "a.*").says("delivered on a.b (own account)")
	p.ok("verify", "flow", "--from", "app:u", "--subject", "$SYS.REQ.USER.INFO", "--to", "SYS", "--pattern", ">").says("publish_denied")
	p.ok("verify", "flow", "--from", "app", "--subject", "$SYS.REQ.USER.INFO", "--to", "SYS:sys", "--pattern", "$SYS.REQ.USER.>").
		says("delivered on $SYS.REQ.USER.A", "service import")
}

func TestVerifyIsolation(t *testing.T) {
	t.Parallel()
	p := alone(t)
	dir := tenants(t, p)
	verify := func(args ...string) result {
		return p.run(append([]string{"verify", "isolation", "--jwt-dir", dir}, args...)...)
	}
	verify("coke", "fanta").exits(0).says("isolated: coke and fanta")
	verify("pepsi", "coke").exits(9).complains("pepsi and coke are not isolated").says("coke -> pepsi  stream orders.* as coke.*",
		"a user of coke publishes orders.*", "pepsi imports the stream orders.* of coke, as coke.*", "users of pepsi receive it on coke.*")
	verify("coke:till", "pepsi").exits(0).says("isolated") // he may publish till.> alone
	verify("--all").exits(9).says("coke -> pepsi")
	verify("--all", "--diagram").exits(9).says("flowchart LR", `n1["coke"]`, `n1 -->|"stream orders.#42; as coke.#42;"| n2`)
	var v struct {
		Isolated bool
		Reaches  []struct{ From, To, How, Subject string }
	}
	verify("coke", "pepsi", "--json").exits(9).json(&v)
	if v.Isolated || len(v.Reaches) != 1 || v.Reaches[0].How != "stream" {
		t.Errorf("%+v", v)
	}
	verify("coke").exits(2)
	verify("coke", "pepsi", "--all").exits(2)
	verify("coke", "cola").exits(3)
}

func TestVerifyPolicy(t *testing.T) {
	t.Parallel()
	p := alone(t)
	dir := tenants(t, p)
	check := func(policy string, more ...string) result {
		t.Helper()
		if err := os.WriteFile(filepath.Join(p.dir, "policy.yaml"), []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
		return p.run(append([]string{"verify", "-f", "policy.yaml", "--jwt-dir", dir}, more...)...)
	}
	check(`
isolated:
  - [coke, fanta]
reaches:
  - from: coke
    only: [pepsi]
  - from: pepsi
flows:
  - {from: coke, subject: orders.new, to: pepsi, pattern: 'coke.>', expect: delivered, on: coke.new}
`).exits(0).says("the claims hold to policy.yaml")
	check("isolated: [[fanta, coke, pepsi]]\nreaches: [{from: coke}]\nflows: [{from: coke, subject: x, to: pepsi, expect: delivered}]\n").exits(9).
		says("broken: coke and pepsi are isolated", "pepsi imports the stream orders.* of coke", "broken: coke reaches only no account",
			"broken: x from coke to pepsi is delivered", "it is none").complains("break 3 demands")
	check("isolated: [[coke, cola]]").exits(9).says("account cola is not among the claims")
	var v struct {
		Holds    bool
		Breaches []struct{ Rule string }
	}
	check("isolated: [[coke, pepsi]]", "--json").exits(9).json(&v)
	if v.Holds || len(v.Breaches) != 1 {
		t.Errorf("%+v", v)
	}
	for _, bad := range []string{"isolatd: [[a, b]]", "isolated: [[a]]", "{}", "flows: [{from: a, subject: s, to: b, expect: yes}]", "\t"} {
		check(bad).exits(7)
	}
	p.run("verify", "-f", "missing.yaml", "--jwt-dir", dir).exits(3)
	p.run("verify", "polcy").exits(2)
}

// signer is a key as claims take it.
type signer struct{ nkeys.KeyPair }

func (s signer) PublicKey() string {
	pub, _ := s.KeyPair.PublicKey()
	return pub
}
