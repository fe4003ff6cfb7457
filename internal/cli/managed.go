package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// A store is a tenant's where the operator is managed, that is imported, and the
// keystore has none of its keys. Accounts are signed by their own keys there and
// posted to the operator's account server; what it answers, signed by the
// operator, takes their place.

// outcomeWaiting is of a version that is kept, signed by the account's own key
// alone: the operator has not signed it.
const outcomeWaiting = "waiting"

// answer is what the operator's server made of a version.
type answer struct {
	doc    *claims.Document
	server string
}

// isTenant reports whether r's accounts sign themselves.
func (s *session) isTenant(r *root) (bool, error) {
	info, err := r.Info()
	if err != nil || !info.Managed {
		return false, err
	}
	held := slices.ContainsFunc(operatorKeys(r, "").candidates, func(c candidate) bool { return s.store.Keystore().HasSeed(c.key) })
	return !held, nil
}

// versionSigner returns the key that signs versions of the account key: the
// operator's, or the account's own in a tenant's store, where -K may name a key
// of the operator all the same.
func (s *session) versionSigner(r *root, key, prefer string) (signer, error) {
	if !r.tenant {
		return s.accountSigner(r, prefer)
	}
	c := operatorKeys(r, "")
	c.what = "account " + keys.Short(key) + " or " + c.what
	c.candidates = append([]candidate{{key: key}}, c.candidates...)
	c.parse = func(seed []byte) (signer, error) {
		if pair, err := keys.AccountFromSeed(seed); err == nil {
			return pair, nil
		}
		return keys.OperatorFromSeed(seed)
	}
	return s.choose(c)
}

// accountServer connects to the server that the operator's claims name.
func (s *session) accountServer(r *root) (*api.AccountServer, error) {
	if s.server != nil {
		return s.server, nil
	}
	if ok, why := s.online(r); !ok {
		return nil, fault.New(fault.Unavailable, "%s", why).About("operator", r.Name()).
			WithHint("take the operator's current version with: nsc add operator --url <url> --force")
	}
	cfg, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	if s.server, err = api.NewAccountServer(r.claims.AccountServerURL, cfg); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.server.Close)
	return s.server, nil
}

// served returns the version of an account that the operator's server has, as
// the operator signed it.
func (s *session) served(ctx context.Context, r *root, key string) (*claims.Document, error) {
	srv, err := s.accountServer(r)
	if err != nil {
		return nil, err
	}
	within, end := s.patience(ctx)
	defer end()
	token, err := srv.Account(within, key)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.NotFound, "the operator has not signed account %s: %w", keys.Short(key), err).
			About("account", key).WithHint("publish it with: nsc push -a %s", key)
	}
	if err != nil {
		return nil, err
	}
	doc, err := r.trusted(key, token)
	if f := fault.As(err); f != nil {
		f.Hint = "if the operator has new keys, take its current version with: nsc pull --all"
	}
	return doc, err
}

// post gives a version of an account to the operator's server and notes its
// answer for committed.
func (s *session) post(ctx context.Context, r *root, item api.Item) (api.Result, error) {
	mine, err := claims.Decode(item.JWT)
	if err != nil {
		return api.Result{}, err
	}
	srv, err := s.accountServer(r)
	if err != nil {
		return api.Result{}, err
	}
	within, end := s.patience(ctx)
	text, err := srv.Post(within, mine.Subject, mine.Token, item.Base)
	end()
	res := api.Result{Key: mine.Subject, Name: mine.Name, Outcome: outcomeRefused}
	switch {
	case fault.Is(err, fault.Unavailable):
		return api.Result{}, err
	case fault.Is(err, fault.Pending), item.Base == "" && (fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound)):
		res.Outcome = outcomeWaiting
		return res, waiting(mine, err)
	case err != nil && !fault.Is(err, fault.Conflict):
		return res, err
	}
	theirs, gerr := s.served(ctx, r, mine.Subject)
	if gerr == nil && err != nil && !accounts.Countersigned(mine, theirs) {
		res.Current = versionOf(theirs)
		return res, fault.New(fault.Conflict, "%w", err)
	}
	switch {
	case gerr == nil:
	case err != nil:
		return res, err
	case fault.Is(gerr, fault.Untrusted):
		res.Outcome = outcomeWaiting
		return res, gerr
	default:
		return api.Result{}, fault.New(fault.Unavailable, "it was taken, and the operator's answer did not come: %w", gerr)
	}
	res.Outcome, res.ID = api.OutcomePut, theirs.ID
	_, _ = fmt.Sscanf(text, "jwt updated: revision %d", &res.Revision) // as accountd says it; others number nothing
	s.answers[mine.Subject] = answer{theirs, r.claims.AccountServerURL}
	return res, nil
}

