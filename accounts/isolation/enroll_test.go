package isolation_test

import (
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/accounts/isolation"
)

// TestTokensReachAccountdAlone: what enrolment adds to two accounts lets the
// users of neither affect the other, and a token reach nothing but accountd.
func TestTokensReachAccountdAlone(t *testing.T) {
	t.Parallel()
	sys := newTenant("SYS")
	sys.claims.Exports.Add(fleet.EnrollExport())
	coke, pepsi := newTenant("coke"), newTenant("pepsi")
	devices := fleet.Fleet{Name: "devices", Cohorts: 1, TTL: time.Hour, Confine: fleet.ByID}
	group := newTenant("group").claims.Subject // any key of an account
	for _, a := range []*tenantKeys{coke, pepsi} {
		template, err := devices.Template(a.claims)
		if err != nil {
			t.Fatal(err)
		}
		if err := fleet.Add(a.claims, devices, template, []string{newTenant("cohort").claims.Subject}); err != nil {
			t.Fatal(err)
		}
		fleet.Reach(a.claims, sys.claims.Subject)
	}
	if err := devices.AddGroup(coke.claims, "phones", group); err != nil {
		t.Fatal(err)
	}
	token := jwt.NewUserClaims(newPair(nkeys.PrefixByteUser).pub)
	token.Name, token.Issuer, token.IssuerAccount = "token", group, coke.claims.Subject
	token.UserPermissionLimits = jwt.UserPermissionLimits{}
	w := isolation.New(isolation.Config{
		System: sys.claims.Subject, Now: time.Now(), Users: []*jwt.UserClaims{token},
		Accounts: []*jwt.AccountClaims{sys.claims, coke.claims, pepsi.claims},
	})
	want(t, w, "coke", "pepsi", "", "")

	flow := func(subject, to, pattern string) isolation.Result {
		return w.Flow(isolation.Flow{From: "coke:token", Subject: subject, To: to, Pattern: pattern}).Result
	}
	own := fleet.EnrollSubject + "." + coke.claims.Subject
	if got := w.Flow(isolation.Flow{From: "coke:token", Subject: fleet.EnrollSubject, To: "SYS", Pattern: fleet.EnrollSubject + ".*"}); got.Result != isolation.Delivered || len(got.Subjects) != 1 || got.Subjects[0] != own {
		t.Errorf("to accountd: %+v", got)
	}
	for _, subject := range []string{own, fleet.EnrollSubject + "." + pepsi.claims.Subject, "coke.x", "accountd.v1.claims.put", "$SYS.REQ.USER.INFO", "_INBOX.x"} {
		if got := flow(subject, "coke", ">"); got != isolation.PublishDenied {
			t.Errorf("a token publishes %s: %s", subject, got)
		}
	}
	for _, pattern := range []string{"coke.phone-1.x", ">", "_INBOX.>", fleet.EnrollSubject} {
		got := w.Flow(isolation.Flow{From: "coke", Subject: "coke.phone-1.x", To: "coke:token", Pattern: pattern})
		if got.Result != isolation.SubscribeDenied {
			t.Errorf("a token subscribes to %s: %+v", pattern, got)
		}
	}
}
