package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
)

// importAll has an account import all that another one offers, below its
// namespace.
func (a *app) importAll(ctx context.Context, o addImportOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	from, err := s.account(r, o.from)
	if err != nil {
		return nil, err
	}
	var private []string
	rec, err := s.share(ctx, r, ac, "all that "+from.name+" exports", change{edit: func(c *jwt.AccountClaims) (err error) {
		private, err = accounts.ImportAll(c, from.claims)
		return err
	}})
	if rec != nil && len(private) > 0 {
		rec.Warnings = append(rec.Warnings, "these exports are private and need a contract (nsc offer --from "+shellWords([]string{from.name, "--to", ac.name})+"): "+strings.Join(private, ", "))
	}
	return rec, err
}

// dropAll has an account import nothing from another one.
func (a *app) dropAll(ctx context.Context, accountName, from string) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	key, err := r.accountKey(from)
	if err != nil {
		return nil, err
	}
	return s.share(ctx, r, ac, "all imports from "+from, change{edit: func(c *jwt.AccountClaims) error {
		c.Imports = slices.DeleteFunc(slices.Clone(c.Imports), func(im *jwt.Import) bool { return im != nil && im.Account == key })
		return nil
	}})
}

// moveImports moves what accounts of the store import below the old namespace of
// an account to its new one, or with "" removes it, and notes that in rec.
func (s *session) moveImports(ctx context.Context, r *root, exporter, from, to string, rec *receipt) error {
	if from == "" || from == to {
		return nil
	}
	all, err := r.readAccounts()
	if err != nil {
		return err
	}
	for _, key := range sortedNames(all) {
		probe := *all[key]
		if !accounts.MoveImports(&probe, exporter, from, to) {
			continue
		}
		name := all[key].Name
		moved, merr := s.editAccount(ctx, r, &account{name: name, key: key}, change{edit: func(c *jwt.AccountClaims) error {
			if !accounts.MoveImports(c, exporter, from, to) {
				return errUnchanged
			}
			return accounts.CheckAccount(c)
		}})
		if moved == nil {
			rec.Warnings = append(rec.Warnings, "account "+name+" still imports it below "+from)
			err = firstErr(err, merr)
			continue
		}
		line := "account " + name + " imports it below " + to + " now"
		if to == "" {
			line = "account " + name + " imports it no more"
		}
		if moved.Revision > 0 {
			line += ", " + revision(moved.Revision)
		}
		rec.Lines = append(rec.Lines, line)
		err = firstErr(err, merr)
	}
	return err
}

// importersOf returns the accounts of the store that import from an account.
func (r *root) importersOf(exporter string) ([]string, error) {
	all, err := r.readAccounts()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, ac := range all {
		if slices.ContainsFunc(ac.Imports, func(im *jwt.Import) bool { return im != nil && im.Account == exporter }) {
			out = append(out, ac.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// spaceOf is the namespace of an account, "" for none.
func spaceOf(ac *jwt.AccountClaims) string {
	space, err := accounts.Namespace(ac)
	if err != nil {
		return ""
	}
	return space
}

// foreignSpace warns of a subject of an import that lies in the namespace of a
// third account.
func (r *root) foreignSpace(importer *account, exporter, local string) ([]string, error) {
	all, err := r.readAccounts()
	if err != nil {
		return nil, err
	}
	for _, key := range sortedNames(all) {
		space := spaceOf(all[key])
		if key == exporter || key == importer.key || key == r.claims.SystemAccount || space == "" || !accounts.Within(local, space+".>") {
			continue
		}
		return []string{"what it brings appears in the namespace of account " + all[key].Name + ": keep them apart with --local-subject"}, nil
	}
	return nil, nil
}
