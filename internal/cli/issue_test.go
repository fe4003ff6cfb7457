package cli_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
)

// line is a device as issue writes it.
type line struct {
	ID      string `json:"id"`
	Public  string `json:"public_key"`
	Seed    string `json:"seed"`
	JWT     string `json:"jwt"`
	Expires int64  `json:"expires"`
}

// lines reads devices, with the decoder that everybody has.
func lines(t *testing.T, data string) []line {
	t.Helper()
	var out []line
	for text := range strings.Lines(data) {
		var l line
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&l); err != nil {
			t.Fatalf("line %d: %v in %q", len(out)+1, err, text)
		}
		out = append(out, l)
	}
	return out
}

// text returns the content of a file below the person's folder.
func (p *person) text(name string) string { return string(p.read(filepath.Join(p.dir, name))) }

// checkDevices checks devices against the account of the fleet: each id once
// and in order, each JWT signed by the right key. Of many, every 16th JWT is
// read by the library, which verifies it, and its seed is that of its key.
func (p *person) checkDevices(account string, got []line, id func(i int) string, n int) {
	p.t.Helper()
	if len(got) != n {
		p.t.Fatalf("%d devices, want %d", len(got), n)
	}
	doc, ac := p.account(account)
	f, err := fleet.Find(ac, "")
	if err != nil {
		p.t.Fatal(err)
	}
	signers, err := f.Signers(ac)
	if err != nil {
		p.t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, l := range got {
		uc, whole := unverified(p.t, l.JWT), n <= 100 || i%16 == 0
		if whole {
			if _, err := jwt.DecodeUserClaims(l.JWT); err != nil {
				p.t.Fatal(err)
			}
		}
		if l.ID != id(i) || uc.Name != l.ID || uc.Subject != l.Public || uc.Expires != l.Expires || seen[l.Public] {
			p.t.Fatalf("device %d: %+v, %+v", i, l, uc)
		}
		seen[l.Public] = true
		if uc.IssuerAccount != doc.Subject || uc.Issuer != signers[f.Cohort(l.ID)].Public {
			p.t.Fatalf("%s is signed by %s of %s", l.ID, uc.Issuer, uc.IssuerAccount)
		}
		if !whole {
			continue
		}
		if pair, err := keys.UserFromSeed([]byte(l.Seed)); err != nil || pair.PublicKey() != l.Public {
			p.t.Fatalf("seed of %s: %v", l.ID, err)
		}
	}
}

// unverified reads what a JWT says.
func unverified(t *testing.T, token string) *jwt.UserClaims {
	t.Helper()
	uc := &jwt.UserClaims{}
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err == nil {
		err = json.Unmarshal(body, uc)
	}
	if err != nil {
		t.Fatal(err)
	}
	return uc
}

// rootOf computes the root of a manifest from the devices.
func rootOf(got []line) string {
	var tree bulk.Tree
	for _, l := range got {
		tree.Add(tlog.RecordHash([]byte(l.JWT)))
	}
	return tree.Root().String()
}

// TestIssueKilled: a run that is killed at any point goes on with the same
// command and issues every device once.
func TestIssueKilled(t *testing.T) {
	t.Parallel()
	p := iot(t)
	const n = 12000
	args := []string{"issue", "-a", "iot", "--count", fmt.Sprint(n), "--prefix", "s-", "--out", "out.ndjson"}
	part := filepath.Join(p.dir, "out.ndjson.part")
	for kill := range 4 {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(os.Environ(), asNsc+"="+p.dir, "GOMAXPROCS=1") // slow enough to be killed
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitForSize(t, part, int64(kill*1_000_000+1))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	before := lines(t, wholeLines(p.text("out.ndjson.part")))
	if len(before) == 0 || len(before) >= n {
		t.Fatalf("%d devices before the last run", len(before))
	}
	p.run("issue", "-a", "iot", "--count", fmt.Sprint(n+1), "--prefix", "s-", "--out", "out.ndjson").exits(5).complains("other-run")
	var res struct {
		Count, Before int
		Root, Outcome string
	}
	p.ok(append(args, "--json")...).json(&res)
	got := lines(t, p.text("out.ndjson"))
	p.checkDevices("iot", got, func(i int) string { return fmt.Sprintf("s-%d", i+1) }, n)
	if res.Count != n || res.Before != len(before) || res.Outcome != "issued" || res.Root != rootOf(got) {
		t.Errorf("%+v, %d before, root %s", res, len(before), rootOf(got))
	}
	for i, l := range before {
		if got[i] != l {
			t.Fatalf("device %d was issued twice", i)
		}
	}
	for _, name := range []string{".part", ".run", ".lock"} {
		if _, err := os.Stat(filepath.Join(p.dir, "out.ndjson"+name)); !os.IsNotExist(err) {
			t.Errorf("out.ndjson%s is left: %v", name, err)
		}
	}
	var m struct {
		Count int
		Root  string
	}
	if err := json.Unmarshal([]byte(p.text("out.ndjson.manifest.json")), &m); err != nil || m.Count != n || m.Root != res.Root {
		t.Errorf("manifest %+v, %v", m, err)
	}
	p.run(args...).exits(5).complains("exists", "choose another --out")
}

// wholeLines cuts what comes after the last line break.
func wholeLines(s string) string { return s[:strings.LastIndexByte(s, '\n')+1] }

func waitForSize(t *testing.T, name string, size int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		if info, err := os.Stat(name); err == nil && info.Size() >= size {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s does not grow to %d bytes", name, size)
		}
	}
}

// TestIssueResumesAtEveryByte: whatever a power failure left of the file, the
// run goes on behind its last whole line.
func TestIssueResumesAtEveryByte(t *testing.T) {
	t.Parallel()
	p := iot(t)
	args := []string{"issue", "-a", "iot", "--count", "3", "--out", "out.ndjson"}
	p.ok(args...)
	whole := p.text("out.ndjson")
	plan := `{"schema":1,"account":"` + p.accountKey("iot") + `","fleet":"sensors","first":1,"count":3}`
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for size := 0; size <= len(whole); size += 97 {
		for _, tail := range []string{"", strings.Repeat("\x00", 50)} {
			_ = os.Remove(filepath.Join(p.dir, "out.ndjson"))
			put("out.ndjson.run", plan)
			put("out.ndjson.part", whole[:size]+tail)
			p.ok(args...)
			got := p.text("out.ndjson")
			if kept := wholeLines(whole[:size]); !strings.HasPrefix(got, kept) {
				t.Fatalf("cut at %d: what was issued is not there", size)
			}
			p.checkDevices("iot", lines(t, got), func(i int) string { return fmt.Sprint(i + 1) }, 3)
		}
	}
	// It died between the last rename and the end.
	put("out.ndjson.run", plan)
	p.ok(args...).says("issued 3 devices", "3 of them before")
	// What stands at --out is another's: it is not touched.
	put("out.ndjson.run", plan)
	put("out.ndjson", "mine\n")
	p.run(args...).exits(5)
	if p.text("out.ndjson") != "mine\n" {
		t.Error("the file of another was changed")
	}
}

func (p *person) accountKey(name string) string {
	p.t.Helper()
	doc, _ := p.account(name)
	return doc.Subject
}

func TestIssueToAFolder(t *testing.T) {
	t.Parallel()
	p := iot(t)
	if err := os.WriteFile(filepath.Join(p.dir, "ids.txt"), []byte("# ours\nalpha\nbeta:1\n\ngamma\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"issue", "-a", "iot", "--ids", "ids.txt", "--out", "creds/"}
	p.ok(args...).says("issued 3 devices", "manifest in ./creds/manifest.json")
	first := p.text("creds/alpha.creds")
	plan := fmt.Sprintf(`{"schema":1,"account":"%s","fleet":"sensors","count":3,"list":"%x"}`, p.accountKey("iot"), sha256.Sum256([]byte("alpha \nbeta:1 \ngamma \n")))
	if err := os.WriteFile(filepath.Join(p.dir, "creds", ".run"), []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(p.dir, "creds", "gamma.creds"), 100); err != nil {
		t.Fatal(err)
	}
	p.ok(args...).says("issued 3 devices", "2 of them before")
	if p.text("creds/alpha.creds") != first || len(p.text("creds/gamma.creds")) < 500 {
		t.Error("a whole file was written anew, or a damaged one was not")
	}
	p.run(args...).exits(5).complains("exists")
	for _, name := range []string{".run", ".lock", ".alpha.tmp"} {
		if _, err := os.Stat(filepath.Join(p.dir, "creds", name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	p := iot(t)
	user, err := keys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"twice.txt": "a\na\n", "wild.txt": "a.*\n", "none.txt": "# none\n", "key.txt": "x " + user.PublicKey() + "\n"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.ok("issue", "-a", "iot", "--public-keys", "key.txt", "--out", "-").says(user.PublicKey())
	p.ok("revoke", "user", user.PublicKey(), "-a", "iot")
	p.ok("add", "station", "old", "-a", "iot", "--until", "1m")
	p.unchanged(func() {
		p.run("issue", "-a", "iot", "--public-keys", "key.txt", "--out", "o").exits(4).complains("is revoked")
		p.run("issue", "-a", "iot", "--ids", "twice.txt", "--out", "o").exits(7).complains(`twice.txt: the id "a" is listed twice`)
		p.run("issue", "-a", "iot", "--ids", "wild.txt", "--out", "o").exits(7).complains("wild.txt: line 1", "device-id")
		p.run("issue", "-a", "iot", "--ids", "none.txt", "--out", "o").exits(7).complains("lists no device")
		p.run("issue", "-a", "iot", "--ids", "missing.txt", "--out", "o").exits(3)
		p.run("issue", "-a", "iot", "--count", "1", "--ids", "a", "--out", "o").exits(2)
		p.run("issue", "-a", "iot", "--count", "0", "--out", "o").exits(2)
		p.run("issue", "-a", "iot", "--count", "1").exits(2).complains("--out is missing")
		p.run("issue", "-a", "iot", "--count", "1", "--prefix", "a.", "--out", "o").exits(7)
		p.run("issue", "-a", "iot", "--count", "1", "--ttl", "169h", "--out", "o").exits(7).complains("ttl")
		p.run("issue", "-a", "app", "--count", "1", "--out", "o").exits(3).complains("nsc add fleet")
		p.run("issue", "-a", "iot", "--station", "x", "--count", "1", "--out", "o").exits(3).complains("its stations are old")
		p.run("issue", "-a", "iot", "--count", "1", "--out", "no/such/o").exits(3)
		p.ok("issue", "-a", "iot", "--count", "5", "--out", "o", "--dry-run").says("would issue 5 devices")
		later := *p
		later.now = func() time.Time { return time.Now().Add(time.Hour) }
		later.run("issue", "-a", "iot", "--station", "old", "--count", "1", "--out", "o").exits(7).complains("was to be retired")
	})
	_, ac := p.account("iot")
	f, _ := fleet.Find(ac, "")
	if err := p.store().Keystore().RemoveSeed(t.Context(), f.Keys(ac)[2].Public); err != nil {
		t.Fatal(err)
	}
	p.run("issue", "-a", "iot", "--count", "1", "--out", "o").exits(4).complains("the keystore has no seed", "sensors/c02e1")
}

// TestIssuedDevicesOnServers: devices connect to a real cluster and reach their
// own subjects and nothing else.
func TestIssuedDevicesOnServers(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "devices", "--fleet-only", "--ttl", "1h")
	p.ok("add", "fleet", "byid", "-a", "devices", "--cohorts", "8", "--ttl", "1h").says("in force on")
	p.ok("add", "fleet", "bykey", "-a", "devices", "--cohorts", "2", "--ttl", "1h", "--confine", "key")
	p.ok("add", "station", "line4", "-a", "devices", "--fleet", "byid")
	byID := lines(t, p.ok("issue", "-a", "devices", "--fleet", "byid", "--count", "40", "--out", "-").out)
	byStation := lines(t, p.ok("issue", "-a", "devices", "--fleet", "byid", "--station", "line4", "--first", "100", "--count", "2", "--out", "-").out)
	byKey := lines(t, p.ok("issue", "-a", "devices", "--fleet", "bykey", "--count", "4", "--out", "-").out)
	for _, l := range append(byID, byStation...) {
		confined(t, p.serverURL(), l, "devices."+l.ID)
	}
	for _, l := range byKey {
		confined(t, p.serverURL(), l, "devices."+l.Public)
	}
	q := shared.get(t).person(t)
	q.ok("pull", "-a", "devices")
	q.ok("edit", "account", "devices", "--description", "mine", "--no-push")
	p.ok("edit", "fleet", "byid", "-a", "devices", "--roll", "--cohort", "1")
	q.run("issue", "-a", "devices", "--fleet", "byid", "--count", "1", "--out", "-").exits(5).complains("not the version in force", "nsc pull -a devices")
}

// confined connects a device and tries what is its own and what is not.
func confined(t *testing.T, url string, l line, own string) {
	t.Helper()
	violations := make(chan error, 10)
	nc, err := nats.Connect(url, nats.UserJWTAndSeed(l.JWT, l.Seed), nats.CustomInboxPrefix("_INBOX."+l.Public),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	if err != nil {
		t.Fatalf("%s: %v", l.ID, err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(own + ".>")
	if err == nil {
		err = nc.Publish(own+".x", []byte("hello"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := sub.NextMsg(5 * time.Second); err != nil || !bytes.Equal(msg.Data, []byte("hello")) {
		t.Fatalf("%s does not reach its own subject: %v", l.ID, err)
	}
	for _, try := range []func() error{
		func() error { _, err := nc.SubscribeSync("devices.*.x"); return err },
		func() error { _, err := nc.SubscribeSync("devices.other.x"); return err },
		func() error { _, err := nc.SubscribeSync("_INBOX.>"); return err },
		func() error { return nc.Publish("devices.other.x", nil) },
	} {
		if err := try(); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-violations:
			if !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
				t.Fatal(err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s may do what it must not", l.ID)
		}
	}
}

// TestIssueSealed: encrypted files hold every device once, also when a run was
// killed, and nothing but their recipient can read them.
func TestIssueSealed(t *testing.T) {
	t.Parallel()
	p := iot(t)
	identity, err := operator.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := operator.Recipient(identity)
	if err != nil {
		t.Fatal(err)
	}
	const n = 12000
	args := []string{"issue", "-a", "iot", "--count", fmt.Sprint(n), "--recipient", recipient, "--out", "sealed"}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asNsc+"="+p.dir, "GOMAXPROCS=1") // slow enough to be killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitForSize(t, filepath.Join(p.dir, "sealed", "000001.ndjson.age"), 1)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	var res struct {
		Count, Before int
		Root          string
	}
	p.ok(append(args, "--json")...).json(&res)
	var all strings.Builder
	for shard := 1; shard <= 2; shard++ {
		sealed := p.read(filepath.Join(p.dir, "sealed", fmt.Sprintf("%06d.ndjson.age", shard)))
		r, err := operator.OpenReader(bytes.NewReader(sealed), identity)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, []byte("seed")) {
			t.Error("a file is not encrypted")
		}
		all.Write(plain)
	}
	got := lines(t, all.String())
	p.checkDevices("iot", got, func(i int) string { return fmt.Sprint(i + 1) }, n)
	if res.Count != n || res.Before < 8192 || res.Root != rootOf(got) {
		t.Errorf("%+v, root %s", res, rootOf(got))
	}
	entries, err := os.ReadDir(filepath.Join(p.dir, "sealed"))
	if err != nil || len(entries) != 3 {
		t.Errorf("left %v, %v", entries, err)
	}
	p.run(args...).exits(5).complains("exists")
	p.run("issue", "-a", "iot", "--count", "1", "--recipient", recipient, "--out", "-").exits(2)
	p.run("issue", "-a", "iot", "--count", "1", "--recipient", "age1x", "--out", "y").exits(7)
}
