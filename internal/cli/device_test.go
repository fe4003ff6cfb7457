package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

// enrolling makes a person with an account that has a fleet and a group.
func enrolling(t *testing.T, account string) *person {
	t.Helper()
	p := shared.get(t).person(t)
	p.ok("add", "account", account)
	p.ok("add", "fleet", "devices", "-a", account, "--cohorts", "2", "--ttl", "1h")
	p.ok("add", "enrollment-group", "phones", "-a", account, "--fleet", "devices").
		says("enrolment group phones of fleet devices in "+account, "in force on 3 of 3 nodes")
	return p
}

// token writes a token into a file and returns its name.
func (p *person) token(account, name string, flags ...string) string {
	p.t.Helper()
	p.ok(append([]string{"token", "create", "-a", account, "--group", "phones", "--out", name}, flags...)...)
	return name
}

// device returns the claims of the credentials in a folder.
func (p *person) device(dir string) (*claims.Document, string) {
	p.t.Helper()
	file := filepath.Join(p.dir, dir, "device.creds")
	token, err := jwt.ParseDecoratedJWT(p.read(file))
	if err != nil {
		p.t.Fatal(err)
	}
	doc, err := claims.Decode(token)
	if err != nil {
		p.t.Fatal(err)
	}
	return doc, file
}

// may reports whether servers let who logs in do something.
func (p *person) may(login nats.Option, do func(*nats.Conn) error) bool {
	p.t.Helper()
	nc, err := nats.Connect(p.serverURL(), login, nats.NoReconnect())
	if err != nil {
		p.t.Fatal(err)
	}
	defer nc.Close()
	if err := errors.Join(do(nc), nc.FlushTimeout(5*time.Second)); err != nil {
		p.t.Fatal(err)
	}
	err = nc.LastError() // the refusal comes before the answer to the flush
	if err != nil && !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
		p.t.Fatal(err)
	}
	return err == nil
}

func publishing(subject string) func(*nats.Conn) error {
	return func(nc *nats.Conn) error { return nc.Publish(subject, nil) }
}

func subscribing(subject string) func(*nats.Conn) error {
	return func(nc *nats.Conn) error {
		_, err := nc.SubscribeSync(subject)
		return err
	}
}

// TestEnrol: a device exchanges a token for credentials by which it may do what
// its fleet may, and the token may do nothing but that.
func TestEnrol(t *testing.T) {
	t.Parallel()
	p := enrolling(t, "enr")
	token := p.token("enr", "one.token")
	p.ok("device", "enroll", "--token", token, "--dir", "one", "--id", "phone1").says("device phone1  key U", "expires ")
	doc, creds := p.device("one")
	_, ac := p.account("enr")
	f, err := fleet.Find(ac, "devices")
	if err != nil {
		t.Fatal(err)
	}
	signers, err := f.Signers(ac)
	if err != nil || doc.Issuer != signers[f.Cohort("phone1")].Public || doc.Name != "phone1" {
		t.Fatalf("%s signed %s: %v", doc.Issuer, doc.Name, err)
	}
	device := nats.UserCredentials(creds)
	for subject, want := range map[string]bool{"enr.phone1.x": true, "enr.phone2.x": false, "x": false} {
		if p.may(device, publishing(subject)) != want || p.may(device, subscribing(subject)) != want {
			t.Errorf("a device may use %s, want %v", subject, want)
		}
	}

	text := strings.TrimSpace(p.text(token))
	at := strings.LastIndexByte(text, '.')
	claim := nats.UserJWTAndSeed(text[:at], text[at+1:])
	td, err := claims.Decode(text[:at])
	if err != nil {
		t.Fatal(err)
	}
	for subject, want := range map[string]bool{"enr.phone1.x": false, ">": false, "_INBOX.>": false, "_INBOX." + td.Subject + ".x": true, fleet.EnrollSubject: false, "_R_.>": false, "$JS.API.>": false, "*": false} {
		if p.may(claim, subscribing(subject)) != want {
			t.Errorf("a token may subscribe to %s, want %v", subject, want)
		}
	}
	for subject, want := range map[string]bool{"enr.phone1.x": false, "_INBOX.x": false, "$SYS.REQ.USER.INFO": false, "$JS.API.INFO": false, "$JS.ACK.x": false, "$SYS.REQ.CLAIMS.UPDATE": false,
		"accountd.v1.claims.put": false, "$SRV.PING": false, "_R_.x": false, fleet.EnrollSubject + ".x": false, fleet.EnrollSubject: true} {
		if p.may(claim, publishing(subject)) != want {
			t.Errorf("a token may publish to %s, want %v", subject, want)
		}
	}

	seed, err := keys.UserFromSeed([]byte(text[at+1:]))
	if err != nil {
		t.Fatal(err)
	}
	file, err := nscstore.FormatCreds(text[:at], seed.Seed())
	if err != nil {
		t.Fatal(err)
	}
	leaf := natstest.StartLeaf(t, natstest.LeafOptions{Remotes: shared.c.leafURLs(t), Creds: filepath.Join(p.dir, p.put("claim.creds", string(file)))})
	natstest.Eventually(t, edgePatience, func() error {
		if !strings.Contains(leaf.Output(), "Authorization Violation") {
			return errors.New("a token is not refused as a leaf node")
		}
		return leaf.Unlinked()
	})

	p.run("device", "enroll", "--token", token, "--dir", "two", "--id", "phone1").exits(5).complains("taken")
	p.run("device", "enroll", "--token", token, "--dir", "two", "--id", "phone2").exits(4).complains("spent", "nsc token create")
	p.ok("device", "enroll", "--token", token, "--dir", "one").says("device phone1") // it is enrolled
	p.run("device", "enroll", "--token", token, "--dir", "one", "--id", "phone2").exits(5).complains("enrolled as \"phone1\"", "--dir")
	if err := os.Remove(creds); err != nil { // as if it lost power before they were written
		t.Fatal(err)
	}
	p.ok("device", "enroll", "--token", token, "--dir", "one", "--id", "phone1").says("device phone1")
	if again, _ := p.device("one"); again.Subject != doc.Subject {
		t.Error("the device has another key")
	}
	p.ok("device", "renew", "--dir", "one").says("device phone1")
	p.ok("device", "status", "--dir", "one", "--json").says(`"id": "phone1"`)
	p.run("device", "status", "--dir", "two").exits(3).complains("not enrolled", "nsc device enroll")
	p.run("device", "enroll", "--token", text, "--dir", "two").exits(2).complains("does not belong on the command line")
}

