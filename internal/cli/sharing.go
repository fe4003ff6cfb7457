package cli

import (
	"context"
	"reflect"
	"slices"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// share changes what an account shares with others and reports it. The findings
// of what stays local come from the local store; else accountd knows them better.
func (s *session) share(ctx context.Context, r *root, ac *account, title string, ch change) (*receipt, error) {
	done := edited{name: (&names{r: r}).account}
	var after *jwt.AccountClaims
	edit := ch.edit
	ch.edit = func(c *jwt.AccountClaims) error {
		after = c
		return apply(&done, c, edit)
	}
	rec, err := s.editAccount(ctx, r, ac, ch)
	if rec == nil {
		return nil, err
	}
	s.describe(&done, rec, title+" in "+ac.name)
	same := reflect.DeepEqual(ac.claims.Exports, after.Exports) && reflect.DeepEqual(ac.claims.Imports, after.Imports)
	if same || rec.Outcome != outcomeLocal && rec.Outcome != outcomeDry {
		return rec, err
	}
	stored, ferr := r.book()
	if ferr != nil {
		return rec, ferr
	}
	stored[ac.key] = ac.claims // as it was
	rec.Findings = stored.findingsAdded(after, s.now)
	return rec, err
}

// book knows all accounts of the local store by their keys. Accounts that
// cannot be read are not in it.
type book map[string]*jwt.AccountClaims

func (r *root) book() (book, error) {
	names, err := r.Accounts()
	if err != nil {
		return nil, err
	}
	out := book{}
	for _, name := range names {
		if ac, err := r.load(name); err == nil {
			out[ac.key] = ac.claims
		}
	}
	return out, nil
}

func (b book) lookup(key string) *jwt.AccountClaims { return b[key] }

// findingsAdded returns what servers will not honour once an account is as
// after, and honour now: in the account and in those that import from it.
func (b book) findingsAdded(after *jwt.AccountClaims, now int64) []string {
	changed := func(key string) *jwt.AccountClaims {
		if key == after.Subject {
			return after
		}
		return b[key]
	}
	var out []string
	for _, key := range sortedNames(b) {
		was := accounts.Findings(b[key], b.lookup, now)
		for _, f := range accounts.Findings(changed(key), changed, now) {
			if !slices.Contains(was, f) {
				out = append(out, "account "+b[key].Name+": "+f)
			}
		}
	}
	return out
}

// accountKey returns the public key of an account that is named by name or key.
// A key need not be one that the local store knows.
func (r *root) accountKey(nameOrKey string) (string, error) {
	if looksSecret(nameOrKey) {
		return "", usage("a seed does not belong on the command line, where others can read it").
			WithHint("name the account by its name or public key")
	}
	if _, err := keys.ParseAccount(nameOrKey); err == nil {
		return nameOrKey, nil
	}
	name, err := r.Account(nameOrKey)
	if err != nil {
		return "", err
	}
	ac, err := r.load(name)
	if err != nil {
		return "", err
	}
	return ac.key, nil
}

// nearExport adds to the error of an export that is not there the one that was
// meant.
func nearExport(err error, ac *jwt.AccountClaims, subject string) error {
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	var subjects []string
	for _, ex := range ac.Exports {
		if ex != nil {
			subjects = append(subjects, string(ex.Subject))
		}
	}
	return withNearest(err, subject, subjects)
}

// kindOf is the type of export or import that --service names.
func kindOf(service *bool) jwt.ExportType {
	switch {
	case service == nil:
		return jwt.Unknown
	case *service:
		return jwt.Service
	}
	return jwt.Stream
}
