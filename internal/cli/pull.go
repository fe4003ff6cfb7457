package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// pullOptions are the flags of pull.
type pullOptions struct {
	account               string
	all, overwrite, merge bool
	sysUser               string
	aim                   aim
}

func newPull(a *app) *cobra.Command {
	var o pullOptions
	cmd := &cobra.Command{
		Use:   "pull",
		Short: "Take the versions in force into the local store",
		Long: `Take accountd's versions of accounts into the local store, after checking their
signatures; where no accountd answers, those of the servers. A local version with
edits of its own is not replaced, nor one that holds a revocation which the served
one lacks: --merge puts what is yours on top, --overwrite-newer gives it up.`,
		Example: `  nsc pull -a app
  nsc pull --all
  nsc pull -a app --merge
  nsc pull -a app --overwrite-newer`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.all && o.account != "":
				return usage("--all and --account exclude each other")
			case o.merge && o.overwrite:
				return usage("--merge and --overwrite-newer exclude each other")
			}
			a.flags.sysUser = first(a.flags.sysUser, o.sysUser)
			return a.finishAll(a.pull(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "A", false, "all accounts of the operator")
	f.BoolVarP(&o.overwrite, "overwrite-newer", "F", false, "give up local edits that were not published")
	f.BoolVar(&o.merge, "merge", false, "put local edits on top of accountd's version")
	f.StringVar(&o.sysUser, "system-user", "", "official name of --sys-user")
	o.aim.flags(cmd, false)
	a.tlsFlags(cmd)
	return cmd
}

func (a *app) pull(ctx context.Context, o pullOptions) ([]*receipt, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	if err := o.aim.at(r); err != nil {
		return nil, err
	}
	if r.tenant {
		return s.pullOwn(ctx, r, o)
	}
	c, err := s.client(ctx, r)
	if noService(err) && s.link.connect != nil {
		return s.pullStock(ctx, r, o)
	}
	if err != nil {
		return nil, err
	}
	wanted, err := s.wanted(ctx, r, c, o)
	if err != nil {
		return nil, err
	}
	var recs []*receipt
	for _, key := range wanted {
		rec := &receipt{Kind: "account", Name: key, Key: key, Outcome: outcomeRefused}
		if err := s.pullOne(ctx, r, c, o, rec); err != nil {
			rec.Outcome = outcomeRefused
			rec.fail(err)
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

// wanted returns what to ask accountd for: public keys, or a name that the
// local store does not know.
func (s *session) wanted(ctx context.Context, r *root, c *api.Client, o pullOptions) ([]string, error) {
	if !o.all {
		ac, err := s.account(r, o.account)
		if fault.Is(err, fault.NotFound) && o.account != "" {
			return []string{o.account}, nil
		}
		if err != nil {
			return nil, err
		}
		return []string{ac.key}, nil
	}
	versions, err := s.versions(ctx, c)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, v := range versions {
		if _, err := r.Account(v.Key); err == nil || !v.Deleted {
			out = append(out, v.Key)
		}
	}
	return out, nil
}

// versions returns what accountd holds of all accounts, deleted ones included.
func (s *session) versions(ctx context.Context, c *api.Client) ([]api.Version, error) {
	return s.pages(ctx, c, api.ListRequest{})
}

// pages returns what a request lists, page by page.
func (s *session) pages(ctx context.Context, c *api.Client, req api.ListRequest) ([]api.Version, error) {
	var out []api.Version
	for {
		page, err := s.page(ctx, c, req)
		if err != nil {
			return nil, err
		}
		out = append(out, page.Accounts...)
		if !page.More || len(page.Accounts) == 0 {
			return out, nil
		}
		req.After = out[len(out)-1].Key
	}
}

func (s *session) page(ctx context.Context, c *api.Client, req api.ListRequest) (api.ListReply, error) {
	ctx, end := s.patience(ctx)
	defer end()
	page, err := c.List(ctx, req)
	if err == nil {
		err = page.Error.Fault()
	}
	return page, err
}

func anyVersion(api.Version) bool { return true }

// nearAccount adds to the error of an account that accountd does not know the
// name that was meant, among those that match.
func (s *session) nearAccount(ctx context.Context, r *root, name string, err error, match func(api.Version) bool) error {
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	c, cerr := s.client(ctx, r)
	if cerr != nil {
		return err
	}
	page, perr := s.page(ctx, c, api.ListRequest{})
	if perr != nil {
		return err
	}
	var names []string
	for _, v := range page.Accounts {
		if match(v) {
			names = append(names, v.Name)
		}
	}
	return withNearest(err, name, names)
}

// pullOne brings one account into the local store and fills rec.
func (s *session) pullOne(ctx context.Context, r *root, c *api.Client, o pullOptions, rec *receipt) error {
	got, err := s.get(ctx, c, rec.Key)
	if err != nil {
		return s.nearAccount(ctx, r, rec.Key, err, anyVersion)
	}
	v := got.Version
	rec.Name, rec.Key, rec.Revision, rec.ID = v.Name, v.Key, v.Revision, v.ID
	if v.Deleted {
		return fault.New(fault.Conflict, "account %s was deleted by operator key %s at %s; the local copy is kept", v.Name, keys.Short(v.Actor), clock(v.At.Unix())).
			About("account", v.Name).ByRule("deleted").
			WithHint("remove it here with: nsc delete account %s, or bring it back with: nsc restore account %s", shellWords([]string{v.Name}), shellWords([]string{v.Name}))
	}
	theirs, err := r.trusted(v.Key, v.JWT)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, r, v.Key)
	if err != nil {
		return err
	}
	defer unlock()
	return s.take(ctx, r, o, theirs, got, rec)
}

func (s *session) get(ctx context.Context, c *api.Client, account string) (api.GetReply, error) {
	return s.getKind(ctx, c, api.GetRequest{Account: account})
}

func (s *session) getKind(ctx context.Context, c *api.Client, req api.GetRequest) (api.GetReply, error) {
	ctx, end := s.patience(ctx)
	defer end()
	got, err := c.Get(ctx, req)
	if err == nil {
		err = got.Error.Fault()
	}
	if err == nil && got.Version == nil {
		err = fault.New(fault.Unavailable, "accountd answered without a version of %s", req.Account)
	}
	return got, err
}

// take puts theirs into the local store in place of what is there.
func (s *session) take(ctx context.Context, r *root, o pullOptions, theirs *claims.Document, got api.GetReply, rec *receipt) error {
	local, err := r.Account(theirs.Subject)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if other, err := r.AccountJWT(theirs.Name); local == "" && err == nil {
		return sameName(theirs, other)
	}
	next, before := theirs, ""
	pub := nscstore.Publication{ID: theirs.ID, Revision: got.Version.Revision}
	rec.Outcome = "pulled"
	if local != "" {
		w, err := s.begin(r, local)
		if err != nil {
			return err
		}
		before = w.cur.Token
		if next, err = s.settlePull(r, o, w, theirs, got, rec); err != nil || next == nil {
			return err
		}
		if next.ID != theirs.ID {
			pub = pub.Edited(theirs.ID, theirs.Token)
		}
	}
	if s.flags.dryRun {
		rec.Outcome, rec.Changes = outcomeDry, diffClaims(nil, payload(next))
		return nil
	}
	if local != "" && local != next.Name {
		return s.takeRenamed(ctx, r, local, before, next, pub, rec)
	}
	return s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		return errors.Join(
			tx.ExpectAccount(next.Name, before),
			tx.PutAccount(next.Name, next.Token),
			tx.SetPublished(next.Subject, pub))
	})
}

// takeRenamed puts next in the place of an account that has another name here,
// and its users and credentials with it.
func (s *session) takeRenamed(ctx context.Context, r *root, local, before string, next *claims.Document, pub nscstore.Publication, rec *receipt) error {
	if other, err := r.AccountJWT(next.Name); err == nil {
		return sameName(next, other)
	}
	if err := s.moveAccount(ctx, r, local, next.Name, before, next, pub); err != nil {
		return err
	}
	r.names[next.Subject] = next.Name
	rec.Lines = append(rec.Lines, fmt.Sprintf("  it was called %s here: its users and their credentials moved", local))
	if s.context.Account == local {
		return s.remember(ctx, r.Name(), next.Name)
	}
	return nil
}

// settlePull decides between w, the local version, and theirs: it returns the one to
// store, both merged if that is wanted, nil if w stays.
func (s *session) settlePull(r *root, o pullOptions, w *work, theirs *claims.Document, got api.GetReply, rec *receipt) (*claims.Document, error) {
	back := refuseBack(w, theirs, got)
	switch {
	case w.cur.ID == theirs.ID:
		rec.Outcome = outcomeSame
	case r.tenant && accounts.Countersigned(w.cur, theirs):
	case w.dirty && !o.overwrite && (w.pub.ID == theirs.ID || w.pub.Owns(theirs.ID)):
		rec.Outcome, rec.ID = outcomeSame, w.cur.ID
		rec.Lines = append(rec.Lines, "local edits are not published; publish them with: nsc push -a "+shellWords([]string{w.name}))
		return nil, nil
	case o.merge && (w.dirty || back != nil):
		return s.merge(r, w, theirs, got, rec)
	case back != nil && !o.overwrite:
		return nil, back
	case w.dirty && !o.overwrite:
		return nil, conflict(w, api.Result{Current: got.Version})
	case w.dirty:
		rec.Lines = append(rec.Lines, "  gave up local edits that were not published")
	case back != nil:
		rec.Lines = append(rec.Lines, "  gave up the local version: "+message(back))
	}
	return theirs, nil
}

// sameName is the error of an account whose name the local store uses for
// another one.
func sameName(theirs *claims.Document, other string) error {
	key := "another key"
	if doc, err := claims.Decode(other); err == nil {
		key = keys.Short(doc.Subject)
	}
	return fault.New(fault.Conflict, "account %q of accountd is %s, and the local account of that name is %s", theirs.Name, keys.Short(theirs.Subject), key).
		About("account", theirs.Name).ByRule("same-name").
		WithHint("take it into a store of its own: --data-dir <folder>, or delete one of the two by its public key: nsc delete account <key>")
}

// merge signs the local edits of w on top of theirs. Where accountd's store went
// back, all that was published since is an edit too.
func (s *session) merge(r *root, w *work, theirs *claims.Document, got api.GetReply, rec *receipt) (*claims.Document, error) {
	base := w.published()
	if w.behind(*got.Version) {
		base = theirs
	}
	draft, clashes, err := mergeAccounts(base, w.cur, theirs, got.Retired)
	if err != nil {
		return nil, err
	}
	for _, line := range clashes {
		rec.Lines = append(rec.Lines, "  theirs stays  "+line)
	}
	if draft == nil {
		rec.Outcome = "pulled"
		return theirs, nil
	}
	pair, err := s.versionSigner(r, theirs.Subject, theirs.Issuer)
	if err != nil {
		return nil, err
	}
	next, err := draft.Sign(pair, max(s.now, theirs.IssuedAt))
	if err != nil {
		return nil, err
	}
	rec.Outcome, rec.ID, rec.Changes = "merged", next.ID, diffClaims(payload(theirs), payload(next))
	rec.Lines = append(rec.Lines, fmt.Sprintf("publish it with: nsc push -a %s", shellWords([]string{next.Name})))
	return next, nil
}
