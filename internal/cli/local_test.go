package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// local is a person with operator acme, account app and no servers.
func local(t *testing.T) *person {
	t.Helper()
	p := alone(t)
	p.ok("add", "operator", "acme", "--sys", "--generate-signing-key")
	p.ok("add", "account", "app").says("account app", "local only: operator acme names no account server")
	return p
}

func TestAddOperator(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.unchanged(func() { p.ok("add", "operator", "acme", "--dry-run").says("operator acme", "nothing was changed") })
	p.ok("create", "operator", "acme", "--sys", "--generate-signing-key").says("operator acme", "signing key", "account SYS and user sys")
	token, err := p.operator().JWT()
	if err != nil {
		t.Fatal(err)
	}
	doc, oc := decode[jwt.OperatorClaims](t, token)
	sys, ac := p.account("SYS")
	if doc.Issuer != doc.Subject || len(oc.SigningKeys) != 1 || oc.SystemAccount != sys.Subject {
		t.Errorf("operator claims: %+v", oc)
	}
	if sys.Issuer != oc.SigningKeys[0] || len(ac.Exports) != 3 || !fleet.Reachable(ac) || len(ac.SigningKeys) != 1 {
		t.Errorf("system account: %+v", ac)
	}
	user, uc := p.user("SYS", "sys")
	if uc.IssuerAccount != sys.Subject || !ac.SigningKeys.Contains(user.Issuer) {
		t.Errorf("system user: %+v", uc)
	}
	p.run("add", "operator", "acme").exits(5).complains("exists already", "nsc select operator acme")
	p.run("add", "operator", "../x").exits(7)
	p.run("add", "operator").exits(2).complains("the operator's name is missing", "usage: nsc add operator")
}

func TestAddOperatorWithARootKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	p := alone(t)
	root, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, "root.nk")
	if err := os.WriteFile(file, root.Seed(), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("add", "operator", "acme", "-K", string(root.Seed())).exits(2).complains("a seed does not belong on the command line")
	p.ok("add", "operator", "acme", "-K", "root.nk", "--generate-signing-key").says("the keystore has no copy")
	if p.store().Keystore().HasSeed(root.PublicKey()) {
		t.Error("the given root key was stored")
	}
	p.ok("add", "account", "app") // by the signing key

	q := alone(t)
	jwtFile := filepath.Join(q.dir, "acme.jwt")
	token, _ := p.operator().JWT()
	if err := os.WriteFile(jwtFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	q.ok("add", "operator", "-u", "acme.jwt").says("operator acme")
	q.run("add", "operator", "-u", "acme.jwt").exits(5)
	q.ok("add", "operator", "-u", "acme.jwt", "--force")
	q.ok("add", "account", "own").says("local only")
	if doc, _ := q.account("own"); doc.Issuer != doc.Subject {
		t.Errorf("without a key of the operator, signed by %s", doc.Issuer)
	}
	q.in = string(root.Seed()) + "\n"
	q.ok("add", "account", "x", "-K", "-")
	if doc, _ := q.account("x"); doc.Issuer != root.PublicKey() {
		t.Errorf("issuer %s", doc.Issuer)
	}
}

func TestAddAccountLocally(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.unchanged(func() {
		p.ok("add", "account", "b", "--dry-run", "--namespace", "x").says(`+ nats.tags: ["namespace:x"]`, "nothing was changed")
		p.run("add", "account", "app").exits(5).complains(`account "app" exists already`)
		p.run("add", "account", "a/b").exits(7)
		p.run("add", "account", "b", "--name", "c").exits(2).complains("given twice")
		p.run("add", "account", "b", "-k", "nonsense").exits(7)
		foreign, _ := keys.NewOperator()
		p.run("add", "account", "b", "-K", foreign.PublicKey()).exits(4).complains("is no key of operator")
	})
	doc, ac := p.account("app")
	if ac.Limits.Conn != jwt.NoLimit || !ac.Limits.WildcardExports || ac.Limits.DiskStorage != 0 {
		t.Errorf("limits: %+v", ac.Limits)
	}
	if pub := p.published("app"); pub != (nscstore.Publication{Unpublished: true}) {
		t.Errorf("publication %+v", pub)
	}
	if !p.store().Keystore().HasSeed(doc.Subject) {
		t.Error("the account's seed is not stored")
	}
	key, _ := keys.NewAccount()
	p.ok("add", "account", "byo", "-k", key.PublicKey())
	if doc, _ := p.account("byo"); doc.Subject != key.PublicKey() || p.store().Keystore().HasSeed(doc.Subject) {
		t.Errorf("subject %s", doc.Subject)
	}
	cfg, err := nscstore.LoadConfig(p.dir)
	if err != nil || cfg.Account != "byo" {
		t.Errorf("current account %q, %v", cfg.Account, err)
	}
}

func TestAddUser(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u1", "-a", "app", "--tag", "Site:7", "--source-network", "10.0.0.0/8").
		says("user u1 in app", "never expires", "credentials: ./keys/creds/acme/app/u1.creds")
	doc, uc := p.user("app", "u1")
	app, _ := p.account("app")
	if doc.Issuer != app.Subject || uc.IssuerAccount != "" || !uc.Tags.Contains("site:7") || len(uc.Src) != 1 || uc.Subs != jwt.NoLimit {
		t.Errorf("user claims %+v", uc)
	}
	creds, err := p.store().Keystore().Creds("acme", "app", "u1")
	if err != nil {
		t.Fatal(err)
	}
	if token, _, err := nscstore.ParseCreds(creds); err != nil || token != doc.Token {
		t.Errorf("credentials: %v", err)
	}
	p.unchanged(func() {
		p.run("add", "user", "u1", "-a", "app").exits(5).complains("--reissue")
		p.run("add", "user", "u2", "-a", "apq").exits(3).complains(`did you mean "app"?`)
		p.run("add", "user", "u2", "-a", "app", "-K", "readonly").exits(3).complains(`has no role or signing key "readonly"`)
		p.run("add", "user", "u2", "-a", "app", "--reissue").exits(3)
		p.run("add", "user", "u2", "-a", "app", "--source-network", "10.0.0").exits(2)
		p.ok("add", "user", "u2", "-a", "app", "--dry-run").says("new key", "nothing was changed")
	})
	own, _ := keys.NewUser()
	p.ok("add", "user", "u3", "-a", "app", "-k", own.PublicKey())
	if _, err := p.store().Keystore().Creds("acme", "app", "u3"); err == nil {
		t.Error("there are credentials without the key")
	}
	var rec struct {
		Schema                    int
		Kind, Name, Account, Key  string
		Outcome, JTI, Credentials string
	}
	p.ok("add", "user", "u4", "-a", "app", "--json").json(&rec)
	if rec.Schema != 1 || rec.Kind != "user" || rec.Account != "app" || rec.Outcome != "issued" || rec.Credentials == "" {
		t.Errorf("%+v", rec)
	}
}

// TestReissueIsLaterThanTheRevocation: a user can be issued anew in the second
// of its revocation.
func TestReissueIsLaterThanTheRevocation(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u1", "-a", "app")
	p.ok("revoke", "user", "u1", "-a", "app").says("wrote the revocation of u1", "local only")
	p.ok("revoke", "user", "*", "-a", "app")
	p.ok("add", "user", "u1", "-a", "app", "--reissue")
	doc, _ := p.user("app", "u1")
	_, ac := p.account("app")
	if at := max(ac.Revocations[doc.Subject], ac.Revocations["*"]); doc.IssuedAt != at+1 {
		t.Errorf("issued at %d, revoked at %d", doc.IssuedAt, at)
	}
}

// TestWhoSigns: roles by name, no guess where a role is misspelt or gone.
func TestWhoSigns(t *testing.T) {
	t.Parallel()
	p := local(t)
	role, plain := p.addRole("app", "readonly"), p.addRole("app", "")
	p.unchanged(func() {
		p.run("add", "user", "bad", "-a", "app", "-K", "readonyl").exits(3).complains(`(did you mean "readonly"?)`)
		p.run("add", "user", "bad", "-a", "app", "-K", "./no/such/key.nk").exits(3)
		p.run("add", "user", "bad", "-a", "app", "-K", "readonly", "--bearer").exits(7).complains("decides its permissions")
	})
	app, _ := p.account("app")
	p.ok("add", "user", "reader", "-a", "app", "-K", "readonly")
	if doc, uc := p.user("app", "reader"); doc.Issuer != role || uc.IssuerAccount != app.Subject || uc.Subs != 0 {
		t.Errorf("scoped user: issuer %s, %+v", doc.Issuer, uc)
	}
	p.ok("add", "user", "reader", "-a", "app", "--reissue")
	if doc, _ := p.user("app", "reader"); doc.Issuer != role {
		t.Errorf("a reissued user lost its role: issuer %s", doc.Issuer)
	}
	p.ok("add", "user", "full", "-a", "app")
	if doc, _ := p.user("app", "full"); doc.Issuer != app.Subject {
		t.Errorf("issuer %s", doc.Issuer)
	}
	p.ok("add", "user", "byplain", "-a", "app", "-K", plain)
	p.editOperator(func(c *jwt.OperatorClaims) { c.StrictSigningKeyUsage = true })
	p.ok("add", "user", "strict", "-a", "app")
	if doc, _ := p.user("app", "strict"); doc.Issuer != plain {
		t.Errorf("in strict mode the issuer is %s, want the plain signing key", doc.Issuer)
	}
	p.run("add", "user", "x", "-a", "app", "-K", app.Subject).exits(4)
	p.editAccount("app", func(c *jwt.AccountClaims) { c.SigningKeys.Remove(role) })
	p.unchanged(func() {
		p.run("add", "user", "reader", "-a", "app", "--reissue").exits(4).complains("no longer has the key")
	})
}

func TestUnrevokeUnderAStar(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u1", "-a", "app")
	p.run("revocations", "list-users", "-a", "app").exits(3).complains("no revoked users")
	p.ok("revocations", "add-user", "-a", "app", "-n", "u1")
	p.ok("revocations", "add_user", "-a", "app", "-u", "*")
	p.ok("revocations", "list_users", "-a", "app").says("u1", "all users")
	p.unchanged(func() {
		p.run("unrevoke", "user", "u1", "-a", "app").exits(4).complains("the revocation of all users (*)", "nsc unrevoke user '*' -a app")
	})
	p.ok("revocations", "delete-user", "-a", "app", "-u", "*")
	p.ok("unrevoke", "user", "u1", "-a", "app").says("took back, in the local store, the revocation of u1 in app")
	if r := p.ok("unrevoke", "user", "u1", "-a", "app").says("(already so)"); strings.Contains(r.out, "undo:") {
		t.Errorf("what was not done can be undone: %s", r.out)
	}
	if _, ac := p.account("app"); len(ac.Revocations) != 0 {
		t.Errorf("revocations %v", ac.Revocations)
	}
	p.run("revoke", "user", "nobody", "-a", "app").exits(3)
	p.run("revocations", "add-user", "-a", "app").exits(2)
	p.ok("revoke", "user", "u1", "-a", "app", "--at", "2001-09-09T01:46:40Z").complains("holds a credential issued at")
	doc, _ := p.user("app", "u1")
	if _, ac := p.account("app"); ac.Revocations[doc.Subject] != 1_000_000_000 {
		t.Errorf("revocations %v", ac.Revocations)
	}
	p.run("revoke", "user", "u1", "-a", "app", "--at", "yesterday").exits(2)
	p.unchanged(func() { p.ok("revoke", "user", "u1", "-a", "app", "--dry-run").says("nothing was changed") })
}

func TestNeverValid(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app", "--start", "2090-01-01", "--expiry", "2089-01-01").complains("the user is never valid: it ends at 2089")
	p.ok("edit", "account", "app", "--start", "2090-01-01", "--expiry", "2089-01-01").complains("the account is never valid")
	if r := p.ok("edit", "account", "app", "--expiry", "2091-01-01"); strings.Contains(r.err, "never valid") {
		t.Errorf("it is valid for a year: %s", r.err)
	}
}

func TestDeleteLocally(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u1", "-a", "app")
	p.ok("add", "user", "u2", "-a", "app")
	doc, _ := p.user("app", "u1")
	p.unchanged(func() {
		p.ok("delete", "user", "u1", "-a", "app", "--dry-run")
		p.run("delete", "user", "u3", "-a", "app").exits(3)
		p.run("delete", "account", "SYS").exits(4).complains("is the system account")
		p.ok("delete", "account", "app", "--dry-run")
	})
	p.ok("delete", "user", "u1", "-a", "app", "-C", "-D")
	if _, ac := p.account("app"); ac.Revocations[doc.Subject] == 0 {
		t.Error("the deleted user is not revoked")
	}
	if _, err := p.operator().UserJWT("app", "u1"); err == nil || p.store().Keystore().HasSeed(doc.Subject) {
		t.Error("the user or its key is still there")
	}
	p.ok("delete", "user", "u2", "-a", "app", "--revoke=false").complains("stay valid")
	p.ok("edit", "account", "app", "--sk", "generate")
	_, ac := p.account("app")
	p.ok("delete", "account", "app", "--yes", "-D").says("deleted account app", "local only")
	if names, _ := p.operator().Accounts(); len(names) != 1 {
		t.Errorf("accounts %v", names)
	}
	for _, key := range append(ac.SigningKeys.Keys(), ac.Subject) {
		if p.store().Keystore().HasSeed(key) {
			t.Errorf("the seed of %s is still there", key)
		}
	}
}

func TestEnvSelectInit(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.ok("env").says("operator        none")
	p.run("add", "account", "x").exits(3).complains("no operator in", "nsc add operator <name>")
	p.ok("init", "one").says("operator one", "account one", "user one")
	p.ok("init", "two")
	p.ok("env").says("operator        two", "account         two")
	p.ok("select", "operator", "one")
	p.run("select", "operator", "onee").exits(3).complains(`did you mean "one"?`)
	p.ok("select", "account", "SYS").says("account         SYS")
	p.ok("env", "-o", "two", "-a", "two")
	var e struct{ Operator, Account string }
	p.ok("env", "--json").json(&e)
	if e.Operator != "two" || e.Account != "two" {
		t.Errorf("%+v", e)
	}
	other := filepath.Join(p.dir, "other")
	p.ok("init", "three", "-d", other)
	p.ok("env").says("operator        three", other)
	if _, err := os.Stat(filepath.Join(other, "three", "three.jwt")); err != nil {
		t.Error(err)
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.run("ad", "account", "x").exits(2).complains(`unknown command "ad"`, "did you mean: nsc add")
	p.run("add", "acount", "x").exits(2).complains("did you mean: nsc add account")
	p.run("add", "account", "--nme", "x").exits(2).complains("unknown flag --nme", "did you mean --name")
	p.run("add", "account", "x", "--timeout", "soon").exits(2).complains("--timeout: ", "is no span of time")
	p.run("push", "-A", "-a", "x").exits(2)
	p.run("status", "a", "b").exits(2)
	if r := p.ok("add"); !strings.Contains(r.out, "account") {
		t.Error("nsc add shows no help")
	}
}

// TestNoAccountServer: what needs accountd says how to name it.
func TestNoAccountServer(t *testing.T) {
	t.Parallel()
	p := local(t)
	for _, args := range [][]string{{"push"}, {"pull"}, {"status"}, {"restore", "account", "x"}} {
		p.run(args...).exits(6).complains("operator acme names no account server")
	}
}

// TestNoSystemUser: without credentials to carry requests nothing is changed.
func TestNoSystemUser(t *testing.T) {
	t.Parallel()
	p := alone(t)
	p.ok("add", "operator", "acme")
	p.pointTo(deadURL(t))
	p.unchanged(func() { p.run("add", "account", "x").exits(4).complains("has no system account") })
	q := local(t)
	q.pointTo(deadURL(t))
	q.unchanged(func() {
		q.run("add", "account", "x", "--sys-user", "nobody").exits(4).complains(`no credentials of system user "nobody"`, "--sys-user")
	})
}

// addRole gives an account a signing key with its seed; it is scoped if role
// is not empty.
func (p *person) addRole(account, role string) string {
	p.t.Helper()
	pair, err := keys.NewAccount()
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.store().Keystore().AddSeed(p.t.Context(), pair.Seed()); err != nil {
		p.t.Fatal(err)
	}
	p.editAccount(account, func(c *jwt.AccountClaims) {
		if role == "" {
			c.SigningKeys.Add(pair.PublicKey())
			return
		}
		scope := jwt.NewUserScope()
		scope.Key, scope.Role = pair.PublicKey(), role
		c.SigningKeys.AddScopedSigner(scope)
	})
	return pair.PublicKey()
}

// editAccount changes an account as the official tool would: nothing of ours
// hears of it.
func (p *person) editAccount(name string, edit func(*jwt.AccountClaims)) {
	p.t.Helper()
	doc, _ := p.account(name)
	seed, err := p.store().Keystore().Seed(doc.Issuer)
	if err != nil {
		p.t.Fatal(err)
	}
	pair, err := keys.OperatorFromSeed(seed)
	if err != nil {
		p.t.Fatal(err)
	}
	draft, err := claims.Edit(doc, func(c *jwt.AccountClaims) error { edit(c); return nil })
	if err != nil {
		p.t.Fatal(err)
	}
	next, err := draft.Sign(pair, max(p.now().Unix(), doc.IssuedAt))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.store().Update(p.t.Context(), p.operatorName(), func(tx *nscstore.Tx) error {
		return tx.PutAccount(name, next.Token)
	}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) editOperator(edit func(*jwt.OperatorClaims)) {
	p.t.Helper()
	token, err := p.operator().JWT()
	if err != nil {
		p.t.Fatal(err)
	}
	doc, _ := decode[jwt.OperatorClaims](p.t, token)
	seed, err := p.store().Keystore().Seed(doc.Subject)
	if err != nil {
		p.t.Fatal(err)
	}
	root, err := keys.OperatorFromSeed(seed)
	if err != nil {
		p.t.Fatal(err)
	}
	draft, err := claims.Edit(doc, func(c *jwt.OperatorClaims) error { edit(c); return nil })
	if err != nil {
		p.t.Fatal(err)
	}
	next, err := draft.Sign(root, doc.IssuedAt)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.store().Update(p.t.Context(), p.operatorName(), func(tx *nscstore.Tx) error { return tx.PutOperator(next.Token) }); err != nil {
		p.t.Fatal(err)
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u1", "-a", "app", "-o", "yaml").says("schema: 1\nkind: \"user\"\nname: \"u1\"\n")
	if r := p.ok("add", "user", "u2", "-a", "app", "-o", "name"); r.out != "u2\n" {
		t.Errorf("%q", r.out)
	}
	doc, _ := p.account("app")
	p.ok("revoke", "user", "u1", "-a", "app", "-o", "wide").says("key " + doc.Subject)
	var m mutation
	p.ok("unrevoke", "user", "u1", "-a", "app", "-o", "json").json(&m)
	if m.Outcome != "local" {
		t.Errorf("%+v", m)
	}
	p.run("add", "user", "u3", "-a", "app", "-o", "xml").exits(2).complains("known are table, wide, json, yaml and name")
	p.ok("revocations", "add-user", "-a", "app", "-n", "u1")
	p.ok("revocations", "list-users", "-a", "app", "-o", "yaml").says("revoked:\n  -\n    name: \"u1\"\n")
	p.ok("env", "-o", "acme").says("operator        acme")
}

// TestDeleteAsks: the name is typed, or --yes is given.
func TestDeleteAsks(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.tty, p.in = true, "yes\n"
	p.unchanged(func() {
		p.run("delete", "account", "app").exits(4).complains("account app and its 0 users will be cut", "type app to go on", "not confirmed")
	})
	p.in = "app\n"
	p.ok("delete", "account", "app").says("deleted account app")
	p.ok("add", "account", "app")
	p.in, p.tty = "", false
	p.unchanged(func() {
		p.run("delete", "account", "app").exits(2).complains("there is no terminal to ask", "repeat it with --yes")
		p.run("delete", "account", "nosuch").exits(3)
		p.ok("delete", "account", "app", "--dry-run")
	})
	p.ok("delete", "account", "app", "--yes")
}
