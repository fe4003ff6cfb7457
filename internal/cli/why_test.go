package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/operator/nscstore"
)

// explained is what a script reads of nsc why.
type explained struct {
	Schema   int
	Verdict  string
	Basis    string
	Chain    []struct{ Kind, Name string }
	Refusals []struct{ Rule, Why, Help string }
	Doors    []struct{ Type, Why string }
	May      *jwt.UserPermissionLimits
	Source   string `json:"permissions_of"`
	Role     string
	Nodes    []struct{ Server, Verdict, State string }
	Live     int `json:"connections"`
	Notes    []string
}

// why runs nsc why on a user's credentials.
func (p *person) why(code int, args ...string) explained {
	p.t.Helper()
	var ex explained
	p.run(append([]string{"why", "--json"}, args...)...).exits(code).json(&ex)
	return ex
}

// door is the reason why a kind of connection is not open, "" if it is.
func (ex explained) door(t *testing.T, kind string) string {
	t.Helper()
	for _, d := range ex.Doors {
		if d.Type == kind {
			return d.Why
		}
	}
	t.Fatalf("no door %s in %+v", kind, ex.Doors)
	return ""
}

// credential is one row of TestWhySaysWhatServersDo: how a user of an account
// comes to be, and the rule that refuses it, "" for none.
type credential struct {
	name string
	make func(p *person, account string)
	rule string
	may  []string // subjects to which it may publish; the subject "other" it may not, if there are any
}

func credentials() []credential {
	return []credential{
		{name: "plain", make: func(p *person, ac string) { p.ok("add", "user", "u", "-a", ac) }},
		{name: "expired", rule: "expired", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac)
			p.ok("edit", "user", "u", "-a", ac, "--expiry", "-1h")
		}},
		{name: "early", rule: "not-yet-valid", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac, "--start", "1h")
		}},
		{name: "revoked", rule: "revoked", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac)
			p.ok("revoke", "user", "u", "-a", ac)
		}},
		{name: "reissued", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac)
			p.ok("revoke", "user", "u", "-a", ac)
			p.ok("add", "user", "u", "-a", ac, "--reissue")
		}},
		{name: "everyone", rule: "revoked-all", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac)
			p.ok("revoke", "user", "*", "-a", ac, "--yes")
		}},
		{name: "account-gone", rule: "no-account", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac)
			p.keepCreds(ac, "u", func() { p.ok("delete", "account", ac, "--yes") })
		}},
		{name: "account-ended", rule: "account-expired", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac)
			p.ok("edit", "account", ac, "--expiry", time.Now().Add(2*time.Second).UTC().Format(time.RFC3339))
		}},
		{name: "suspended", rule: "suspended", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac)
			p.ok("suspend", "account", ac)
		}},
		{name: "role", may: []string{"u.out"}, make: func(p *person, ac string) {
			p.ok("edit", "signing-key", "-a", ac, "--sk", "generate", "--role", "r", "--allow-pub", "{{name()}}.out", "--allow-sub", ">")
			p.ok("add", "user", "u", "-a", ac, "-K", "r")
		}},
		{name: "tags", may: []string{"site.a", "site.b"}, make: func(p *person, ac string) {
			p.ok("edit", "signing-key", "-a", ac, "--sk", "generate", "--role", "r", "--allow-pub", "site.{{tag(site)}},gone.{{tag(gone)}}")
			p.ok("add", "user", "u", "-a", ac, "-K", "r", "--tag", "site:a,site:b")
		}},
		{name: "no-tag", rule: "template", make: func(p *person, ac string) {
			p.ok("edit", "signing-key", "-a", ac, "--sk", "generate", "--role", "r", "--deny-pub", "site.{{tag(site)}}")
			p.ok("add", "user", "u", "-a", ac, "-K", "r")
		}},
		{name: "role-gone", rule: "issuer", make: func(p *person, ac string) {
			p.ok("edit", "signing-key", "-a", ac, "--sk", "generate", "--role", "r")
			p.ok("add", "user", "u", "-a", ac, "-K", "r")
			p.ok("edit", "account", ac, "--rm-sk", "r")
		}},
		{name: "defaults", may: []string{"d.out"}, make: func(p *person, ac string) {
			p.ok("edit", "account", ac, "--allow-pub", "d.out")
			p.ok("add", "user", "u", "-a", ac)
		}},
		{name: "bearer", rule: "bearer", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac, "--bearer")
			p.keepCreds(ac, "u", func() { p.ok("delete", "user", "u", "-a", ac, "--revoke=false") })
			p.ok("edit", "account", ac, "--disallow-bearer")
		}},
		{name: "hours", rule: "times", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac)
			at := time.Now().UTC().Add(6 * time.Hour)
			p.ok("edit", "user", "u", "-a", ac, "--locale", "UTC", "--time", at.Format("15:04:05")+"-"+at.Add(time.Hour).Format("15:04:05"))
		}},
		{name: "no-connections", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac)
			p.ok("edit", "account", ac, "--conns", "0", "--leaf-conns", "0")
		}},
		{name: "mqtt-only", make: func(p *person, ac string) {
			p.ok("edit", "account", ac, "--js-enable", "0")
			p.ok("add", "user", "u", "-a", ac, "--bearer")
			p.ok("edit", "user", "u", "-a", ac, "--conn-type", "MQTT")
		}},
		{name: "mqtt-without-jetstream", make: func(p *person, ac string) {
			p.ok("add", "user", "u", "-a", ac, "--bearer")
			p.ok("edit", "user", "u", "-a", ac, "--conn-type", "MQTT,STANDARD")
		}},
		{name: "mqtt-without-bearer", make: func(p *person, ac string) {
			p.ok("edit", "account", ac, "--js-enable", "0")
			p.ok("add", "user", "u", "-a", ac)
		}},
	}
}

