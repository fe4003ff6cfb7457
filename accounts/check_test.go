package accounts_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
)

const checkNow = 1_800_000_000

// ring has the keys of an operator with a signing key, and of an account with a
// plain signing key and a role.
type ring struct {
	root, signing       keys.OperatorPair
	account, plain, rol keys.AccountPair
	user                keys.UserPair
}

func newRing(t *testing.T) ring {
	t.Helper()
	return ring{
		get(t, keys.NewOperator), get(t, keys.NewOperator),
		get(t, keys.NewAccount), get(t, keys.NewAccount), get(t, keys.NewAccount),
		get(t, keys.NewUser),
	}
}

func get[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func sign[T claims.Typed](t *testing.T, c *T, by claims.Signer, at int64) *claims.Document {
	t.Helper()
	draft, err := claims.New(c)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := draft.Sign(by, at)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func (r ring) operatorClaims() *jwt.OperatorClaims {
	oc := jwt.NewOperatorClaims(r.root.PublicKey())
	oc.Name, oc.SystemAccount = "acme", r.plain.PublicKey()
	oc.SigningKeys.Add(r.signing.PublicKey())
	return oc
}

func (r ring) accountClaims() *jwt.AccountClaims {
	ac := jwt.NewAccountClaims(r.account.PublicKey())
	ac.Name = "app"
	ac.SigningKeys.Add(r.plain.PublicKey())
	scope := jwt.NewUserScope()
	scope.Key, scope.Role = r.rol.PublicKey(), "sensor"
	ac.SigningKeys.AddScopedSigner(scope)
	return ac
}

func (r ring) userClaims() *jwt.UserClaims {
	uc := jwt.NewUserClaims(r.user.PublicKey())
	uc.Name, uc.IssuerAccount = "u", r.account.PublicKey()
	return uc
}

// wantRules checks the rules of problems, those of warnings in brackets.
func wantRules(t *testing.T, what string, got []accounts.Problem, want ...string) {
	t.Helper()
	var rules []string
	for _, p := range got {
		if p.Warning {
			p.Rule = "[" + p.Rule + "]"
		}
		rules = append(rules, p.Rule)
	}
	if !slices.Equal(rules, want) {
		t.Errorf("%s: problems %q, want %q: %+v", what, rules, want, got)
	}
}

func TestOperatorProblems(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	stranger := get(t, keys.NewOperator)
	for _, c := range []struct {
		what string
		edit func(*jwt.OperatorClaims)
		by   claims.Signer
		at   int64
		want []string
	}{
		{what: "sound"},
		{what: "signing key", by: r.signing, want: []string{"[root key]"}},
		{what: "stranger", by: stranger, want: []string{"chain"}},
		{what: "expired", edit: func(c *jwt.OperatorClaims) { c.Expires = checkNow }, want: []string{"expired"}},
		{what: "not yet", edit: func(c *jwt.OperatorClaims) { c.NotBefore = checkNow + 1 }, want: []string{"not yet valid"}},
		{what: "future", at: checkNow + 301, want: []string{"[future]"}},
		{what: "strict", edit: func(c *jwt.OperatorClaims) { c.SigningKeys, c.StrictSigningKeyUsage = nil, true }, want: []string{"strict"}},
		{what: "no system account", edit: func(c *jwt.OperatorClaims) { c.SystemAccount = "" }, want: []string{"[system account]"}},
		{what: "name", edit: func(c *jwt.OperatorClaims) { c.Name = "../x" }, want: []string{"name-separator"}},
		{what: "URL", edit: func(c *jwt.OperatorClaims) { c.AccountServerURL = "what" }, want: []string{"blocking"}},
	} {
		oc := r.operatorClaims()
		if c.edit != nil {
			c.edit(oc)
		}
		var by claims.Signer = r.root
		if c.by != nil {
			by = c.by
		}
		if c.at == 0 {
			c.at = checkNow
		}
		wantRules(t, c.what, accounts.OperatorProblems(sign(t, oc, by, c.at), checkNow), c.want...)
	}
}

func TestAccountProblems(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	for _, c := range []struct {
		what  string
		edit  func(*jwt.AccountClaims)
		trust func(*operator.Trust)
		by    claims.Signer
		want  []string
	}{
		{what: "sound", by: r.signing},
		{what: "by the root key", by: r.root},
		{what: "strict", by: r.root, trust: func(t *operator.Trust) { t.Strict = true }, want: []string{"chain"}},
		{what: "self-signed", by: r.account, want: []string{"chain", "[advice]"}},
		{what: "system account", by: r.signing, trust: func(t *operator.Trust) { t.SystemAccount = r.account.PublicKey() },
			edit: func(c *jwt.AccountClaims) { c.Limits.DiskStorage = -1 }, want: []string{"system account"}},
		{what: "export", by: r.signing, edit: func(c *jwt.AccountClaims) {
			c.Exports.Add(&jwt.Export{Subject: "a.>", Type: jwt.Service}, &jwt.Export{Subject: "a.b", Type: jwt.Service})
		}, want: []string{"blocking"}},
		{what: "import", by: r.signing, edit: func(c *jwt.AccountClaims) {
			c.Imports.Add(&jwt.Import{Account: r.plain.PublicKey(), Subject: "x", Type: jwt.Stream})
		}, want: []string{"[incomplete]"}},
		{what: "names", by: r.signing, edit: func(c *jwt.AccountClaims) { c.Name = r.plain.PublicKey() }, want: []string{"name-key"}},
	} {
		trust, err := operator.TrustOf(sign(t, r.operatorClaims(), r.root, checkNow))
		if err != nil {
			t.Fatal(err)
		}
		ac := r.accountClaims()
		if c.edit != nil {
			c.edit(ac)
		}
		if c.trust != nil {
			c.trust(&trust)
		}
		none := func(string) *jwt.AccountClaims { return nil }
		wantRules(t, c.what, accounts.AccountProblems(sign(t, ac, c.by, checkNow), &trust, none, checkNow), c.want...)
	}
}

func TestUserProblems(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	strict := operator.Trust{Strict: true}
	for _, c := range []struct {
		what  string
		edit  func(*jwt.UserClaims, *jwt.AccountClaims)
		by    claims.Signer
		trust *operator.Trust
		want  []string
	}{
		{what: "by the account", by: r.account},
		{what: "by a signing key", by: r.plain, trust: &strict},
		{what: "strict", by: r.account, trust: &strict, want: []string{"strict"}},
		{what: "of a role", by: r.rol, edit: func(u *jwt.UserClaims, _ *jwt.AccountClaims) { u.UserPermissionLimits = jwt.UserPermissionLimits{} }},
		{what: "of a role with limits", by: r.rol, want: []string{"scope"}},
		{what: "key gone", by: r.plain, edit: func(_ *jwt.UserClaims, a *jwt.AccountClaims) { delete(a.SigningKeys, r.plain.PublicKey()) }, want: []string{"chain"}},
		{what: "no issuer account", by: r.plain, edit: func(u *jwt.UserClaims, _ *jwt.AccountClaims) { u.IssuerAccount = "" }, want: []string{"chain"}},
		{what: "revoked", by: r.account, edit: func(u *jwt.UserClaims, a *jwt.AccountClaims) { a.RevokeAt(u.Subject, time.Unix(checkNow, 0)) }, want: []string{"[revoked]"}},
		{what: "bearer", by: r.account, edit: func(u *jwt.UserClaims, a *jwt.AccountClaims) { u.BearerToken, a.Limits.DisallowBearer = true, true }, want: []string{"bearer"}},
		{what: "expired", by: r.account, edit: func(u *jwt.UserClaims, _ *jwt.AccountClaims) { u.Expires = 1 }, want: []string{"expired"}},
	} {
		ac, uc := r.accountClaims(), r.userClaims()
		if c.edit != nil {
			c.edit(uc, ac)
		}
		doc := sign(t, uc, c.by, checkNow)
		wantRules(t, c.what, accounts.UserProblems(doc, ac, c.trust, checkNow), c.want...)
		if len(c.want) > 0 && c.want[0] == "chain" {
			wantRules(t, c.what+", alone", accounts.UserProblems(doc, nil, nil, checkNow))
		}
	}
}
