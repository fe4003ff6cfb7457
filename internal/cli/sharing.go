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
	done := edited{name: r.book().account}
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
	rec.Warnings = append(rec.Warnings, edgeWarnings(ac.name, ac.claims, after)...)
	same := reflect.DeepEqual(ac.claims.Exports, after.Exports) && reflect.DeepEqual(ac.claims.Imports, after.Imports)
	if same || rec.Outcome != outcomeLocal && rec.Outcome != outcomeDry {
		return rec, err
	}
	stored := r.book()
	stored.known[ac.key] = ac.claims // as it was
	if importersMatter(ac.claims.Exports, after.Exports) {
		if ferr := stored.readNaming(ac.key); ferr != nil {
			return rec, ferr
		}
	}
	rec.Findings = stored.findingsAdded(after, s.now)
	return rec, err
}

// edgeWarnings names the roles of leaf nodes that were written for what an account
// shared before.
func edgeWarnings(name string, before, after *jwt.AccountClaims) []string {
	var out []string
	for _, role := range accounts.StaleEdges(before, after) {
		out = append(out, "role "+role+" of leaf nodes carries what account "+name+" shared before: write it anew with nsc edit role "+
			shellWords([]string{role, "-a", name})+" --template edge")
	}
	return out
}

// importersMatter reports whether a change of exports may do something to those
// that import: not if all that was there stays, and what is new is apart from it.
func importersMatter(before, after jwt.Exports) bool {
	kept := 0
	for _, ex := range after {
		if ex == nil {
			continue
		}
		if slices.ContainsFunc(before, func(old *jwt.Export) bool { return reflect.DeepEqual(old, ex) }) {
			kept++
			continue
		}
		if slices.ContainsFunc(before, func(old *jwt.Export) bool {
			return old == nil || accounts.Overlaps(string(old.Subject), string(ex.Subject))
		}) {
			return true
		}
	}
	return kept != len(before)
}

// book knows accounts of the local store by their keys, and reads those that it
// is asked for. Accounts that cannot be read are not in it.
type book struct {
	r     *root         // nil without a store
	known accountsByKey // nil for what is not there
	asked bool          // the store was looked through for a key
	whole bool          // all have been read
}

// accountsByKey are the claims of accounts by their public keys.
type accountsByKey map[string]*jwt.AccountClaims

func (k accountsByKey) lookup(key string) *jwt.AccountClaims { return k[key] }

func (r *root) book() *book { return &book{r: r, known: accountsByKey{}} }

// readAccounts returns all accounts of the local store that can be read.
func (r *root) readAccounts() (accountsByKey, error) {
	b := r.book()
	return b.known, b.readAll()
}

// readAll reads all accounts that are not known yet.
func (b *book) readAll() error {
	names, err := b.r.Accounts()
	if err != nil {
		return err
	}
	b.read(names)
	b.whole = true
	return nil
}

// readNaming reads the accounts whose claims name another one by its key, as
// those that import from it do.
func (b *book) readNaming(key string) error {
	names, err := b.r.AccountsNaming(key)
	b.read(names)
	return err
}

func (b *book) read(names []string) {
	for _, name := range names {
		if ac, err := b.r.load(name); err == nil && b.known[ac.key] == nil {
			b.known[ac.key] = ac.claims
		}
	}
}

// lookup returns the claims of the account with a public key, nil if it is not
// there.
func (b *book) lookup(key string) *jwt.AccountClaims {
	ac, known := b.known[key]
	if known || b.whole || b.r == nil {
		return ac
	}
	name, ok := b.r.names[key]
	if !ok && !b.asked {
		b.asked = true
		name, ok, _ = b.r.nameOf(key) // what cannot be read is not there
	}
	if ok {
		if read, err := b.r.load(name); err == nil && read.key == key {
			ac = read.claims
		}
	}
	b.known[key] = ac
	return ac
}

// account returns the name of the account with a public key, "" if it is not
// there.
func (b *book) account(key string) string {
	if ac := b.lookup(key); ac != nil {
		return ac.Name
	}
	return ""
}

// findingsAdded returns what servers will not honour once an account is as
// after, and honour now: in the account and in those that have been read and
// import from it.
func (b *book) findingsAdded(after *jwt.AccountClaims, now int64) []string {
	changed := func(key string) *jwt.AccountClaims {
		if key == after.Subject {
			return after
		}
		return b.lookup(key)
	}
	accounts.Findings(after, changed, now) // reads who may be part of a new cycle
	var out []string
	for _, key := range sortedNames(b.known) {
		ac := b.known[key]
		if ac == nil {
			continue
		}
		was := accounts.Findings(ac, b.lookup, now)
		for _, f := range accounts.Findings(changed(key), changed, now) {
			if !slices.Contains(was, f) {
				out = append(out, "account "+ac.Name+": "+f)
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
