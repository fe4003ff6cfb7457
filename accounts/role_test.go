package accounts_test

import (
	"slices"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
)

const roleKey = "AB6SVL7TUB6KEVWYJUGBRKTEH5WEEKLNXKKBZGJSAX6KRBI7PPSD4FSP"

// withRole is an account that has one role.
func withRole(p jwt.Permissions) *jwt.AccountClaims {
	ac := jwt.NewAccountClaims("ADHW")
	ac.Name = "coke"
	scope := jwt.NewUserScope()
	scope.Key, scope.Role, scope.Template.Permissions = roleKey, "r", p
	ac.SigningKeys.AddScopedSigner(scope)
	return ac
}

func allowing(pub ...string) jwt.Permissions {
	return jwt.Permissions{Pub: jwt.Permission{Allow: pub}, Sub: jwt.Permission{Deny: jwt.StringList{">"}}}
}

// TestLiteralNames: what a template takes in is a literal token, and what it
// does not take in may be anything.
func TestLiteralNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		subject, user string
		tags          []string
		ok            bool
	}{
		{"coke.{{name()}}", "d1", nil, true},
		{"coke.{{name()}}", "Grüße@home", nil, true},
		{"coke.{{name()}}", ">", nil, false},
		{"coke.{{name()}}", "*", nil, false},
		{"coke.{{ Name() }}", "a.b", nil, false},
		{"coke.x{{name()}}y", "a*", nil, false},
		{"coke.{{name()}}", "", nil, false},
		{"coke.{{name()}}", "a\u00a0b", nil, false},
		{"coke.{{name()}}", "{{subject()}}", nil, false},
		{"coke.{{subject()}}", ">", nil, true},
		{"coke.{{tag(site)}}", ">", []string{"site:7", "room:>"}, true},
		{"coke.{{tag(site)}}", "d1", []string{"site:7", "site:>"}, false},
		{"coke.{{tag(site)}}", "d1", []string{"site:a.b"}, false},
		{"coke.x", ">", nil, true},
	} {
		ac := withRole(allowing(c.subject))
		uc := jwt.NewUserClaims("U")
		uc.Name, uc.Tags = c.user, c.tags
		err := accounts.CheckLiteral(uc, ac, ac.SigningKeys[roleKey])
		if (err == nil) != c.ok || err != nil && fault.As(err).Rule != "literal" {
			t.Errorf("%q with tags %v under %s: %v", c.user, c.tags, c.subject, err)
		}
	}
}

// TestAccountsThatWidenRoles: a version may not widen a role by the account's
// name and tags; one that leaves what there was is as good as before.
func TestAccountsThatWidenRoles(t *testing.T) {
	t.Parallel()
	named := func(name string, tags ...string) *jwt.AccountClaims {
		ac := withRole(allowing("{{account-name()}}.x", "t.{{account-tag(region)}}.x"))
		ac.Name, ac.Tags = name, tags
		return ac
	}
	for name, c := range map[string]struct {
		before, after *jwt.AccountClaims
		ok            bool
	}{
		"a literal name":         {nil, named("coke"), true},
		"a wildcard":             {nil, named("*"), false},
		"a rename":               {named("coke"), named("a.b"), false},
		"a tag":                  {named("coke"), named("coke", "region:>"), false},
		"another tag":            {named("coke"), named("coke", "other:>"), true},
		"one that was there":     {named("a.b"), named("a.b", "other:x"), true},
		"one that was, and more": {named("a.b"), named("a.b", "region:*"), false},
	} {
		if err := accounts.CheckRoles(c.before, c.after); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReach(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p        jwt.Permissions
		bearer   bool
		pub, sub []string
	}{
		{jwt.Permissions{}, false, []string{">"}, []string{">"}},
		{allowing("coke.{{name()}}.>"), false, []string{"coke.>"}, nil},
		{allowing("coke.{{tag(a.b)}}.x"), false, []string{"coke.>"}, nil},
		{allowing("a.x{{name()}}", "a.b.c", "d"), false, []string{"a.>", "d"}, nil},
		{allowing("coke.{{subject()}}.x"), false, []string{"coke.{{subject()}}.x"}, nil},
		{allowing("coke.{{subject()}}.x"), true, []string{"coke.*.x"}, nil},
		{allowing("{{account-name()}}.x"), true, []string{"{{account-name()}}.x"}, nil},
		{jwt.Permissions{Sub: jwt.Permission{Allow: jwt.StringList{"a.*", "b.*.c q", "c.x*"}}}, false, []string{">"}, []string{"a.>", "b.*.c", "c.x*"}},
		{jwt.Permissions{Resp: &jwt.ResponsePermission{}, Sub: jwt.Permission{Allow: jwt.StringList{"*"}}}, false, nil, []string{">"}},
	} {
		limits := jwt.UserPermissionLimits{Permissions: c.p}
		limits.BearerToken = c.bearer
		got := accounts.ReachOf(withRole(c.p), limits)
		if !slices.Equal(got.Publish, c.pub) || !slices.Equal(got.Subscribe, c.sub) {
			t.Errorf("%+v: publish %v, subscribe %v", c.p, got.Publish, got.Subscribe)
		}
	}
}

// TestConfine: the defaults deny all, and only that is taken back.
func TestConfine(t *testing.T) {
	t.Parallel()
	ac := withRole(jwt.Permissions{Pub: jwt.Permission{Allow: jwt.StringList{"x"}}})
	ac.DefaultPermissions.Pub.Deny = jwt.StringList{"admin.>"}
	ac.DefaultPermissions.Resp = &jwt.ResponsePermission{MaxMsgs: 1}
	yes, no := true, false
	for range 2 {
		if err := (accounts.Edit{Confine: &yes}).Apply(ac); err != nil {
			t.Fatal(err)
		}
	}
	p := ac.DefaultPermissions
	if !slices.Equal(p.Pub.Deny, []string{"admin.>", ">"}) || !slices.Equal(p.Sub.Deny, []string{">"}) || p.Resp != nil {
		t.Errorf("confined: %+v", p)
	}
	if err := (accounts.Edit{Confine: &no}).Apply(ac); err != nil {
		t.Fatal(err)
	}
	if p := ac.DefaultPermissions; !slices.Equal(p.Pub.Deny, []string{"admin.>"}) || p.Sub.Deny != nil {
		t.Errorf("no more: %+v", p)
	}
	if err := (accounts.Edit{Confine: &yes, System: true}).Apply(ac); !fault.Is(err, fault.Denied) {
		t.Errorf("the system account: %v", err)
	}
	if err := (accounts.RoleEdit{Key: roleKey, Confine: true}).Apply(ac); err != nil {
		t.Fatal(err)
	}
	t1 := accounts.RoleOf(ac, roleKey).Template
	if open := accounts.Open(t1.Permissions); open != nil || len(t1.Pub.Deny) > 0 || !slices.Equal(t1.Sub.Deny, []string{">"}) {
		t.Errorf("the role: %v open, %+v", open, t1.Permissions)
	}
}
