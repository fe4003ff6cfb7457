package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

// tries is how often an edit is redone on a newer version.
const tries = 5

// lockPatience is how long a command waits for another one on the same account,
// beyond the time that the other may wait for its answer.
const lockPatience = 20 * time.Second

// errUnchanged is what an edit returns when the account already is as wanted.
var errUnchanged = errors.New("already so")

// change is one edit of one account.
type change struct {
	// edit changes the claims. It is pure: it runs again on a newer version
	// after a conflict. errUnchanged says that there is nothing to do.
	edit func(*jwt.AccountClaims) error

	// version replaces the claims as a whole, in place of edit. It is not redone
	// on a version that others made meanwhile.
	version func(cur *claims.Document) (*claims.Document, error)

	// What the version takes back on purpose; see api.Item.
	unrevoke, unretire []string
}

// work is one change on its way: the version it builds on, what is known of
// its publication, and the new version.
type work struct {
	name, key string
	cur, next *claims.Document
	pub       nscstore.Publication // ID is the base of the put
	dirty     bool                 // cur has edits that accountd lacks, or may have
	same      bool                 // the edit had nothing to do
	retire    []string             // see api.Item; only of an adoption
	floor     int64                // earliest iat of the next version
}

// editAccount changes an account of the local store and publishes the new
// version: sign, write locally, put, record, prove. See doc.go for what the
// local store holds after each outcome. The receipt is not nil when something
// was decided, even with an error.
func (s *session) editAccount(ctx context.Context, r *root, ac *account, ch change) (*receipt, error) {
	if err := s.ready(ctx, r); err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx, r, ac.key)
	if err != nil {
		return nil, err
	}
	rec, proof, err := s.editLocked(ctx, r, ac, ch)
	unlock()
	if err != nil || proof == nil {
		return rec, err
	}
	return rec, proof(rec)
}

// lock takes the locks of accounts, by their keys.
func (s *session) lock(ctx context.Context, r *root, keys ...string) (func(), error) {
	ctx, cancel := context.WithTimeout(ctx, s.flags.timeout+lockPatience)
	defer cancel()
	unlock, err := r.LockAccounts(ctx, keys...)
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(unlock), nil
}

func (s *session) lockAll(ctx context.Context, r *root, accounts []*account) (func(), error) {
	return s.lock(ctx, r, keysOf(accounts)...)
}

func keysOf(accounts []*account) []string {
	keys := make([]string, len(accounts))
	for i, ac := range accounts {
		keys[i] = ac.key
	}
	return keys
}

// editLocked is editAccount under the lock of the account, up to the answer.
func (s *session) editLocked(ctx context.Context, r *root, ac *account, ch change) (*receipt, func(*receipt) error, error) {
	w, err := s.begin(r, ac.name)
	if err != nil {
		return nil, nil, err
	}
	was := *w
	for try := 1; ; try++ {
		if err := s.sign(r, w, ch); err != nil {
			return nil, nil, err
		}
		if s.flags.dryRun {
			return dryReceipt(w), nil, nil
		}
		if online, why := s.online(r); !online {
			return s.keepLocal(ctx, r, w, why)
		}
		if err := s.writeNext(ctx, r, w); err != nil {
			return nil, nil, err
		}
		res, proof, err := s.put(ctx, r, api.Item{
			JWT: w.next.Token, Base: w.pub.ID, Unrevoke: ch.unrevoke, Unretire: ch.unretire, Drop: dropsOf(w.next),
		}, w.next.Issuer)
		if err == nil {
			return s.committed(ctx, r, w, res, proof)
		}
		rec := &receipt{Kind: "account", Name: w.name, Key: w.key, Outcome: outcomeUnknown}
		if err, ok := kept(rec, res, err); ok {
			return rec, nil, err
		}
		if fault.RuleOf(err) == ruleSecond && res.Current != nil && try < tries {
			if err := s.unstage(ctx, r, w, res.Current.IssuedAt+1); err != nil {
				return nil, nil, err
			}
			continue
		}
		own := res.Current != nil && w.mine(res.Current.ID)
		if fault.Is(err, fault.Conflict) && (ch.version == nil || own) && try < tries {
			again, rerr := s.rebase(ctx, r, w, res)
			if again {
				continue
			}
			if rerr != nil {
				err = rerr
			}
		}
		rec.Outcome = outcomeRefused
		return rec, nil, s.putBack(ctx, r, &was, res, err)
	}
}