// versionOf describes a version that was fetched as a claim.
func versionOf(doc *claims.Document) *api.Version {
	return &api.Version{Key: doc.Subject, Name: doc.Name, ID: doc.ID, IssuedAt: doc.IssuedAt, JWT: doc.Token, Actor: doc.Issuer, At: time.Unix(doc.IssuedAt, 0)}
}

// waiting is the error of a version that the operator has not signed yet.
func waiting(mine *claims.Document, cause error) error {
	name := shellWords([]string{mine.Name})
	if fault.Is(cause, fault.Pending) {
		return fault.New(fault.Pending, "account %s is kept here and waits for a signature of the operator", mine.Name).
			About("account", mine.Name).ByRule("proposed").
			WithHint("the operator signs it with: nsc proposals accept %s; then take it with: nsc pull -a %s", name, name)
	}
	return fault.New(fault.CodeOf(cause), "account %s is kept here, signed by its own key alone: %w", mine.Name, cause).
		About("account", mine.Name).ByRule("not allowed").
		WithHint("the operator allows it with: nsc allow account %s; then publish it with: nsc push -a %s", mine.Subject, name)
}

// kept completes the receipt of a change that was not committed and stays in the
// local store all the same; ok is false if it must not.
func kept(rec *receipt, res api.Result, err error) (why error, ok bool) {
	switch {
	case res.Outcome == outcomeWaiting:
		rec.Outcome, rec.Note = outcomeWaiting, ""
		return err, true
	case res.Outcome == "" && fault.Is(err, fault.Unavailable):
		rec.Outcome, rec.Note = outcomeUnknown, ""
		return unpublished(rec.Name, err), true
	}
	return err, false
}

// countersigned puts the operator's version of w into the local store and says
// what the operator decided otherwise.
func (s *session) countersigned(ctx context.Context, r *root, w *work, res api.Result, got answer) (*receipt, error) {
	rec := &receipt{Kind: "account", Name: w.name, Key: w.key, ID: got.doc.ID, Revision: res.Revision, Outcome: res.Outcome}
	if w.next.ID == got.doc.ID {
		rec.Outcome = outcomeSame
	}
	rec.Lines = append(rec.Lines, fmt.Sprintf("countersigned by operator key %s at %s", keys.Short(got.doc.Issuer), got.server))
	rec.Warnings = decided(w.next, got.doc)
	err := s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		return errors.Join(
			tx.ExpectAccount(w.name, w.next.Token),
			tx.PutAccount(w.name, got.doc.Token),
			tx.SetPublished(w.key, nscstore.Publication{ID: got.doc.ID, Revision: res.Revision}))
	})
	if err != nil {
		return rec, fault.New(fault.CodeOf(err), "%s was published, and storing the operator's answer failed: %w", w.name, err).
			WithHint("nsc pull -a %s", shellWords([]string{w.name}))
	}
	return rec, nil
}

// decided says in which values the operator's version is not the one that was
// sent.
func decided(mine, theirs *claims.Document) []string {
	sent, have := map[string]string{}, map[string]string{}
	flatten("", payload(mine), sent)
	flatten("", payload(theirs), have)
	all := maps.Clone(sent)
	maps.Copy(all, have)
	var out []string
	for _, field := range slices.Sorted(maps.Keys(all)) {
		if sent[field] != have[field] && field != "iss" && !slices.Contains(signedFields, field) {
			out = append(out, fmt.Sprintf("the operator changed %s from %s to %s", field, first(sent[field], "none"), first(have[field], "none")))
		}
	}
	return out
}

// flatten puts the values of a tree into a map by their paths, as JSON.
func flatten(path string, v any, to map[string]string) {
	tree := asTree(v)
	if len(tree) == 0 && path != "" {
		to[path] = leaf(v)
		return
	}
	for name, child := range tree {
		flatten(strings.TrimPrefix(path+"."+name, "."), child, to)
	}
}

// settle completes w, which is of a tenant's store, with what is known of its
// publication. Whatever tool brought the operator's version here, it is the one
// that the next builds on; edits of another tool build on what is not known.
func (r *root) settle(w *work) {
	if r.trust.Signs(w.cur.Issuer) {
		if w.pub.ID != w.cur.ID {
			w.pub = nscstore.Publication{ID: w.cur.ID}
		}
		w.pub.Unpublished, w.dirty = false, false
		return
	}
	if w.dirty = true; !w.pub.Unpublished {
		w.pub = nscstore.Publication{}
	}
}

