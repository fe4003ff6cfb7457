package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/keys"
)

// seedCount is the number of seeds in the person's keystore.
func (p *person) seedCount() int {
	p.t.Helper()
	seeds, err := p.store().Keystore().Seeds()
	if err != nil {
		p.t.Fatal(err)
	}
	return len(seeds)
}

// TestEditAccountKeepsWhatIsNotNamed: every flag changes what it names, and a
// later edit of something else leaves it.
func TestEditAccountKeepsWhatIsNotNamed(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("edit", "account", "app", "--disallow-bearer", "--wildcard-exports=false", "--conns", "500", "--leaf-conns", "3", "--data", "1GiB",
		"--payload", "64k", "--subscriptions", "20", "--exports", "4", "--imports", "5", "--description", "the app", "--info-url", "https://example.com/app",
		"--tag", "Env:Test,b", "--expiry", "3d12h", "--start", "2026-01-01", "--allow-pub", "b,a", "--allow-pubsub", "c", "--deny-sub", "x q",
		"--allow-pub-response=3", "--response-ttl", "5s", "--js-disk-storage", "10G", "--js-max-bytes-required", "--trace-context-subject", "traces",
		"--trace-context-sampling", "7", "--host-cluster-traffic").
		says("account app", "+ nats.limits.conn: 500", "- nats.limits.wildcards: true", `+ nats.default_permissions.pub.allow: ["a","b","c"]`, "local only:")
	_, full := p.account("app")
	want := jwt.OperatorLimits{
		NatsLimits:    jwt.NatsLimits{Subs: 20, Data: 1 << 30, Payload: 64000},
		AccountLimits: jwt.AccountLimits{Imports: 5, Exports: 4, DisallowBearer: true, Conn: 500, LeafNodeConn: 3},
		JetStreamLimits: jwt.JetStreamLimits{
			DiskStorage: 10e9, Streams: -1, Consumer: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, DiskMaxStreamBytes: -1, MaxBytesRequired: true,
		},
	}
	if diff := cmp.Diff(want, full.Limits); diff != "" {
		t.Error(diff)
	}
	if full.Description != "the app" || full.InfoURL == "" || full.Trace.Sampling != 7 || full.ClusterTraffic != "owner" ||
		full.DefaultPermissions.Resp.MaxMsgs != 3 || full.NotBefore == 0 || full.Expires == 0 {
		t.Errorf("%+v", full)
	}
	p.ok("edit", "account", "--tag", "c")
	_, again := p.account("app")
	if diff := cmp.Diff(jwt.TagList{"b", "c", "env:test"}, again.Tags); diff != "" {
		t.Error(diff)
	}
	full.Tags, full.ID, full.IssuedAt = again.Tags, again.ID, again.IssuedAt
	if diff := cmp.Diff(full.String(), again.String()); diff != "" {
		t.Errorf("an edit of the tags changed more:\n%s", diff)
	}
	p.unchanged(func() {
		p.ok("edit", "account", "app", "--conns", "500", "--tag", "b", "--rm-tag", "nosuch").says("nothing to change")
	})
}

func TestEditAccountRefuses(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.unchanged(func() {
		p.run("edit", "account", "app").exits(2).complains("nothing to change", "nsc edit account --help")
		p.run("edit", "account", "-n", "app").exits(2)
		p.run("edit", "account", "ap", "--conns", "1").exits(3).complains(`did you mean "app"`)
		p.run("edit", "account", "app", "--conns", "many").exits(2).complains("is not a number")
		p.run("edit", "account", "app", "--conns", "-5").exits(2)
		p.run("edit", "account", "app", "--expiry", "10days").exits(2).complains("is not a time")
		p.run("edit", "account", "app", "--info-url", "notaurl").exits(7).complains("servers would refuse account app")
		p.run("edit", "account", "app", "--allow-pub", "a..b").exits(7)
		p.run("edit", "account", "app", "--allow-pub", "a q").exits(7)
		p.run("edit", "account", "app", "--trace-context-sampling", "5").exits(7)
		p.run("edit", "account", "app", "--js-enable", "0", "--js-streams", "3").exits(2)
		p.run("edit", "account", "app", "--rm-js-tier", "3").exits(3)
		p.run("edit", "account", "app", "--rm-sk", "nosuch").exits(3).complains("no signing key or role")
		p.run("edit", "account", "app", "--sk", "nosuch").exits(7)
		p.run("edit", "account", "app", "--conn", "5").exits(2).complains("did you mean --conns")
		p.run("edit", "account", "SYS", "--js-enable", "0").exits(4).complains("system account")
		p.run("edit", "account", "app", "--sk", "generate", "--info-url", "notaurl").exits(7)
		p.run("edit", "account", "app", "--tag", "x", "-K", "nosuch").exits(3)
		p.ok("edit", "account", "app", "--sk", "generate", "--dry-run").says("+ nats.signing_keys.new key", "dry run: nothing was changed")
	})
	p.ok("add", "user", "b", "-a", "app", "--bearer")
	p.unchanged(func() {
		p.run("edit", "account", "app", "--disallow-bearer").exits(5).complains("has bearer users: b", "nsc edit user b -a app --bearer=false")
	})
	p.ok("edit", "user", "b", "-a", "app", "--bearer=false")
	p.ok("edit", "account", "app", "--disallow-bearer")
	p.run("edit", "user", "b", "-a", "app", "--bearer").exits(4).complains("forbids bearer users")
}

