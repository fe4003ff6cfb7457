package accounts_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
)

// login is a user that servers accept, of an account with JetStream.
func login(t testing.TB) (accounts.Login, time.Time) {
	t.Helper()
	op, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	account, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	user, err := keys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	ac := jwt.NewAccountClaims(account.PublicKey())
	ac.Name, ac.Issuer = "app", op.PublicKey()
	uc := jwt.NewUserClaims(user.PublicKey())
	uc.Name, uc.Issuer, uc.IssuedAt = "one", ac.Subject, now.Unix()-10
	return accounts.Login{Trust: operator.Trust{Key: keys.Operator(op.PublicKey())}, Account: ac, User: uc}, now
}

func TestJudge(t *testing.T) {
	t.Parallel()
	other, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	role := func(l *accounts.Login, change func(*jwt.UserScope)) {
		us := jwt.NewUserScope()
		us.Key, us.Role = other.PublicKey(), "r"
		change(us)
		l.Account.SigningKeys.AddScopedSigner(us)
		l.User.Issuer, l.User.IssuerAccount, l.User.UserPermissionLimits = us.Key, l.Account.Subject, jwt.UserPermissionLimits{}
	}
	for _, c := range []struct {
		name   string
		rule   string // of the first refusal, "" for none
		change func(*accounts.Login, time.Time)
	}{
		{name: "as it is", change: func(*accounts.Login, time.Time) {}},
		{name: "expires now", rule: "expired", change: func(l *accounts.Login, now time.Time) { l.User.Expires = now.Unix() }},
		{name: "expires soon", change: func(l *accounts.Login, now time.Time) { l.User.Expires = now.Unix() + 1 }},
		{name: "invalid permission", rule: "user-claims", change: func(l *accounts.Login, _ time.Time) { l.User.Pub.Allow.Add("a..b") }},
		{name: "proxy", rule: "proxy", change: func(l *accounts.Login, _ time.Time) { l.User.ProxyRequired = true }},
		{name: "role wants a proxy", rule: "proxy", change: func(l *accounts.Login, _ time.Time) {
			role(l, func(us *jwt.UserScope) { us.Template.ProxyRequired = true })
		}},
		{name: "no account", rule: "no-account", change: func(l *accounts.Login, _ time.Time) { l.Account = nil }},
		{name: "foreign operator", rule: "account-chain", change: func(l *accounts.Login, _ time.Time) { l.Account.Issuer = "OFOREIGN" }},
		{name: "root key of a strict operator", rule: "account-chain", change: func(l *accounts.Login, _ time.Time) { l.Trust.Strict = true }},
		{name: "invalid account", rule: "account-claims", change: func(l *accounts.Login, _ time.Time) {
			l.Account.Exports.Add(&jwt.Export{Subject: "q", Type: jwt.Service}, &jwt.Export{Subject: "q", Type: jwt.Service})
		}},
		{name: "account of tomorrow", rule: "account-not-yet-valid", change: func(l *accounts.Login, now time.Time) { l.Account.NotBefore = now.Unix() + 1 }},
		{name: "unknown signer", rule: "issuer", change: func(l *accounts.Login, _ time.Time) {
			l.User.Issuer, l.User.IssuerAccount = other.PublicKey(), l.Account.Subject
		}},
		{name: "role", change: func(l *accounts.Login, _ time.Time) { role(l, func(*jwt.UserScope) {}) }},
		{name: "role and own limits", rule: "scope", change: func(l *accounts.Login, _ time.Time) {
			role(l, func(*jwt.UserScope) {})
			l.User.Subs = 3
		}},
		{name: "unknown function", rule: "template", change: func(l *accounts.Login, _ time.Time) {
			role(l, func(us *jwt.UserScope) { us.Template.Pub.Allow.Add("a.{{nonsense()}}") })
		}},
		{name: "revoked in the second", rule: "revoked", change: func(l *accounts.Login, _ time.Time) {
			l.Account.RevokeAt(l.User.Subject, time.Unix(l.User.IssuedAt, 0))
		}},
		{name: "revoked before", change: func(l *accounts.Login, _ time.Time) {
			l.Account.RevokeAt(l.User.Subject, time.Unix(l.User.IssuedAt-1, 0))
		}},
		{name: "all revoked", rule: "revoked-all", change: func(l *accounts.Login, now time.Time) { l.Account.RevokeAt("*", now) }},
		{name: "unknown types", rule: "connection-types", change: func(l *accounts.Login, _ time.Time) { l.User.AllowedConnectionTypes.Add("CARRIER_PIGEON") }},
		{name: "in the hours", change: func(l *accounts.Login, _ time.Time) {
			l.User.Locale, l.User.Times = "Europe/Berlin", []jwt.TimeRange{{Start: "13:00:00", End: "13:00:01"}}
		}},
		{name: "out of the hours", rule: "times", change: func(l *accounts.Login, _ time.Time) {
			l.User.Locale, l.User.Times = "UTC", []jwt.TimeRange{{Start: "13:00:00", End: "13:00:01"}}
		}},
		{name: "one digit", change: func(l *accounts.Login, _ time.Time) {
			l.User.Locale, l.User.Times = "UTC", []jwt.TimeRange{{Start: "9:00:00", End: "13:00:01"}}
		}},
		{name: "hours that servers cannot read", rule: "times", change: func(l *accounts.Login, _ time.Time) {
			role(l, func(us *jwt.UserScope) { us.Template.Times = []jwt.TimeRange{{Start: "00:00:00", End: "24:00:00"}} })
		}},
		{name: "over midnight", change: func(l *accounts.Login, _ time.Time) {
			l.User.Locale, l.User.Times = "UTC", []jwt.TimeRange{{Start: "11:00:00", End: "03:00:00"}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, now := login(t)
			c.change(&l, now)
			v := accounts.Judge(l, now)
			if v.Accepted() != (c.rule == "") {
				t.Errorf("accepted: %t, by %+v", v.Accepted(), v.Refusals)
			}
			if c.rule != "" && (len(v.Refusals) == 0 || v.Refusals[0].Rule != c.rule || v.Refusals[0].Help == "") {
				t.Errorf("refused by %+v, want %s", v.Refusals, c.rule)
			}
		})
	}
}

// TestJudgeCallout: the service decides about everybody but its own users.
func TestJudgeCallout(t *testing.T) {
	t.Parallel()
	l, now := login(t)
	service, err := keys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	l.Account.Authorization.AuthUsers.Add(service.PublicKey())
	if v := accounts.Judge(l, now); !v.Callout {
		t.Error("the service does not decide")
	}
	l.User.Subject = service.PublicKey()
	if v := accounts.Judge(l, now); v.Callout || !v.Accepted() {
		t.Errorf("the service's own user: %+v", v)
	}
}

func ExampleJudge() {
	now := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	app := jwt.NewAccountClaims("the account's key")
	app.Issuer = "the operator's key"
	app.DefaultPermissions.Pub.Allow.Add("out.>")
	app.Limits.LeafNodeConn = 0
	user := jwt.NewUserClaims("the user's key")
	user.Issuer = app.Subject

	login := accounts.Login{Trust: operator.Trust{Key: "the operator's key"}, Account: app, User: user}
	v := accounts.Judge(login, now)
	fmt.Println(v.Accepted(), v.Source, v.May.Pub.Allow)
	for _, d := range v.Doors {
		if d.Type == jwt.ConnectionTypeLeafnode {
			fmt.Println(d.Type+":", d.Why)
		}
	}
	app.RevokeAt(jwt.All, now)
	fmt.Println(accounts.Judge(login, now).Refusals[0].Rule)
	// Output:
	// true account [out.>]
	// LEAFNODE: the account allows no leaf nodes
	// revoked-all
}
