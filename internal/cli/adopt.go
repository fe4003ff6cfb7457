package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

func newAdopt(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "adopt",
		Short: "Bring what running servers hold under accountd",
		Long: `Gather the accounts that stock servers hold, compare the versions, and give them
to accountd, which proves them on every server from then on. Of several versions
the newest holds, with the revocations of all of them. A version that every
server has stays as it is, and nobody is cut. What only the local store has is
not published: nsc push does that. Running it again changes nothing.`,
		Example: `  nsc adopt --dry-run
  nsc adopt
  nsc adopt --timeout 60s --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.finishAll(a.adopt(cmd.Context())) },
	}
}

// adopt returns one receipt an account that servers hold.
func (a *app) adopt(ctx context.Context) ([]*receipt, error) {
	s, r, err := a.operator(ctx)
	if err != nil {
		return nil, err
	}
	if isHTTP(r.claims.AccountServerURL) {
		return nil, usage("servers are asked over NATS, and the account server of operator %q is %s", r.Name(), r.claims.AccountServerURL).
			WithHint("name the servers with: nsc edit operator --account-jwt-server-url nats://host:4222")
	}
	c, err := s.client(ctx, r)
	if err != nil {
		return nil, err
	}
	versions, err := s.versions(ctx, c)
	if err != nil {
		return nil, err
	}
	known := map[string]api.Version{}
	for _, v := range versions {
		known[v.Key] = v
	}
	held, err := s.gather(ctx)
	if err != nil {
		return nil, err
	}
	var works []*work
	var recs []*receipt
	for _, key := range slices.Sorted(maps.Keys(held)) {
		rec := &receipt{Kind: "account", Name: key, Key: key, Outcome: outcomeRefused}
		w, err := s.adoption(r, known[key], held[key], rec)
		if err != nil {
			rec.fail(err)
			recs = append(recs, rec)
			continue
		}
		works, recs = append(works, w), append(recs, rec)
	}
	s.warnAway(ctx, r, recs)
	if s.flags.dryRun {
		return recs, nil
	}
	return s.adoptAll(ctx, r, works, recs)
}

// adoption decides what becomes of one account and tells rec.
func (s *session) adoption(r *root, known api.Version, versions map[string]*place, rec *receipt) (*work, error) {
	if known.Deleted {
		return nil, fault.New(fault.Conflict, "account %s was deleted and servers still hold it", known.Name).About("account", rec.Key).ByRule("tombstone").
			WithHint("bring it back with: nsc restore account %s", shellWords([]string{known.Name}))
	}
	docs, err := r.trustedOnly(versions, rec)
	if err != nil {
		return nil, err
	}
	u, err := accounts.Unite(docs)
	if err != nil {
		return nil, err
	}
	newest := u.Newest
	if len(docs) > 1 {
		for _, d := range docs {
			rec.Lines = append(rec.Lines, fmt.Sprintf("  version of %s  %s%s", clock(d.IssuedAt), versions[d.Token], newestMark(d, newest)))
		}
	}
	w := &work{name: newest.Name, key: newest.Subject, cur: newest, next: newest, retire: u.Gone, pub: nscstore.Publication{ID: known.ID, Revision: known.Revision}}
	if u.Draft != nil {
		pair, err := s.accountSigner(r, newest.Issuer)
		if err != nil {
			return nil, err
		}
		if w.next, err = u.Draft.Sign(pair, max(s.now, newest.IssuedAt)); err != nil {
			return nil, err
		}
		rec.Changes = diffClaims(payload(newest), payload(w.next))
		rec.Lines = append(rec.Lines, "  signed anew: the newest lacks revocations of the others")
	}
	for _, key := range u.Gone {
		rec.Lines = append(rec.Lines, "  retired for ever: signing key "+key+", which only an older version has")
	}
	rec.Name, rec.ID, rec.Outcome = w.name, w.next.ID, outcomeDry
	if known.ID == w.next.ID {
		rec.Revision, rec.Outcome = known.Revision, outcomeSame
	}
	if err := s.sameNameLocally(r, w.next); err != nil {
		return nil, err
	}
	return w, nil
}

func newestMark(d, newest *claims.Document) string {
	if d == newest {
		return "  newest"
	}
	return ""
}

// String says where a version is.
func (p *place) String() string {
	var where []string
	if len(p.loaded) > 0 {
		slices.Sort(p.loaded)
		where = append(where, "in force on "+strings.Join(p.loaded, ", "))
	}
	if p.stored > 0 {
		where = append(where, "in "+directories(p.stored))
	}
	return strings.Join(where, "; ")
}

func directories(n int) string {
	if n == 1 {
		return "1 directory"
	}
	return fmt.Sprintf("%d directories", n)
}

// trustedOnly decodes the versions that the operator's keys signed, newest
// first, those in force before others. The others are named in rec; without any trusted one that is the error.
func (r *root) trustedOnly(versions map[string]*place, rec *receipt) ([]*claims.Document, error) {
	var docs []*claims.Document
	var refused error
	for _, token := range slices.Sorted(maps.Keys(versions)) {
		doc, err := r.trusted(rec.Key, token)
		if err != nil {
			refused = err
			rec.Warnings = append(rec.Warnings, fmt.Sprintf("a version of %s (%s) is left out: %v", keys.Short(rec.Key), versions[token], err))
			continue
		}
		docs = append(docs, doc)
	}
	if len(docs) == 0 {
		return nil, refused
	}
	slices.SortStableFunc(docs, func(a, b *claims.Document) int {
		return cmp.Or(cmp.Compare(b.IssuedAt, a.IssuedAt), cmp.Compare(len(versions[b.Token].loaded), len(versions[a.Token].loaded)))
	})
	return docs, nil
}

// sameNameLocally refuses an account whose name is another one's here, or that
// has another name here.
func (s *session) sameNameLocally(r *root, doc *claims.Document) error {
	local, err := r.Account(doc.Subject)
	switch {
	case err == nil && local == doc.Name:
		return nil
	case err == nil:
		return fault.New(fault.Conflict, "account %q is named %q by the servers", local, doc.Name).About("account", local).ByRule("renamed").
			WithHint("publish your name with: nsc push -a %s, or adopt into a store of its own: --data-dir <folder>", shellWords([]string{local}))
	case !fault.Is(err, fault.NotFound):
		return err
	}
	if other, err := r.AccountJWT(doc.Name); err == nil {
		return sameName(doc, other)
	}
	return nil
}

// warnAway names the servers whose versions are not known.
func (s *session) warnAway(ctx context.Context, r *root, recs []*receipt) {
	reply, err := s.askStatus(ctx, r, "")
	if err != nil || len(recs) == 0 {
		return
	}
	for _, n := range reply.Nodes {
		if !n.Healthy {
			recs[0].Warnings = append(recs[0].Warnings, fmt.Sprintf("server %s is away: what it holds was not compared; it gets accountd's versions when it returns", n.Server))
		}
	}
}

// adoptAll puts the decided versions, exporters first, and takes them into the
// local store.
func (s *session) adoptAll(ctx context.Context, r *root, works []*work, recs []*receipt) ([]*receipt, error) {
	byKey := map[string]*receipt{}
	var list []*account
	for _, rec := range recs {
		byKey[rec.Key] = rec
	}
	todo := map[string]*work{}
	for _, w := range works {
		ac, err := decodeAccount(w.name, w.next.Token)
		if err != nil {
			return nil, err
		}
		list, todo[w.key] = append(list, ac), w
	}
	var ordered []*work
	for _, ac := range exportersFirst(list) {
		ordered = append(ordered, todo[ac.key])
	}
	proofs := map[*receipt]func(*receipt) error{}
	for _, batch := range batches(ordered, func(w *work) int { return len(w.next.Token) }) {
		if err := s.adoptBatch(ctx, r, batch, byKey, proofs); err != nil {
			return recs, err
		}
	}
	for rec, proof := range proofs {
		rec.fail(proof(rec))
	}
	return recs, nil
}

func (s *session) adoptBatch(ctx context.Context, r *root, batch []*work, recs map[string]*receipt, proofs map[*receipt]func(*receipt) error) error {
	var items []api.Item
	for _, w := range batch {
		items = append(items, api.Item{JWT: w.next.Token, Base: w.pub.ID, Retire: w.retire})
	}
	results, err := s.putAll(ctx, r, items, batch[0].next.Issuer)
	if err != nil {
		return err
	}
	for i, w := range batch {
		got, rec := pushReceipt(w, results[i]), recs[w.key]
		rec.ID, rec.Revision, rec.Outcome, rec.Findings, rec.Sent = got.ID, got.Revision, got.Outcome, got.Findings, true
		if rec.fail(adoptError(results[i], got.err)); rec.err != nil {
			continue
		}
		if err := s.keepAdopted(ctx, r, w, rec); err != nil {
			return err
		}
		if proof := s.proof(ctx, r, api.Result{Key: rec.Key, Revision: rec.Revision}); proof != nil {
			proofs[rec] = proof
		}
	}
	return nil
}

// adoptError is why a version was not taken, with the next step: to compare anew
// what has changed since it was compared.
func adoptError(res api.Result, err error) error {
	if res.Current == nil || res.Current.Deleted || !fault.Is(err, fault.Conflict) {
		return err
	}
	return fault.New(fault.Conflict, "%w", res.Error.Fault()).ByRule(res.Error.Rule).WithHint("compare anew: nsc adopt")
}

// keepAdopted takes the adopted version into the local store, unless that has a
// newer one.
func (s *session) keepAdopted(ctx context.Context, r *root, w *work, rec *receipt) error {
	unlock, err := s.lock(ctx, r, w.key)
	if err != nil {
		return err
	}
	defer unlock()
	before := ""
	pub := nscstore.Publication{ID: w.next.ID, Revision: rec.Revision}
	if ac, err := r.load(w.name); err == nil {
		before = ac.doc.Token
		if ac.doc.IssuedAt > w.next.IssuedAt {
			pub.Unpublished = true
			rec.Lines = append(rec.Lines, "  the local version is newer and not published: nsc push -a "+shellWords([]string{w.name}))
			return s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error { return tx.SetPublished(w.key, pub) })
		}
	} else if !fault.Is(err, fault.NotFound) {
		return err
	}
	return s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		return errors.Join(tx.ExpectAccount(w.name, before), tx.PutAccount(w.name, w.next.Token), tx.SetPublished(w.key, pub))
	})
}
