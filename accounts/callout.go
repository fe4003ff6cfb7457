package accounts

import (
	"slices"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// CalloutEdit is a change of an account's authentication callout: services of
// the account then decide who connects. What is nil or empty stays.
type CalloutEdit struct {
	// AddUsers are public keys of users that connect without being asked about:
	// the services themselves. RemoveUsers must be there.
	AddUsers, RemoveUsers []string

	// AddAccounts are public keys of accounts that the services may let people
	// into, or [jwt.AnyAccount] alone. RemoveAccounts must be there.
	AddAccounts, RemoveAccounts []string

	Curve   *string // public curve key that requests are encrypted for, "" for none
	Disable bool    // no callout; excludes the rest
}

// Empty reports whether e changes nothing.
func (e CalloutEdit) Empty() bool {
	return !e.Disable && e.Curve == nil && len(e.AddUsers)+len(e.RemoveUsers)+len(e.AddAccounts)+len(e.RemoveAccounts) == 0
}

// Apply changes ac. It is fault.Usage for a contradiction, fault.NotFound for
// what is to be removed and not there, and fault.Invalid for what servers refuse.
func (e CalloutEdit) Apply(ac *jwt.AccountClaims) error {
	if e.Disable {
		e.Disable = false
		if !e.Empty() {
			return fault.New(fault.Usage, "the callout is both disabled and changed")
		}
		ac.Authorization = jwt.ExternalAuthorization{}
		return nil
	}
	a := &ac.Authorization
	var err error
	if a.AuthUsers, err = members(ac, "user", a.AuthUsers, e.AddUsers, e.RemoveUsers); err != nil {
		return err
	}
	if a.AllowedAccounts, err = members(ac, "account", a.AllowedAccounts, e.AddAccounts, e.RemoveAccounts); err != nil {
		return err
	}
	switch {
	case len(a.AuthUsers) == 0 && len(a.AllowedAccounts) > 0:
		return invalid("callout", "the callout of account %q would have no user that asks and answers", ac.Name).
			WithHint("name one with --auth-user, or end the callout with --disable")
	case len(a.AllowedAccounts) > 1 && slices.Contains(a.AllowedAccounts, jwt.AnyAccount):
		return invalid("callout", "%q stands for every account and excludes others", jwt.AnyAccount).
			WithHint("remove the others with --rm-allowed-account, or --rm-allowed-account '*'")
	}
	if err := CheckAccount(ac); err != nil {
		return err
	}
	set(&a.XKey, e.Curve) // checked where it is parsed, as signing keys are
	return nil
}

// members returns list with add in it and without remove, which must be there.
func members(ac *jwt.AccountClaims, kind string, list jwt.StringList, add, remove []string) (jwt.StringList, error) {
	out := slices.Clone(list)
	out.Add(add...)
	for _, key := range remove {
		if !out.Contains(key) {
			return nil, fault.New(fault.NotFound, "the callout of account %q names no %s %s", ac.Name, kind, key).About(kind, key).
				WithHint("look at it with: nsc describe account %s --long-ids", ac.Name)
		}
		out.Remove(key)
	}
	return out, nil
}
