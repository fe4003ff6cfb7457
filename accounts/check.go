package accounts

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/revocation"
)

// Problem is something wrong with a claim. Servers refuse what has a problem,
// unless it is a warning.
type Problem struct {
	Rule    string // short stable name, as in errors
	Text    string
	Warning bool
}

// problems collects what is wrong with one claim.
type problems []Problem

func (p *problems) add(rule, format string, args ...any) {
	*p = append(*p, Problem{Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (p *problems) warn(rule, format string, args ...any) {
	*p = append(*p, Problem{Rule: rule, Text: fmt.Sprintf(format, args...), Warning: true})
}

// fail adds err under its own rule; nil adds nothing.
func (p *problems) fail(err error) {
	if f := fault.As(err); f != nil {
		p.add(f.Rule, "%s", f.Msg)
	} else if err != nil {
		p.add("", "%s", err)
	}
}

// issues adds what the library of the servers finds, but for times, which are
// looked at here.
func (p *problems) issues(vr *jwt.ValidationResults) {
	for _, issue := range vr.Issues {
		text := strings.TrimRight(issue.Description, ".")
		seen := slices.ContainsFunc(*p, func(q Problem) bool { return q.Text == text })
		switch {
		case issue.TimeCheck || seen:
		case issue.Blocking:
			p.add("blocking", "%s", text)
		default:
			p.warn("advice", "%s", text)
		}
	}
}

// maxSkew is how far the clock of a signer may be ahead, in seconds.
const maxSkew = 300

// common checks what all claims have: a name that can be one, and times.
func (p *problems) common(d *claims.Document, now int64) {
	if d.Name == "" {
		p.warn("name-empty", "it has no name")
	} else {
		p.fail(claims.CheckName(d.Type, d.Name))
	}
	*p = append(*p, TimeProblems(d, now)...)
}

// TimeProblems returns what is wrong with the times of any claim.
func TimeProblems(d *claims.Document, now int64) []Problem {
	var p problems
	if d.Expires > 0 && d.Expires <= now {
		p.add("expired", "it has expired")
	}
	if d.Starts > now {
		p.add("not yet valid", "it is not valid yet")
	}
	if d.IssuedAt > now+maxSkew {
		p.warn("future", "it is issued in the future")
	}
	return p
}

// Of returns the key of the account that a user belongs to, "" for claims that
// are not a user's.
func Of(user *claims.Document) string {
	uc, err := claims.As[jwt.UserClaims](user)
	switch {
	case err != nil:
		return ""
	case uc.IssuerAccount != "":
		return uc.IssuerAccount
	}
	return uc.Issuer
}

// OperatorProblems returns what is wrong with an operator at the time now, Unix
// seconds.
func OperatorProblems(d *claims.Document, now int64) []Problem {
	var p problems
	oc, err := claims.As[jwt.OperatorClaims](d)
	if err != nil {
		p.fail(err)
		return p
	}
	p.common(d, now)
	switch {
	case d.Issuer == d.Subject:
	case slices.Contains(oc.SigningKeys, d.Issuer):
		p.warn("root key", "it is signed by a signing key, and accountd takes it from the root key only")
	default:
		p.add("chain", "it is signed by %s, which is no key of it", keys.Short(d.Issuer))
	}
	if oc.StrictSigningKeyUsage && len(oc.SigningKeys) == 0 {
		p.add("strict", "it requires signing keys and has none")
	}
	if oc.SystemAccount == "" {
		p.warn("system account", "it has no system account")
	}
	vr := jwt.CreateValidationResults()
	oc.Validate(vr)
	p.issues(vr)
	return p
}

// AccountProblems returns what is wrong with an account at the time now. The
// chain is not looked at without trust, nor are imports without lookup.
func AccountProblems(d *claims.Document, trust *operator.Trust, lookup Lookup, now int64) []Problem {
	var p problems
	ac, err := claims.As[jwt.AccountClaims](d)
	if err != nil {
		p.fail(err)
		return p
	}
	p.common(d, now)
	if trust != nil {
		p.fail(trust.CheckIssuer(d.Issuer))
		if trust.SystemAccount == d.Subject && ac.Limits.IsJSEnabled() {
			p.add("system account", "it is the system account and has JetStream, which servers do not start with")
		}
	}
	if len(d.Token) > claims.MaxToken/2 {
		p.warn("size", "it has %d bytes, and servers accept %d", len(d.Token), claims.MaxToken)
	}
	vr := jwt.CreateValidationResults()
	ac.Validate(vr)
	p.issues(vr)
	if lookup != nil {
		for _, finding := range Findings(ac, lookup, now) {
			p.warn("incomplete", "%s", finding)
		}
	}
	return p
}

// UserProblems returns what is wrong with a user of the account ac at the time
// now. Without ac the chain is not looked at, without trust strict mode is not.
func UserProblems(d *claims.Document, ac *jwt.AccountClaims, trust *operator.Trust, now int64) []Problem {
	var p problems
	uc, err := claims.As[jwt.UserClaims](d)
	if err != nil {
		p.fail(err)
		return p
	}
	p.common(d, now)
	vr := jwt.CreateValidationResults()
	uc.Validate(vr)
	p.issues(vr)
	if ac != nil {
		p.userOf(uc, ac, trust != nil && trust.Strict)
	}
	return p
}

func (p *problems) userOf(uc *jwt.UserClaims, ac *jwt.AccountClaims, strict bool) {
	scope, signs := ac.SigningKeys[uc.Issuer]
	switch {
	case uc.Issuer == ac.Subject && strict:
		p.add("strict", "it is signed by the account's own key, but the operator requires signing keys")
	case uc.Issuer == ac.Subject:
	case !signs:
		p.add("chain", "it is signed by %s, which is no key of account %s", keys.Short(uc.Issuer), ac.Name)
	case uc.IssuerAccount != ac.Subject:
		p.add("chain", "it does not name account %s as its issuer", ac.Name)
	}
	if role, _ := scope.(*jwt.UserScope); role != nil && !uc.HasEmptyPermissions() {
		p.add("scope", "it is of role %s and has permissions or limits of its own", role.Role)
	}
	if uc.BearerToken && ac.Limits.DisallowBearer {
		p.add("bearer", "its JWT alone authenticates, which account %s forbids", ac.Name)
	}
	if revocation.List(ac.Revocations).Covers(uc.Subject, uc.IssuedAt) {
		p.warn("revoked", "it is revoked")
	}
}
