package isolation_test

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/isolation"
)

// TestWhoIsMeant: names of accounts and users hold colons, users have no name,
// and who is not there stands for one who is issued now.
func TestWhoIsMeant(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, b, gone := newTenant("a"), newTenant("a:b"), newTenant("gone")
	for _, name := range []string{"", "c:d"} {
		u := a.newUser(name)
		u.claims.Pub.Deny.Add(">")
		a.sign(u, a.pair)
	}
	b.newUser("c").claims.Pub.Deny.Add(">")
	gone.claims.Revocations = jwt.RevocationList{jwt.All: now.Add(time.Hour).Unix()}
	cfg := isolation.Config{Now: now}
	for _, x := range []*tenantKeys{a, b, gone} {
		cfg.Accounts = append(cfg.Accounts, x.claims)
		for _, u := range x.users {
			cfg.Users = append(cfg.Users, u.claims)
		}
	}
	cfg.Users[2].Issuer = b.pub
	w := isolation.New(cfg)
	for who, want := range map[string]isolation.Result{
		"a": isolation.Delivered, "a:": isolation.Delivered, "a:nobody": isolation.Delivered, "a:c:d": isolation.PublishDenied,
		"a:" + a.users[0].pub: isolation.PublishDenied, b.pub + ":c": isolation.PublishDenied, "b": isolation.LoginRefused, "gone": isolation.LoginRefused,
	} {
		out := w.Flow(isolation.Flow{From: who, Subject: "x", To: "a"})
		if out.Result != want {
			t.Errorf("%q: %+v, want %s", who, out, want)
		}
	}
	only := isolation.New(isolation.Config{Now: now, Accounts: cfg.Accounts[1:], Users: cfg.Users})
	if out := only.Flow(isolation.Flow{From: "a:b:c", Subject: "x", To: "a:b"}); out.Result != isolation.PublishDenied {
		t.Errorf("an account's name with a colon: %+v", out)
	}
	if only.Account("a:b:c") != b.pub || w.Account("c") != "" {
		t.Errorf("%q, %q", only.Account("a:b:c"), w.Account("c"))
	}
}

// TestAnswerToWhatCameTwice: a request that comes through a service, and once
// more through a stream on another server, has one reply subject: the second
// arrival uses up the one answer that is allowed.
func TestAnswerToWhatCameTwice(t *testing.T) {
	t.Parallel()
	a := newTenant("a").exports(jwt.Service, "ask").exports(jwt.Stream, "ask")
	a.importing(jwt.Stream, a, "ask", "")
	b := newTenant("b").importing(jwt.Service, a, "ask", "")
	a.claims.DefaultPermissions.Resp = &jwt.ResponsePermission{MaxMsgs: 1}
	w := isolation.New(isolation.Config{Now: time.Now(), Accounts: []*jwt.AccountClaims{a.claims, b.claims}})
	for place, want := range map[isolation.Placement]isolation.Result{isolation.Together: isolation.Delivered, isolation.Apart: isolation.PublishDenied} {
		request := isolation.Flow{From: "b", Subject: "ask", Reply: "inbox", To: "a", Place: place}
		if out := w.Answer(request, isolation.Flow{To: "b", Pattern: "inbox"}); out.Result != want {
			t.Errorf("%s: %+v", place, out)
		}
	}
}