// TestEditAccountSigningKeys: keys are made with their seeds, given as keys or
// files, and go for ever.
func TestEditAccountSigningKeys(t *testing.T) {
	t.Parallel()
	p := local(t)
	seeds := p.seedCount()
	p.ok("edit", "account", "app", "--sk", "generate").says("signing key A")
	_, ac := p.account("app")
	key := ac.SigningKeys.Keys()[0]
	if p.seedCount() != seeds+1 || !p.store().Keystore().HasSeed(key) {
		t.Error("the seed of the new key is not in the keystore")
	}
	pair, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sk.nk")
	if err := os.WriteFile(file, pair.Seed(), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ok("edit", "account", "app", "--sk", file)
	if _, ac = p.account("app"); !ac.SigningKeys.Contains(pair.PublicKey()) || p.seedCount() != seeds+1 {
		t.Error("a key given as a file is not there, or its seed was stored")
	}
	p.run("edit", "account", "app", "--sk", string(pair.Seed())).exits(2).complains("does not belong on the command line")
	p.ok("add", "user", "u", "-a", "app", "-K", key)
	near := key[:55] + "A"
	if near == key {
		near = key[:55] + "B"
	}
	p.run("edit", "account", "app", "--rm-sk", near).exits(3).complains("did you mean")
	p.ok("edit", "account", "app", "--rm-sk", key).
		says("retired for ever once this is published", keys.Short(key)).complains("it signed u, who can connect no more", "nsc add user u -a app --reissue")
	if _, ac = p.account("app"); ac.SigningKeys.Contains(key) {
		t.Error("the key is still there")
	}
	p.run("edit", "user", "u", "-a", "app", "--tag", "x").exits(4).complains("no longer has the key")
	p.ok("edit", "signing-key", "--sk", "generate", "--role", "r", "-a", "app")
	p.ok("edit", "user", "u", "-a", "app", "--tag", "x", "-K", "r")
	if _, uc := p.user("app", "u"); !uc.HasEmptyPermissions() || uc.Issuer == key {
		t.Errorf("%+v", uc)
	}
	p.ok("edit", "account", "app", "--rm-sk", "r").says(`of role "r"`)
	doc, _ := p.account("app")
	p.ok("edit", "account", "app", "--sk", "generate,generate")
	if next, ac := p.account("app"); len(ac.SigningKeys) != 3 || next.Issuer != doc.Issuer {
		t.Errorf("%d keys, issuer %s, before %s", len(ac.SigningKeys), next.Issuer, doc.Issuer)
	}
}

func TestEditAccountJetStream(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("edit", "account", "app", "--tag", "x")
	p.ok("edit", "account", "app", "--js-enable", "0")
	if _, ac := p.account("app"); ac.Limits.JetStreamLimits != (jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1}) {
		t.Errorf("%+v", ac.Limits.JetStreamLimits)
	}
	p.unchanged(func() {
		p.run("edit", "account", "app", "--js-tier", "3", "--js-disk-storage", "1G").exits(5).complains("--rm-js-tier 0")
		p.ok("edit", "account", "app", "--js-enable", "0").says("nothing to change")
	})
	p.ok("edit", "account", "app", "--rm-js-tier", "0")
	p.ok("edit", "account", "app", "--js-tier", "3", "--disk-storage", "1G", "--streams", "4") // old names
	p.ok("edit", "account", "app", "--js-enable", "1")
	_, ac := p.account("app")
	tiers := ac.Limits.JetStreamTieredLimits
	if len(tiers) != 2 || tiers["R3"].DiskStorage != 1e9 || tiers["R3"].Streams != 4 || tiers["R1"].DiskStorage != -1 {
		t.Errorf("%+v", tiers)
	}
	p.ok("describe", "account", "app").says("R1  memory unlimited", "R3  memory 0 B, disk 954 MiB, streams 4")
	p.ok("edit", "account", "app", "--js-disable")
	if _, ac := p.account("app"); ac.Limits.IsJSEnabled() {
		t.Errorf("%+v", ac.Limits)
	}
}

