package cli_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func TestEditUser(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	was, _ := p.user("app", "u")
	p.ok("edit", "user", "u", "-a", "app", "--allow-pub", "b,a", "--allow-pubsub", "c", "--deny-sub", "x q", "--allow-pub-response", "--response-ttl", "1m",
		"--payload", "1k", "--data", "1M", "--subs", "7", "--bearer", "--conn-type", "standard", "--conn-type", "MQTT", "--source-network", "10.0.0.0/8",
		"--time", "08:00:00-17:30:00", "--locale", "UTC", "--tag", "A:b", "--expiry", "2030-01-01").
		says("user u in app", "expires 2030-01-01 00:00 UTC", "credentials: ", "issued before stay valid", "nsc revoke user u -a app").
		complains("MQTT needs JetStream")
	doc, uc := p.user("app", "u")
	want := jwt.UserPermissionLimits{
		Permissions: jwt.Permissions{
			Pub: jwt.Permission{Allow: jwt.StringList{"a", "b", "c"}}, Sub: jwt.Permission{Allow: jwt.StringList{"c"}, Deny: jwt.StringList{"x q"}},
			Resp: &jwt.ResponsePermission{MaxMsgs: 1, Expires: 60e9},
		},
		Limits: jwt.Limits{
			UserLimits: jwt.UserLimits{Src: jwt.CIDRList{"10.0.0.0/8"}, Times: []jwt.TimeRange{{Start: "08:00:00", End: "17:30:00"}}, Locale: "UTC"},
			NatsLimits: jwt.NatsLimits{Subs: 7, Data: 1e6, Payload: 1000},
		},
		BearerToken: true, AllowedConnectionTypes: jwt.StringList{"STANDARD", "MQTT"},
	}
	if diff := cmp.Diff(want, uc.UserPermissionLimits); diff != "" {
		t.Error(diff)
	}
	if doc.Issuer != was.Issuer || doc.Subject != was.Subject || doc.IssuedAt < was.IssuedAt || uc.Tags[0] != "a:b" {
		t.Errorf("%+v", doc)
	}
	if creds := p.creds("app", "u"); creds != doc.Token {
		t.Error("the credentials do not hold the new JWT")
	}
	p.ok("edit", "user", "-a", "app", "--rm", "a,c,x q", "--rm-response-perms", "--bearer=false", "--rm-conn-type", "mqtt", "--rm-source-network", "10.0.0.0/8",
		"--rm-time", "08:00:00", "--rm-tag", "a:b", "--expiry", "0")
	_, uc = p.user("app", "u")
	if diff := cmp.Diff(jwt.StringList{"b"}, uc.Pub.Allow); diff != "" || uc.Resp != nil || uc.BearerToken || uc.Expires != 0 || uc.Subs != 7 ||
		len(uc.Src)+len(uc.Times)+len(uc.Tags)+len(uc.Sub.Allow)+len(uc.Sub.Deny) != 0 {
		t.Errorf("%s %+v", diff, uc)
	}
	p.unchanged(func() {
		p.ok("edit", "user", "u", "--bearer=false", "--subs", "7").says("nothing to change")
		p.ok("edit", "user", "u", "--subs", "8", "--dry-run").says("- nats.subs: 7", "+ nats.subs: 8", "nothing was changed")
		p.run("edit", "user", "u").exits(2)
		p.run("edit", "user", "v", "--subs", "8").exits(3)
		p.run("edit", "user", "u", "--source-network", "1.2.3").exits(2)
		p.run("edit", "user", "u", "--time", "8-9").exits(2)
		p.run("edit", "user", "u", "--locale", "Middle/Of/Nowhere").exits(2)
		p.run("edit", "user", "u", "--response-ttl", "-3s").exits(2)
		p.run("edit", "user", "u", "--rm-response-perms", "--allow-pub-response").exits(2)
	})
	p.ok("edit", "user", "u", "--locale", "UTC", "--time", "09:00:00-10:00:00", "--start", "-1d").says("nats.times")
}