// TestKeysOfFleetAreOneThing: no command for roles gives the devices of one
// cohort, or tokens, more than their fleet has.
func TestKeysOfFleetAreOneThing(t *testing.T) {
	t.Parallel()
	p := enrolling(t, "one")
	before, _ := p.account("one")
	for role, hint := range map[string]string{"devices/c00e1": "nsc edit fleet devices -a one", "devices/enroll-phones": "nsc add role"} {
		p.run("edit", "role", role, "-a", "one", "--template", "operator").exits(4).complains("(fleet-key)", hint)
		p.run("edit", "signing-key", role, "-a", "one", "--allow-pub", "x.>").exits(4).complains("(fleet-key)", hint)
	}
	p.run("delete", "role", "devices/enroll-phones", "-a", "one", "--yes").exits(4).complains("nsc delete enrollment-group phones -a one")
	for _, role := range []string{"devices/c00e9", "devices/station-x", "devices/enroll-x"} { // it would be one of them
		p.run("edit", "signing-key", "--sk", "generate", "--role", role, "-a", "one", "--allow-pub", ">").exits(4).complains("(fleet-key)")
	}
	if after, _ := p.account("one"); after.Token != before.Token {
		t.Error("the account has changed")
	}
}

// TestEnrolAnew: a device whose key was retired has new credentials by a new token,
// in the folder that it has.
func TestEnrolAnew(t *testing.T) {
	t.Parallel()
	p := enrolling(t, "ean")
	first := p.token("ean", "one.token")
	p.ok("device", "enroll", "--token", first, "--dir", "one", "--id", "phone1")
	doc, creds := p.device("one")
	_, ac := p.account("ean")
	f, err := fleet.Find(ac, "devices")
	if err != nil {
		t.Fatal(err)
	}
	p.ok("revoke", "device", "--cohort", strconv.Itoa(f.Cohort("phone1")), "-a", "ean", "--yes")
	second := p.token("ean", "two.token")
	p.ok("device", "enroll", "--token", second, "--dir", "one")
	again, _ := p.device("one")
	if again.Issuer == doc.Issuer || again.Subject != doc.Subject || again.Name != doc.Name {
		t.Errorf("enrolled anew as %s %s, signed by %s", again.Name, again.Subject, again.Issuer)
	}
	if !p.may(nats.UserCredentials(creds), publishing("ean.phone1.x")) {
		t.Error("it may not publish")
	}
	if kept := p.text(filepath.Join("one", "token")); strings.TrimSpace(kept) != strings.TrimSpace(p.text(second)) {
		t.Error("the device keeps its first token")
	}
	p.ok("device", "enroll", "--token", second, "--dir", "one")
	if same, _ := p.device("one"); same.ID != again.ID {
		t.Error("a repeated token made other credentials")
	}
}