// begin reads the account and what is known of its publication.
func (s *session) begin(r *root, name string) (*work, error) {
	ac, err := r.load(name)
	if err != nil {
		return nil, err
	}
	works, err := r.works(ac)
	if err != nil {
		return nil, err
	}
	return works[0], nil
}

// work is begin for accounts that were read under their locks.
func (r *root) works(accounts ...*account) ([]*work, error) {
	pubs, err := r.Publications(keysOf(accounts)...)
	if err != nil {
		return nil, err
	}
	out := make([]*work, len(accounts))
	for i, ac := range accounts {
		pub, known := pubs[ac.key]
		out[i] = &work{
			name: ac.name, key: ac.key, cur: ac.doc, pub: pub,
			dirty: !known || pub.Unpublished || pub.ID != ac.doc.ID,
		}
		if r.tenant {
			r.settle(out[i])
		}
	}
	return out, nil
}

// sign makes the next version of w. Its time is never before the last one's;
// within one second they are equal, and the store's order decides.
func (s *session) sign(r *root, w *work, ch change) error {
	if ch.version != nil {
		next, err := ch.version(w.cur)
		if err == nil && next.IssuedAt < w.floor {
			next, err = s.later(r, next, w.floor)
		}
		w.next, w.same = next, err == nil && next.Token == w.cur.Token
		return err
	}
	draft, err := claims.Edit(w.cur, ch.edit)
	w.same = errors.Is(err, errUnchanged)
	if w.same {
		w.next = w.cur
		return nil
	}
	if err != nil {
		return err
	}
	pair, err := s.versionSigner(r, w.key, w.cur.Issuer)
	if err != nil {
		return err
	}
	if w.next, err = draft.Sign(pair, max(s.now, w.cur.IssuedAt, w.floor)); err != nil {
		return err
	}
	return checkRoles(w.cur, w.next)
}

// ruleSecond refuses a version of the same second as the stored one, where stock
// servers could not tell them apart.
const ruleSecond = "same-second"

// later signs a version anew with a later time.
func (s *session) later(r *root, doc *claims.Document, at int64) (*claims.Document, error) {
	pair, err := s.versionSigner(r, doc.Subject, doc.Issuer)
	if err != nil {
		return nil, err
	}
	return claims.Redo(doc).Sign(pair, at)
}

// unstage puts the version before the next one back, so that the next can be
// signed with a later time.
func (s *session) unstage(ctx context.Context, r *root, w *work, floor int64) error {
	w.floor = floor
	return s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		return errors.Join(tx.ExpectAccount(w.name, w.next.Token), tx.PutAccount(w.name, w.cur.Token), tx.SetPublished(w.key, w.pub))
	})
}

// checkRoles refuses a version whose name or tags widen its roles by more than
// they were.
func checkRoles(before, after *claims.Document) error {
	was, err := claims.As[jwt.AccountClaims](before)
	if err != nil {
		return err
	}
	is, err := claims.As[jwt.AccountClaims](after)
	if err != nil {
		return err
	}
	return accounts.CheckRoles(was, is)
}

// stage writes the next version, marked as unpublished, if the current one is
// still in place.
func (w *work) stage(tx *nscstore.Tx) error {
	return errors.Join(
		tx.ExpectAccount(w.name, w.cur.Token),
		tx.PutAccount(w.name, w.next.Token),
		tx.SetPublished(w.key, w.edited()))
}

// edited is what is known of the publication once the next version is in place.
func (w *work) edited() nscstore.Publication {
	if w.dirty {
		return w.pub.Edited(w.cur.ID, "")
	}
	return w.pub.Edited(w.cur.ID, w.cur.Token)
}