// TestWhySaysWhatServersDo: for each credential, what nsc why says is what a
// server does, by every kind of connection that the test can make and for what
// it may publish.
func TestWhySaysWhatServersDo(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	mqtt := c.mqtt(t)
	for _, row := range credentials() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := c.person(t)
			account := "why-" + row.name
			p.ok("add", "account", account)
			row.make(p, account)
			file := p.credsFile(account, "u")
			if row.rule == "account-expired" {
				natstest.Eventually(t, 10*time.Second, func() error {
					if connects(t, p.serverURL(), file) {
						return errors.New("the account has not expired")
					}
					return nil
				})
			}
			var ex explained
			r := p.run("why", file, "--json").json(&ex)

			takes := connects(t, p.serverURL(), file)
			open := row.rule == "" && ex.door(t, jwt.ConnectionTypeStandard) == ""
			if takes != open {
				t.Errorf("a server takes the user: %t, and nsc why says %+v", takes, ex)
			}
			takesMQTT := connectsMQTT(t, mqtt, file)
			openMQTT := row.rule == "" && ex.door(t, jwt.ConnectionTypeMqtt) == ""
			if takesMQTT != openMQTT {
				t.Errorf("a server takes the user over MQTT: %t, and nsc why says %+v", takesMQTT, ex)
			}
			want := 0
			if !takes && !takesMQTT {
				want = 9
			}
			if r.exits(want); ex.Basis != "served" || len(ex.Nodes) != 3 && row.rule != "no-account" {
				t.Errorf("%+v", ex)
			}
			if row.rule == "" {
				if len(ex.Refusals) > 0 {
					t.Errorf("refused: %+v", ex.Refusals)
				}
			} else if len(ex.Refusals) == 0 || ex.Refusals[0].Rule != row.rule || ex.Refusals[0].Help == "" {
				t.Errorf("refused by %+v, want %s", ex.Refusals, row.rule)
			}
			if row.may != nil {
				if got := []string(ex.May.Pub.Allow); !slices.Equal(got, row.may) {
					t.Errorf("nsc why says that it may publish to %v, want %v", got, row.may)
				}
				for _, subject := range append(row.may, "other") {
					if may := publishes(t, p.serverURL(), file, subject); may != slices.Contains(row.may, subject) {
						t.Errorf("a server lets it publish to %s: %t", subject, may)
					}
				}
			}
		})
	}
}

// keepCreds runs f and puts the credentials of a user back that it removes.
func (p *person) keepCreds(account, user string, f func()) {
	p.t.Helper()
	file := p.credsFile(account, user)
	data, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	f()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// connects reports whether a server takes credentials.
func connects(t *testing.T, url, creds string) bool {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserCredentials(creds), nats.NoReconnect(), nats.Timeout(10*time.Second))
	if err == nil {
		nc.Close()
		return true
	}
	if !errors.Is(err, nats.ErrAuthorization) && !errors.Is(err, nats.ErrAccountAuthExpired) && !strings.Contains(err.Error(), "maximum account active connections") {
		t.Fatal(err)
	}
	return false
}

