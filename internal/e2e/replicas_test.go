package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/internal/pgtest"
)

// stockCloud is an operator made by nsc, three stock servers with full
// resolvers, and a database for accountd resolver.
type stockCloud struct {
	*cloud
	store   string
	sys, sk string   // files: credentials of a system user, a signing key for accountd
	servers []string // client URLs
	started int
}

func newStockCloud(t *testing.T) *stockCloud {
	t.Helper()
	pg, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Close() })
	home := t.TempDir()
	s := &stockCloud{cloud: &cloud{t: t, dir: filepath.Join(home, "D"), home: home}, store: pg.Database(t)}
	s.env = []string{"PATH=" + binDir(t) + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + home}
	ports := natstest.FreePorts(t, 6)
	for _, p := range ports[:3] {
		s.servers = append(s.servers, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	s.nsc("add", "operator", "OP", "--sys")
	s.sys, s.sk = s.userCreds("SYS", "sys"), filepath.Join(home, "accountd.nk")
	pair := strings.Fields(s.nsc("generate", "nkey", "--operator").out)
	if err := os.WriteFile(s.sk, []byte(pair[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	s.nsc("edit", "operator", "--sk", pair[1], "--account-jwt-server-url", strings.Join(s.servers, ","))
	if r := s.run("accountd", "migrate", "up", "--store", s.store); r.code != 0 {
		t.Fatal(r)
	}
	routes := fmt.Sprintf("nats-route://127.0.0.1:%d, nats-route://127.0.0.1:%d, nats-route://127.0.0.1:%d", ports[3], ports[4], ports[5])
	system := s.raw("account", "SYS")
	for i := range 3 {
		natstest.StartServer(t, fmt.Sprintf(`
listen: "127.0.0.1:%d"
server_name: s%d
operator: %s
system_account: %s
resolver: { type: full, dir: %q, allow_delete: true }
resolver_preload: { %s: %s }
cluster { name: acme, listen: "127.0.0.1:%d", routes: [ %s ] }
`, ports[i], i, s.raw("operator", "OP"), subject(t, system), t.TempDir(), subject(t, system), system, ports[3+i], routes))
	}
	return s
}

// raw is a JWT of the local store.
func (s *stockCloud) raw(kind, name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.nsc("describe", kind, name, "--raw").out)
}

// userCreds is the path of a user's credentials.
func (s *stockCloud) userCreds(account, user string) string {
	return filepath.Join(s.home, ".local/share/nats/nsc/keys/creds/OP", account, user+".creds")
}

// replica is one accountd resolver.
type replica struct {
	*natstest.Process
	file string
}

// resolver starts accountd resolver on the database.
func (s *stockCloud) resolver() *replica {
	s.t.Helper()
	s.started++
	r := &replica{file: filepath.Join(s.home, fmt.Sprintf("ready-%d.json", s.started))}
	operator := filepath.Join(s.home, "OP.jwt")
	if err := os.WriteFile(operator, []byte(s.raw("operator", "OP")), 0o600); err != nil {
		s.t.Fatal(err)
	}
	r.Process = natstest.StartProcess(s.t, s.env, filepath.Join(binDir(s.t), "accountd"), "resolver", "--operator", operator,
		"--system-creds", s.sys, "--signing-key", s.sk, "--servers", strings.Join(s.servers, ","), "--store", s.store,
		"--http", "127.0.0.1:0", "--ready-file", r.file, "--log-level", "info")
	return r
}

// readyAt waits until a replica is ready, and returns its HTTP address.
func (s *stockCloud) readyAt(r *replica) string {
	s.t.Helper()
	var ready struct {
		HTTP string `json:"http"`
	}
	natstest.Eventually(s.t, patience, func() error {
		select {
		case <-r.Ended():
			s.t.Fatalf("accountd resolver ended:\n%s", r.Output())
		default:
		}
		raw, err := os.ReadFile(r.file)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &ready)
	})
	return ready.HTTP
}

// publishes waits until a replica says that it serves the servers, and all three
// of them are up.
func (s *stockCloud) publishes(r *replica) {
	s.t.Helper()
	url := s.readyAt(r)
	natstest.Eventually(s.t, patience, func() error {
		raw, err := os.ReadFile(r.file)
		if err == nil && !strings.Contains(string(raw), `"resolver": "full"`) {
			err = fmt.Errorf("it stands by: %s", raw)
		}
		if err != nil {
			return err
		}
		resp, err := http.Get(url + "/v1/status")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var status struct{ Nodes []struct{ Healthy bool } }
		if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
			return err
		}
		up := 0
		for _, n := range status.Nodes {
			if n.Healthy {
				up++
			}
		}
		if up < len(s.servers) {
			return fmt.Errorf("%d servers are up", up)
		}
		return nil
	})
}

// repeated is change, repeated while accountd is not known to have the change: as
// one replica goes and the next takes its place, servers may not know yet who
// answers (exit code 6, safe to repeat). Each try has a tag of its own.
func (s *stockCloud) repeated(account string) (rec receipt) {
	s.t.Helper()
	try := 0
	natstest.Eventually(s.t, patience, func() error {
		try++
		r := s.run("nsc", "edit", "account", account, "--tag", fmt.Sprintf("try-%d", try), "--json")
		switch r.code {
		case 0:
			return json.Unmarshal([]byte(r.out), &rec)
		case 6:
			return errors.New(r.String())
		default:
			s.t.Fatal(r)
			return nil
		}
	})
	return rec
}

// standsBy waits until a replica is ready and says that it does not publish, and
// returns its HTTP address.
func (s *stockCloud) standsBy(r *replica) string {
	s.t.Helper()
	url := s.readyAt(r)
	if raw, err := os.ReadFile(r.file); err != nil || !strings.Contains(string(raw), `"servers": []`) {
		s.t.Fatalf("it does not stand by: %s %v", raw, err)
	}
	return url
}

// everywhere requires nsc to have proven a change on three servers.
func (s *stockCloud) everywhere(rec receipt) {
	s.t.Helper()
	if len(rec.Nodes) != 3 {
		s.t.Fatalf("%+v", rec)
	}
	for _, n := range rec.Nodes {
		if n.State != "in force" && n.State != "stored" {
			s.t.Fatalf("%+v", n)
		}
	}
}

// proof asks accountd at an HTTP address what the three servers show.
func (s *stockCloud) proof(url, key string, revision uint64) error {
	body := fmt.Sprintf(`{"key":%q,"revision":%d,"wait_ms":5000}`, key, revision)
	resp, err := http.Post(url+"/v1/claims/proof", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var reply struct{ Nodes []node }
	if err := json.Unmarshal(raw, &reply); err != nil || len(reply.Nodes) != 3 {
		return fmt.Errorf("%s: %s", resp.Status, raw)
	}
	for _, n := range reply.Nodes {
		if n.State != "in force" && n.State != "stored" || n.Revision < revision {
			return fmt.Errorf("%+v", n)
		}
	}
	return nil
}

// standbyKnows requires the one that stands by at url to refuse what the servers
// would not take, and to have an account sent to them again.
func (s *stockCloud) standbyKnows(url, account string) {
	s.t.Helper()
	pair := strings.Fields(s.nsc("generate", "nkey", "--operator").out)
	seed := filepath.Join(s.home, "new.nk")
	if err := os.WriteFile(seed, []byte(pair[0]), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if r := s.run("nsc", "edit", "operator", "--sk", pair[1]); r.code != 8 || !strings.Contains(r.out, "restart needed") {
		s.t.Fatalf("a key that no server trusts yet: %v", r)
	}
	s.nsc("add", "account", "pepsi", "-K", seed, "--no-push")
	token := s.raw("account", "pepsi")
	resp, err := http.Post(url+"/jwt/v1/accounts/"+subject(s.t, token), "application/jwt", strings.NewReader(token))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "s0, s1, s2 trust only after a restart") {
		s.t.Fatalf("%s: %s", resp.Status, body)
	}
	sys := s.dial(s.servers[2], s.sys)
	sub, err := sys.SubscribeSync("$SYS.REQ.ACCOUNT." + account + ".CLAIMS.UPDATE")
	if err == nil {
		err = sys.Flush()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	natstest.Eventually(s.t, patience, func() error {
		resp, err := http.Get(url + "/jwt/v1/accounts/" + account + "?notify")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
			s.t.Fatalf("notify: %s: %s", resp.Status, body)
		}
		if n, _, err := sub.Pending(); err != nil || n == 0 {
			return fmt.Errorf("the account was not sent again (%v)", err)
		}
		return nil
	})
}

// TestReplicasOnPostgreSQL: several accountd resolver on one database. One
// publishes, all answer; when it is killed another one takes over, with what was
// revoked and without a second push of what is there.
func TestReplicasOnPostgreSQL(t *testing.T) {
	t.Parallel()
	defer http.DefaultClient.CloseIdleConnections()
	s := newStockCloud(t)
	first := s.resolver()
	s.publishes(first)
	second := s.resolver()
	standby := s.standsBy(second)

	s.everywhere(s.change(0, "add", "account", "coke"))
	s.nsc("add", "user", "bad", "-a", "coke")
	s.nsc("add", "user", "good", "-a", "coke")
	bad, good := s.userCreds("coke", "bad"), s.userCreds("coke", "good")
	watched := s.dial(s.servers[0], s.sys)
	sub, err := watched.SubscribeSync("$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE")
	if err == nil {
		err = watched.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	rec := s.change(0, "edit", "account", "coke", "--tag", "one")
	s.everywhere(rec)
	if err := s.proof(standby, rec.Key, rec.Revision); err != nil {
		t.Fatalf("asked over HTTP, the one that stands by says: %v", err)
	}
	if n, _, err := sub.Pending(); err != nil || n != 1 {
		t.Fatalf("%d messages brought one change to the servers (%v)", n, err)
	}

	s.standbyKnows(standby, rec.Key)

	closed := make(chan struct{})
	s.dial(s.servers[1], bad, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	first.Kill()
	s.publishes(second)
	rec = s.change(0, "revoke", "user", "bad", "-a", "coke")
	s.everywhere(rec)
	within(t, "the revoked user is cut", closed)
	for _, url := range s.servers {
		if err := refused(url, bad); err != nil {
			t.Error(err)
		}
	}
	third := s.resolver()
	s.standsBy(third)
	if code := second.Stop(); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, second.Output())
	}
	s.publishes(third)
	s.everywhere(s.repeated("coke"))
	for _, url := range s.servers {
		if err := refused(url, bad); err != nil {
			t.Error(err)
		}
		s.dial(url, good)
	}
}