// TestEnrolOverHTTP: the same without a connection to the servers.
func TestEnrolOverHTTP(t *testing.T) {
	t.Parallel()
	p := enrolling(t, "enh")
	p.token("enh", "many.token", "--uses", "2", "--id-pattern", "s-*", "--tag", "site:7", "--url", shared.c.http(t))
	p.ok("device", "enroll", "--token", "many.token", "--dir", "one", "--id", "s-1").says("device s-1")
	p.run("device", "enroll", "--token", "many.token", "--dir", "two", "--id", "x-1").exits(4).complains("id-pattern")
	p.ok("device", "enroll", "--token", "many.token", "--dir", "two", "--id", "s-2").says("device s-2")
	p.ok("device", "renew", "--dir", "two")
	if doc, _ := p.device("two"); len(doc.Strings("tags")) != 1 {
		t.Errorf("the tags are %v", doc.Strings("tags"))
	}
	p.ok("revoke", "device", strings.TrimSpace(p.keyOf("two")), "-a", "enh").says("refused everywhere")
	p.run("device", "renew", "--dir", "two").exits(4).complains("revoked")

	key := p.keyOf("one")
	p.token("enh", "bound.token", "--bind-key", key, "--url", shared.c.http(t))
	p.run("device", "enroll", "--token", "bound.token", "--dir", "three").exits(4).complains("bound-key", "nsc token create --bind-key U")
	if err := os.Remove(filepath.Join(p.dir, "one", "device.creds")); err != nil {
		t.Fatal(err)
	}
	p.ok("device", "enroll", "--token", "bound.token", "--dir", "one").says("device " + key) // no id was asked for
}

func (p *person) keyOf(dir string) string {
	p.t.Helper()
	doc, _ := p.device(dir)
	return doc.Subject
}

// TestTokensEnd: a token that is revoked or whose group is gone enrols nobody,
// and after a roll devices get credentials of the new key.
func TestTokensEnd(t *testing.T) {
	t.Parallel()
	p := enrolling(t, "end")
	url := shared.c.http(t)
	p.token("end", "a.token", "--url", url)
	p.token("end", "b.token", "--url", url)
	p.token("end", "c.token", "--url", url)
	p.ok("token", "revoke", "a.token", "-a", "end").says("refused everywhere")
	p.run("device", "enroll", "--token", "a.token", "--dir", "a").exits(4).complains("revoked")
	p.ok("edit", "fleet", "devices", "-a", "end", "--roll").says("2 cohorts got new keys")
	p.ok("device", "enroll", "--token", "b.token", "--dir", "b")
	doc, _ := p.device("b")
	_, ac := p.account("end")
	f, _ := fleet.Find(ac, "devices")
	if signers, err := f.Signers(ac); err != nil || signers[f.Cohort(doc.Name)].Public != doc.Issuer || signers[0].Epoch != 2 {
		t.Errorf("signed by %s, the keys are %+v, %v", doc.Issuer, signers, err)
	}
	p.ok("list", "enrollment-groups", "-a", "end").says("phones", "devices", "here")
	p.ok("describe", "enrollment-group", "-a", "end").says("tokens may    publish    accountd.v1.enroll")
	p.ok("delete", "enrollment-group", "phones", "-a", "end", "--yes").says("its tokens are refused everywhere")
	p.run("device", "enroll", "--token", "c.token", "--dir", "c").exits(4).complains("retired-key")
	p.ok("device", "renew", "--dir", "b")
	p.ok("suspend", "account", "end", "--yes")
	p.run("device", "renew", "--dir", "b").exits(4).complains("suspended")
}