// connectsMQTT is connects for an MQTT client, whose password is the JWT.
func connectsMQTT(t *testing.T, addr, creds string) bool {
	t.Helper()
	data, err := os.ReadFile(creds)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := nscstore.ParseCreds(data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := natstest.DialMQTT(ctx, addr, natstest.MQTTOptions{ClientID: t.Name(), User: "any", Password: token})
	if ctx.Err() != nil {
		t.Fatal(err)
	}
	if err == nil {
		m.Close()
	}
	return err == nil
}

// publishes reports whether a server lets a user publish to a subject.
func publishes(t *testing.T, url, creds, subject string) bool {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserCredentials(creds), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish(subject, nil); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return nc.LastError() == nil
}

// mqtt is the MQTT address of the first node.
func (c *cluster) mqtt(t *testing.T) string {
	t.Helper()
	var ready struct{ Nodes []struct{ MQTT string } }
	data, err := os.ReadFile(c.dir + ".ready")
	if err == nil {
		err = json.Unmarshal(data, &ready)
	}
	if err != nil || len(ready.Nodes) == 0 || ready.Nodes[0].MQTT == "" {
		t.Fatalf("no MQTT address: %v", err)
	}
	return ready.Nodes[0].MQTT
}

func TestWhyForPeople(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "whom")
	p.ok("edit", "signing-key", "-a", "whom", "--sk", "generate", "--role", "reader", "--allow-sub", "news.{{name()}}")
	p.ok("add", "user", "ann", "-a", "whom", "-K", "reader")
	p.ok("why", "ann", "-a", "whom").says("accepted on 3 of 3 nodes", "account whom > role reader > user ann",
		"news.ann", "as its role reader says", "by STANDARD", "not by MQTT", "nats-2")
	doc, _ := p.user("whom", "ann")
	p.ok("why", doc.Subject).says("user ann in whom")

	nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(p.credsFile("whom", "ann")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p.ok("why", "ann", "-a", "whom").says("1 connection now")

	p.ok("edit", "account", "whom", "--conns", "0", "--leaf-conns", "0", "--no-push")
	if ex := p.why(0, "ann", "-a", "whom"); len(ex.Notes) != 1 || !strings.Contains(ex.Notes[0], "with it the user would be refused") {
		t.Errorf("%+v", ex.Notes)
	}
	p.ok("edit", "account", "whom", "--conns", "-1", "--leaf-conns", "-1")
	p.ok("revoke", "user", "ann", "-a", "whom")
	p.run("why", "ann", "-a", "whom").exits(9).says("refused on 3 of 3 nodes", "the user was revoked: what was issued until", "what helps: nsc unrevoke user ann -a whom")
	p.ok("delete", "user", "ann", "-a", "whom")
	p.run("why", doc.Subject).exits(9).complains("was revoked in account whom")
}

func TestWhyWithoutServers(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.unchanged(func() {
		p.ok("why", "one", "-a", "app").says("accepted\n", "judged by the local store: operator acme names no account server")
		p.run("why", "two", "-a", "app").exits(3)
		p.run("why", "no.creds").exits(3).complains("no file no.creds")
		p.run("why").exits(2)
	})
	name := filepath.Join(p.dir, "bare.jwt")
	doc, _ := p.user("app", "one")
	if err := os.WriteFile(name, []byte(doc.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ok("why", "bare.jwt").says("user one in app")
	if err := os.WriteFile(name, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("why", "bare.jwt").exits(7)
	p.editOperator(func(c *jwt.OperatorClaims) { c.StrictSigningKeyUsage = true })
	if ex := p.why(9, "one", "-a", "app"); ex.Refusals[0].Rule != "issuer" {
		t.Errorf("%+v", ex.Refusals)
	}
	p.pointTo(deadURL(t))
	p.run("why", "one", "-a", "app").exits(6)
}

// TestWhySeesTheNodeThatIsAway: a node that is down has not caught up.
func TestWhySeesTheNodeThatIsAway(t *testing.T) {
	t.Parallel()
	c := own(t)
	p := c.person(t)
	p.ok("add", "account", "app")
	p.ok("add", "user", "u", "-a", "app")
	c.node(t, "stop", "nats-2")
	p.run("edit", "account", "app", "--conns", "7", "--timeout", "2s").exits(8)
	ex := p.why(8, "u", "-a", "app")
	if ex.Verdict != "accepted" || ex.Nodes[2].Verdict != "unknown" {
		t.Errorf("%+v", ex)
	}
}

// TestWhyKnowsTheLeafDoor: a leaf node links as a user exactly if nsc why says
// that this door is open.
func TestWhyKnowsTheLeafDoor(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.ok("add", "user", "standard", "-a", "app")
	p.ok("edit", "user", "standard", "-a", "app", "--conn-type", "STANDARD")
	p.ok("add", "account", "leafless")
	p.ok("add", "user", "any", "-a", "leafless")
	p.ok("edit", "account", "leafless", "--leaf-conns", "0")
	port := natstest.FreePort(t)
	natstest.StartServer(t, p.config("--mem-resolver")+fmt.Sprintf("leafnodes { listen: \"127.0.0.1:%d\" }\n", port))
	for _, row := range []struct{ account, user string }{{"app", "one"}, {"app", "standard"}, {"leafless", "any"}} {
		open := p.why(0, row.user, "-a", row.account).door(t, jwt.ConnectionTypeLeafnode) == ""
		leaf := natstest.StartLeaf(t, natstest.LeafOptions{
			Name: row.user, Remotes: []string{fmt.Sprintf("nats://127.0.0.1:%d", port)}, Creds: p.credsFile(row.account, row.user),
		})
		natstest.Eventually(t, 20*time.Second, func() error {
			linked, refused := leaf.Linked() == nil, strings.Contains(leaf.Output(), "Leafnode Error")
			if open != linked || open == refused {
				return fmt.Errorf("%s: the door is open: %t, linked: %t, refused: %t", row.user, open, linked, refused)
			}
			return nil
		})
	}
}
