package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
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

// moveImports moves what accounts import below the old namespace of an account to
// its new one, or with "" removes it, and notes that in rec. Accounts that are not
// in the store come from accountd.
func (s *session) moveImports(ctx context.Context, r *root, exporter, from, to string, rec *receipt) error {
	if from == "" || from == to {
		return nil
	}
	if err := s.takeImporters(ctx, r, exporter, rec); err != nil {
		rec.Warnings = append(rec.Warnings, "accounts that are not in this store may import it below "+from+" still: "+err.Error())
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
		rec.Warnings = append(rec.Warnings, edgeWarnings(name, all[key], &probe)...)
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

// takeImporters pulls the accounts that import from one into the store, where they
// are not there yet.
func (s *session) takeImporters(ctx context.Context, r *root, exporter string, rec *receipt) error {
	if online, _ := s.online(r); !online || r.tenant {
		return nil
	}
	c, err := s.client(ctx, r)
	if err != nil {
		return err
	}
	list, err := s.pages(ctx, c, api.ListRequest{Importing: exporter})
	for _, v := range list {
		if _, here := r.Account(v.Key); here == nil || v.Deleted {
			continue
		}
		pulled := &receipt{Key: v.Key}
		if perr := s.pullOne(ctx, r, c, pullOptions{}, pulled); perr != nil {
			err = firstErr(err, perr)
			continue
		}
		rec.Lines = append(rec.Lines, "account "+pulled.Name+" imports it and was pulled into this store")
	}
	return err
}

// stake is what depends on an account.
type stake struct{ users, streams, importers []string }

func (t stake) lines() []string {
	return []string{"users: " + listText(t.users), "streams: " + listText(t.streams), "imported by: " + listText(t.importers)}
}

// stakeOf lists what depends on an account, as the store and accountd know it.
func (s *session) stakeOf(ctx context.Context, r *root, ac *account) (t stake, err error) {
	if t.users, err = r.Users(ac.name); err != nil {
		return t, err
	}
	all, err := r.readAccounts()
	if err != nil {
		return t, err
	}
	for _, other := range all {
		if slices.ContainsFunc(other.Imports, func(im *jwt.Import) bool { return im != nil && im.Account == ac.key }) {
			t.importers = append(t.importers, other.Name)
		}
	}
	if online, _ := s.online(r); online && !r.tenant {
		s.servedStake(ctx, r, ac, &t)
	}
	slices.Sort(t.importers)
	t.importers = slices.Compact(t.importers)
	return t, nil
}

// servedStake adds what accountd alone knows. Where it cannot be asked, or does not
// say, it decides itself what it deletes.
func (s *session) servedStake(ctx context.Context, r *root, ac *account, t *stake) {
	c, err := s.client(ctx, r)
	if err != nil {
		return
	}
	ctx, end := s.patience(ctx)
	defer end()
	if reply, err := c.Streams(ctx, api.StreamsRequest{Account: ac.key}); err == nil {
		t.streams = reply.Streams
	}
	list, err := s.pages(ctx, c, api.ListRequest{Importing: ac.key})
	if err != nil {
		return
	}
	for _, v := range list {
		if !v.Deleted {
			t.importers = append(t.importers, v.Name)
		}
	}
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