// TestHealthyDevicesReturn: where devices are cut with their cohort, the healthy
// ones of it renew by proof of their key, and the others do not; where the key
// itself is not trusted any more, nobody does.
func TestHealthyDevicesReturn(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "ret")
	p.ok("add", "fleet", "devices", "-a", "ret", "--cohorts", "1", "--ttl", "1h")
	p.ok("add", "enrollment-group", "phones", "-a", "ret")
	token := p.token("ret", "many.token", "--uses", "9")
	for _, id := range []string{"good", "bad", "lost", "late"} {
		p.ok("device", "enroll", "--token", token, "--dir", id, "--id", id)
	}
	p.run("revoke", "device", "bad", "lost", "-a", "ret", "--now").exits(2).complains("healthy devices too, until they come back by renewing, until ")
	p.ok("revoke", "device", "bad", "lost", "-a", "ret", "--now", "--yes").says("refused everywhere", "healthy devices that enrolled come back by renewing, until ")
	for _, id := range []string{"bad", "lost"} {
		p.run("device", "renew", "--dir", id).exits(4).complains("revoked")
	}
	p.ok("device", "renew", "--dir", "good")
	doc, creds := p.device("good")
	if _, ac := p.account("ret"); !ac.SigningKeys.Contains(doc.Issuer) {
		t.Error("a healthy device has credentials of the key that went")
	}
	if !p.may(nats.UserCredentials(creds), publishing("ret.good.x")) {
		t.Error("a healthy device may not publish")
	}

	p.run("unrevoke", "device", "nobody", "-a", "ret").exits(3).complains("unknown-key")
	p.ok("unrevoke", "device", "lost", "-a", "ret").says("1 of the ids and keys that were denied may get new credentials again")
	p.ok("device", "renew", "--dir", "lost").says("device lost")
	p.run("device", "renew", "--dir", "bad").exits(4).complains("revoked")

	p.ok("revoke", "device", "--cohort", "0", "-a", "ret", "--yes").says("refused everywhere")
	for _, id := range []string{"good", "late"} { // what the earlier key signed is worth nothing any more, either
		p.run("device", "renew", "--dir", id).exits(4).complains("retired-key")
	}
}

// TestDeviceSurvivesKills: whenever the agent is killed, what it left is whole,
// and the next run ends with credentials for the same key, by one use of the
// token.
func TestDeviceSurvivesKills(t *testing.T) {
	t.Parallel()
	p := enrolling(t, "kill")
	p.token("kill", "one.token")
	enroll := []string{"device", "enroll", "--token", "one.token", "--dir", "one", "--id", "phone1"}
	began := time.Now()
	p.ok(enroll...)
	usual := time.Since(began)
	key := p.keyOf("one")
	whole := func() {
		t.Helper()
		if _, err := os.Stat(filepath.Join(p.dir, "one", "device.creds")); err == nil && p.keyOf("one") != key {
			t.Fatal("the device has another key")
		}
	}
	killed := 0
	for i := range 16 {
		args := enroll
		if i%4 == 0 { // limited to six at once
			args = []string{"device", "renew", "--dir", "one"}
		} else if err := os.Remove(filepath.Join(p.dir, "one", "device.creds")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if i%4 == 0 {
			p.ok(enroll...)
		}
		killed += boolToInt(p.killed(args, time.Duration(i)*(usual+20*time.Millisecond)/12))
		whole()
	}
	if killed == 0 {
		t.Error("no run was killed before its end")
	}
	p.ok(enroll...)
	whole()
	entries, err := os.ReadDir(filepath.Join(p.dir, "one"))
	if err != nil || len(entries) != 5 {
		t.Errorf("the folder holds %d files: %v", len(entries), err)
	}
}

// killed runs nsc in a process of its own, kills it after a while, and reports
// whether that came before its end.
func (p *person) killed(args []string, after time.Duration) bool {
	p.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asNsc+"="+p.dir)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	return errors.As(cmd.Wait(), &exit) && !exit.Exited()
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestExposedDevicesDoNotRenew: a device that cannot be listed gets no new
// credentials until its old key goes, so that the time in the receipt holds; its
// neighbours of the cohort do.
func TestExposedDevicesDoNotRenew(t *testing.T) {
	t.Parallel()
	p := enrolling(t, "exposed")
	token := p.token("exposed", "a.token", "--uses", "5")
	for _, id := range []string{"bad", "good"} {
		p.ok("device", "enroll", "--token", token, "--dir", id, "--id", id)
	}
	p.ok("revoke", "device", "bad", "-a", "exposed", "--graceful", "--over", "30m", "--yes").
		complains("1 of 1 devices can still connect, until ", "are cut, the last by")
	p.run("device", "renew", "--dir", "bad").exits(4).complains("revoked")
	p.run("device", "enroll", "--token", token, "--dir", "again", "--id", "bad").exits(4).complains("revoked")
	p.ok("device", "renew", "--dir", "good").says("device good")
	p.ok("edit", "fleet", "-a", "exposed", "--abort-roll").says("admit what they signed until it has expired")
	p.run("device", "renew", "--dir", "bad").exits(4).complains("revoked")
	p.ok("unrevoke", "device", strings.TrimSpace(p.keyOf("bad")), "-a", "exposed").says("already so", "1 device named by id or key alone")
	p.run("device", "renew", "--dir", "bad").exits(4).complains("revoked") // its id is denied still
	p.put("bad.txt", "bad "+p.keyOf("bad")+"\n")
	p.ok("unrevoke", "device", "--file", "bad.txt", "-a", "exposed")
	p.ok("device", "renew", "--dir", "bad").says("device bad")
}