// writeNext writes the next version, unless there is nothing new.
func (s *session) writeNext(ctx context.Context, r *root, w *work) error {
	if w.same {
		return nil
	}
	return s.store.Update(ctx, r.Name(), w.stage)
}

// keepLocal ends a change that is not to be published.
func (s *session) keepLocal(ctx context.Context, r *root, w *work, why string) (*receipt, func(*receipt) error, error) {
	if err := s.writeNext(ctx, r, w); err != nil {
		return nil, nil, err
	}
	return &receipt{
		Kind: "account", Name: w.name, Key: w.key, ID: w.next.ID, Outcome: localOutcome(w.same), Note: why,
		Warnings: budgetWarnings(w.name, w.next),
	}, nil, nil
}

// committed records that accountd took w.
func (s *session) committed(ctx context.Context, r *root, w *work, res api.Result, proof func(*receipt) error) (*receipt, func(*receipt) error, error) {
	if got, ok := s.answers[w.key]; ok {
		rec, err := s.countersigned(ctx, r, w, res, got)
		return rec, nil, err
	}
	rec := &receipt{
		Kind: "account", Name: w.name, Key: w.key, ID: res.ID, Revision: res.Revision,
		Outcome: res.Outcome, Findings: res.Findings, Sent: true, Warnings: budgetWarnings(w.name, w.next),
	}
	now := nscstore.Publication{ID: w.next.ID, Revision: res.Revision}
	if now == w.pub && w.same {
		return rec, proof, nil
	}
	err := s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error { return tx.SetPublished(w.key, now) })
	if err != nil {
		return rec, nil, fault.New(fault.CodeOf(err), "%s was published, and recording it failed: %w", w.name, err).
			WithHint("nsc push -a %s", w.name)
	}
	return rec, proof, nil
}

// rebase takes accountd's version in place of the local one, so that the edit
// can be redone on it. It answers no if the local one has edits of its own that
// accountd never had.
func (s *session) rebase(ctx context.Context, r *root, w *work, res api.Result) (bool, error) {
	v := res.Current
	if v == nil || v.Deleted {
		return false, nil
	}
	doc, pub := w.cur, nscstore.Publication{ID: v.ID, Revision: v.Revision}
	switch err := wentBack(w, *v); {
	case err != nil:
		return false, err
	case v.ID == w.cur.ID:
	case w.pub.Owns(v.ID):
		pub.Unpublished, pub.Own = true, w.pub.Own
	case w.dirty:
		return false, nil
	default:
		if doc, err = s.fetch(ctx, r, w.key); err != nil {
			return false, err
		}
		pub.ID = doc.ID
	}
	err := s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		return errors.Join(
			tx.ExpectAccount(w.name, w.next.Token),
			tx.PutAccount(w.name, doc.Token), tx.SetPublished(w.key, pub))
	})
	if err != nil {
		return false, err
	}
	w.cur, w.pub, w.dirty = doc, pub, pub.Unpublished
	return true, nil
}

// fetch returns accountd's version of an account.
func (s *session) fetch(ctx context.Context, r *root, key string) (*claims.Document, error) {
	if r.tenant {
		return s.served(ctx, r, key)
	}
	c, err := s.client(ctx, r)
	if err != nil {
		return nil, err
	}
	got, err := s.get(ctx, c, key)
	if err != nil {
		return nil, err
	}
	return r.trusted(key, got.Version.JWT)
}

// putBack restores the local account as it was before a refused change.
func (s *session) putBack(ctx context.Context, r *root, was *work, res api.Result, cause error) error {
	err := s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		if was.pub == (nscstore.Publication{}) {
			return errors.Join(tx.PutAccount(was.name, was.cur.Token), tx.ForgetPublished(was.key))
		}
		return errors.Join(tx.PutAccount(was.name, was.cur.Token), tx.SetPublished(was.key, was.pub))
	})
	if err != nil {
		return fault.New(fault.CodeOf(cause), "%w; and the local account could not be put back: %v", cause, err)
	}
	if f := fault.As(cause); f != nil && f.Code == fault.Conflict && f.Hint == "" {
		return conflict(was, res)
	}
	return cause
}