// creds returns the JWT in the credentials file of a user.
func (p *person) creds(account, user string) string {
	p.t.Helper()
	data, err := p.store().Keystore().Creds(p.operatorName(), account, user)
	if err != nil {
		p.t.Fatal(err)
	}
	token, _, err := nscstore.ParseCreds(data)
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

// TestEditUserIsLaterThanItsRevocation: an edit of a revoked user is refused,
// unless it is to be issued anew: then, in the second of the revocation too,
// with a JWT that is not covered by it.
func TestEditUserIsLaterThanItsRevocation(t *testing.T) {
	t.Parallel()
	p := local(t)
	now := p.now()
	p.now = fixed(now)
	p.ok("add", "user", "u", "-a", "app")
	p.ok("revoke", "user", "u", "-a", "app")
	p.ok("describe", "user", "u").says("refused", "revoked")
	p.unchanged(func() {
		p.run("edit", "user", "u", "--tag", "x").exits(4).complains(`user "u" of account "app" is revoked, and an edit`,
			"nsc unrevoke user u -a app, or issue it anew on purpose with: nsc add user u -a app --reissue")
		p.run("edit", "user", "u", "--tag", "x", "--dry-run").exits(4)
		var m mutation
		p.ok("edit", "user", "u", "--tag", "x", "--dry-run", "--reissue", "--json").json(&m)
		if len(m.Warnings) != 1 || m.Warnings[0] != "u was revoked; this issues it anew" {
			t.Errorf("%+v", m)
		}
	})
	out := p.ok("edit", "user", "u", "--tag", "x", "--reissue").says("credentials issued before stay refused").complains("u was revoked; this issues it anew").out
	if strings.Contains(out, "stay valid") {
		t.Errorf("what was revoked is said to be valid:\n%s", out)
	}
	if doc, uc := p.user("app", "u"); doc.IssuedAt != now.Unix()+1 || len(uc.Tags) != 1 {
		t.Errorf("issued at %d, the revocation is of %d, tags %v", doc.IssuedAt, now.Unix(), uc.Tags)
	}
	if strings.Contains(p.ok("describe", "user", "u").out, "refused") {
		t.Error("the user is still revoked")
	}
	p.ok("edit", "user", "u", "--tag", "y").says("stay valid")
}

// TestEditUserThatAllUsersCover: the revocation of everyone is one, too, and
// --reissue needs no other change.
func TestEditUserThatAllUsersCover(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	p.ok("revoke", "user", "*", "-a", "app")
	p.unchanged(func() {
		p.run("edit", "user", "u", "--tag", "x").exits(4).complains("is revoked with all users (*)", "nsc unrevoke user '*' -a app")
	})
	p.ok("edit", "user", "u", "--reissue").complains("u was revoked; this issues it anew")
	_, ac := p.account("app")
	if doc, _ := p.user("app", "u"); doc.IssuedAt <= ac.Revocations["*"] {
		t.Errorf("issued at %d, the revocation is of %d", doc.IssuedAt, ac.Revocations["*"])
	}
}

// TestNothingIsIssuedAfterARevocationInTheFuture: older tools made such, and
// no credentials are written that are dated ahead of the clock.
func TestNothingIsIssuedAfterARevocationInTheFuture(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	now := p.now()
	p.now = fixed(now.Add(time.Hour))
	p.ok("revoke", "user", "u", "-a", "app")
	p.now = fixed(now)
	p.unchanged(func() {
		p.run("edit", "user", "u", "--tag", "x", "--reissue").exits(4).complains(`the revocation of user "u" refuses`, "in the future", "nsc unrevoke user u -a app")
		p.run("add", "user", "u", "-a", "app", "--reissue").exits(4).complains("in the future")
	})
	p.now = fixed(now.Add(time.Hour))
	p.ok("revoke", "user", "*", "-a", "app")
	p.now = fixed(now)
	p.unchanged(func() {
		p.run("add", "user", "v", "-a", "app").exits(4).complains("the revocation of all users (*)", "nsc unrevoke user '*' -a app")
	})
}

// TestEditUserWithoutItsSeed: the JWT is signed anew, and nothing claims that
// there are credentials.
func TestEditUserWithoutItsSeed(t *testing.T) {
	t.Parallel()
	p := local(t)
	pair, err := keys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	p.ok("add", "user", "u", "-a", "app", "-k", pair.PublicKey())
	out := p.ok("edit", "user", "u", "--subs", "3").says("the seed of the user is not here", "nsc describe user u -a app --raw").out
	if strings.Contains(out, "credentials: ") {
		t.Errorf("credentials are named:\n%s", out)
	}
	path, err := p.store().Keystore().CredsPath("acme", "app", "u")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a credentials file without a seed was written")
	}
	p.run("generate", "creds", "-n", "u").exits(3).complains("is not in the keystore")
}

// TestParallelEditsOfAUser: each waits for the other, and none is lost.
func TestParallelEditsOfAUser(t *testing.T) {
	t.Parallel()
	p := local(t)
	p.ok("add", "user", "u", "-a", "app")
	const n = 12
	results := make([]result, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i] = p.run("edit", "user", "u", "-a", "app", "--tag", "t"+string(rune('a'+i))) })
	}
	wg.Wait()
	for _, r := range results {
		r.exits(0)
	}
	if _, uc := p.user("app", "u"); len(uc.Tags) != n {
		t.Errorf("%d of %d tags are there: %v", len(uc.Tags), n, uc.Tags)
	}
}