func TestEditSigningKey(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("edit", "signing-key", "--sk", "generate", "--role", "sensor", "-a", "app", "--allow-pub", "data.{{name()}}.>", "--subs", "20",
		"--description", "in the field").says("role sensor in app", "-K sensor")
	_, ac := p.account("app")
	key := ac.SigningKeys.Keys()[0]
	scope, ok := ac.SigningKeys[key].(*jwt.UserScope)
	want := jwt.NewUserScope()
	want.Key, want.Role, want.Description, want.Template.Subs = key, "sensor", "in the field", 20
	want.Template.Pub.Allow = jwt.StringList{"data.{{name()}}.>"}
	if diff := cmp.Diff(want, scope); !ok || diff != "" {
		t.Error(diff)
	}
	p.ok("add", "user", "s1", "-a", "app", "-K", "sensor")
	p.ok("edit", "signing-key", "sensor", "-a", "app", "--bearer", "--conn-type", "mqtt,standard")
	p.ok("edit", "signing-key", "--role", "sensor", "--source-network", "10.0.0.0/8")
	p.ok("edit", "signing-key", "--sk", key, "--role", "probe", "--rm-conn-type", "MQTT")
	_, ac = p.account("app")
	scope, _ = ac.SigningKeys[key].(*jwt.UserScope)
	if l := scope.Template; scope.Role != "probe" || !l.BearerToken || l.Subs != 20 || len(l.Src) != 1 || !slices.Equal(l.AllowedConnectionTypes, jwt.StringList{"STANDARD"}) {
		t.Errorf("%+v", scope)
	}
	p.unchanged(func() {
		p.ok("edit", "signing-key", "probe", "--subs", "20").says("nothing to change")
		p.run("edit", "signing-key", "prob", "--subs", "1").exits(3).complains(`did you mean "probe"`, "--sk generate --role prob")
		p.run("edit", "signing-key").exits(2)
		p.run("edit", "signing-key", "probe", "--sk", "generate").exits(2)
		p.run("edit", "signing-key", "probe", "--source-network", "1.2.3").exits(2).complains("is not a network")
		p.run("edit", "signing-key", "probe", "--conn-type", "LEAF").exits(2)
		p.run("edit", "user", "s1", "-a", "app", "--subs", "5").exits(7).complains("the role that signs user")
	})
	p.ok("edit", "user", "s1", "-a", "app", "--tag", "site:7")
	if doc, uc := p.user("app", "s1"); doc.Issuer != key || !uc.HasEmptyPermissions() || uc.Tags[0] != "site:7" {
		t.Errorf("%+v", uc)
	}
	p.ok("describe", "user", "s1", "-a", "app").says("by role probe", "publish    data.{{name()}}.>", "as its role says")
}

// TestEditSigningKeyOfAPlainKey: a plain key becomes a role, and the users that
// it signed are named.
func TestEditSigningKeyOfAPlainKey(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("edit", "account", "app", "--sk", "generate")
	_, ac := p.account("app")
	key := ac.SigningKeys.Keys()[0]
	p.ok("add", "user", "u", "-a", "app", "-K", key)
	p.ok("edit", "signing-key", key, "--role", "r").complains("refused until they are issued anew: u")
	p.ok("edit", "account", "app", "--sk", key).says("nothing to change")
	if _, ac = p.account("app"); ac.SigningKeys[key] == nil {
		t.Error("--sk took the scope of a role away")
	}
	p.ok("edit", "user", "u", "-a", "app", "--tag", "x") // its limits were the defaults: the role decides now
	if _, uc := p.user("app", "u"); !uc.HasEmptyPermissions() {
		t.Errorf("%+v", uc)
	}
	if strings.Contains(p.ok("list", "users", "-a", "app").out, "refused") {
		t.Error("the user is refused after it was issued anew")
	}
}

// An account with more than a limit is refused with what would give it room.
func TestMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "export", "-a", "app", "--subject", "s")
	p.unchanged(func() {
		p.run("edit", "account", "app", "--exports", "0").exits(7).
			complains("(blocking)", "nsc edit account app --exports 1", "nsc delete export -a app --subject")
	})
	p.ok("edit", "account", "app", "--exports", "1")
	p.unchanged(func() {
		p.run("add", "export", "-a", "app", "--subject", "t").exits(7).complains("nsc edit account app --exports 2")
	})
}