// publishOwn posts the accounts that flags name.
func (s *session) publishOwn(ctx context.Context, r *root, o pushOptions) ([]*receipt, error) {
	if o.prune || o.remove != "" || o.diff {
		return nil, fault.New(fault.Denied, "operator %s is managed: what its servers have is for those who hold its keys", r.Name()).
			About("operator", r.Name()).ByRule("managed").WithHint("look at one account of yours with: nsc pull --dry-run -a <account>")
	}
	if online, why := s.online(r); !online {
		return nil, fault.New(fault.Unavailable, "%s", why).About("operator", r.Name()).
			WithHint("name its account server on the web with -u https://host/jwt/v1, or hand the account to the operator: nsc describe account <name> --raw")
	}
	list, err := s.selected(r, o)
	if err != nil {
		return nil, err
	}
	var recs []*receipt
	for _, ac := range exportersFirst(list) {
		rec, err := s.publishOne(ctx, r, ac)
		if rec == nil {
			return recs, err
		}
		rec.fail(err)
		recs = append(recs, rec)
	}
	return recs, nil
}

func (s *session) publishOne(ctx context.Context, r *root, ac *account) (*receipt, error) {
	unlock, err := s.lock(ctx, r, ac.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	w, err := s.begin(r, ac.name)
	if err != nil {
		return nil, err
	}
	if w.next = w.cur; s.flags.dryRun {
		return dryPush(w), nil
	}
	res, err := s.post(ctx, r, api.Item{JWT: w.cur.Token, Base: w.pub.ID})
	if err == nil {
		rec, _, err := s.committed(ctx, r, w, res, nil)
		return rec, err
	}
	rec := &receipt{Kind: "account", Name: w.name, Key: w.key, ID: w.cur.ID, Outcome: outcomeRefused}
	if err, ok := kept(rec, res, err); ok {
		return rec, err
	}
	if res.Current != nil {
		err = conflict(w, res)
	}
	return rec, err
}

// pullOwn takes the operator's versions of the accounts of the store; with --all
// that of the operator first.
func (s *session) pullOwn(ctx context.Context, r *root, o pullOptions) ([]*receipt, error) {
	var recs []*receipt
	if o.all {
		rec, err := s.pullOperator(ctx, r)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
		if r, err = s.root(ctx); err != nil {
			return recs, err
		}
	}
	list, err := s.selected(r, pushOptions{accounts: nonEmpty(o.account), all: o.all})
	if err != nil {
		return recs, err
	}
	for _, ac := range list {
		rec := &receipt{Kind: "account", Name: ac.name, Key: ac.key}
		if err := s.pullOwnOne(ctx, r, o, rec); err != nil {
			rec.Outcome = outcomeRefused
			rec.fail(err)
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

func (s *session) pullOwnOne(ctx context.Context, r *root, o pullOptions, rec *receipt) error {
	theirs, err := s.served(ctx, r, rec.Key)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, r, rec.Key)
	if err != nil {
		return err
	}
	defer unlock()
	rec.ID = theirs.ID
	return s.take(ctx, r, o, theirs, api.GetReply{Version: versionOf(theirs)}, rec)
}

// pullOperator takes the current version of the operator.
func (s *session) pullOperator(ctx context.Context, r *root) (*receipt, error) {
	srv, err := s.accountServer(r)
	if err != nil {
		return nil, err
	}
	within, end := s.patience(ctx)
	token, err := srv.Operator(within)
	end()
	if err != nil {
		return nil, err
	}
	doc, err := operatorDocument(r.claims.AccountServerURL, []byte(token))
	if err == nil {
		err = sameOperator(r.Name(), r.doc, doc)
	}
	if err != nil {
		return nil, err
	}
	rec := &receipt{Kind: "operator", Name: r.Name(), Key: doc.Subject, ID: doc.ID, Outcome: "pulled", Changes: diffClaims(payload(r.doc), payload(doc))}
	switch {
	case doc.ID == r.doc.ID:
		rec.Outcome = outcomeSame
		return rec, nil
	case s.flags.dryRun:
		rec.Outcome = outcomeDry
		return rec, nil
	}
	return rec, s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		return errors.Join(tx.ExpectOperator(r.doc.Token), tx.PutOperator(doc.Token))
	})
}

func nonEmpty(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

// signOwn signs new claims by the key whose seed was just made.
func (s *session) signOwn(draft *claims.Draft, seed []byte) (*claims.Document, error) {
	pair, err := keys.AccountFromSeed(seed)
	if err != nil {
		return nil, err
	}
	defer pair.Wipe()
	return draft.Sign(pair, s.now)
}
