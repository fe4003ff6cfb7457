package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// published returns the last version that accountd took, nil if it is not known.
func (w *work) published() *claims.Document {
	if !w.dirty {
		return w.cur
	}
	if doc, err := claims.Decode(w.pub.Base); err == nil && doc.ID == w.pub.ID {
		return doc
	}
	return nil
}

// mine reports whether a version of accountd is the local one, or one that the
// local one is an edit of.
func (w *work) mine(id string) bool { return id == w.cur.ID || w.pub.Owns(id) }

// behind reports whether v, of accountd, is older than the version that it took
// before: then nobody has published since its store went back. A server that
// numbers nothing, revision 0, tells nothing of that.
func (w *work) behind(v api.Version) bool {
	p := w.published()
	return v.Revision > 0 && v.Revision < w.pub.Revision && p != nil && v.IssuedAt <= p.IssuedAt
}

// wentBack is the error of an accountd that serves v where it has taken a later
// version before: its store is an older copy, and the local version may be the
// last that holds a revocation. It is nil for any other version.
func wentBack(w *work, v api.Version) error {
	if v.Revision == 0 || v.Revision > w.pub.Revision || v.ID == w.pub.ID || w.mine(v.ID) || v.Deleted {
		return nil
	}
	f := fault.New(fault.Conflict, "accountd serves revision %d of %s and has published revision %d before: its store is an older copy",
		v.Revision, w.name, w.pub.Revision).About("account", w.name).ByRule("store-went-back")
	name := shellWords([]string{w.name})
	if w.behind(v) {
		return f.WithHint("publish the local version again with: nsc push -a %s, or give it up with: nsc pull -a %s --overwrite-newer", name, name)
	}
	return f.WithHint("put the local version on top of it with: nsc pull -a %s --merge, or give it up with --overwrite-newer", name)
}

// letsBack is the error of a version of accountd that lacks a revocation which
// the local, published one holds.
func letsBack(w *work, theirs *claims.Document, dropped []string) error {
	mine, err := claims.As[jwt.AccountClaims](w.cur)
	if err != nil {
		return err
	}
	served, err := claims.As[jwt.AccountClaims](theirs)
	if err != nil {
		return err
	}
	missing := missingFrom(served.Revocations, mine.Revocations, dropped)
	for _, e := range served.Exports {
		for _, had := range mine.Exports {
			if had.Subject == e.Subject && had.Type == e.Type {
				missing += missingFrom(e.Revocations, had.Revocations, nil)
			}
		}
	}
	if missing == 0 {
		return nil
	}
	name := shellWords([]string{w.name})
	return fault.New(fault.Conflict, "the served version of %s lacks %s that the local one holds", w.name, count(missing, "revocation")).
		About("account", w.name).ByRule("lacks-revocation").
		WithHint("if they were taken back on purpose: nsc pull -a %s --overwrite-newer; else keep them with: nsc pull -a %s --merge", name, name)
}

// refuseBack is the error of pulling a version that takes the local one back.
func refuseBack(w *work, theirs *claims.Document, got api.GetReply) error {
	err := wentBack(w, *got.Version)
	if err == nil && !w.dirty {
		err = letsBack(w, theirs, got.Dropped)
	}
	return err
}

// missingFrom counts what is lets back that was refused by had; dropped entries
// are of users that something else refuses.
func missingFrom(is, had jwt.RevocationList, dropped []string) int {
	n, gone := 0, make(map[string]bool, len(dropped))
	for _, key := range dropped {
		gone[key] = true
	}
	for _, e := range revocation.List(is).Missing(revocation.List(had)) {
		if !revocation.List(is).Covers(e.Key, e.At) && !gone[e.Key] {
			n++
		}
	}
	return n
}

// stageLater signs the local version anew with a later time, and keeps that.
func (s *session) stageLater(ctx context.Context, r *root, w *work, at int64) (err error) {
	if w.next, err = s.later(r, w.cur, at); err != nil {
		return err
	}
	pub := w.edited()
	if err := s.store.Update(ctx, r.Name(), w.stage); err != nil {
		return err
	}
	w.pub = pub
	return nil
}

// again sends once more, on the version that accountd has, what conflicts with
// nothing but a store that went back, or with a version of one's own that was
// not recorded here; and signed anew, what is of the same second as that.
// accountd still refuses what lacks an entry of its lists.
func (s *session) again(ctx context.Context, r *root, works []*work, items []api.Item, results []api.Result) error {
	var at []int
	var retry []api.Item
	for i, res := range results {
		if !fault.Is(res.Error.Fault(), fault.Conflict) {
			continue
		}
		base := ""
		switch v := res.Current; {
		case v != nil && res.Error.Rule == ruleSecond:
			if err := s.stageLater(ctx, r, works[i], v.IssuedAt+1); err != nil {
				return err
			}
			base, items[i].JWT = items[i].Base, works[i].next.Token
		case v == nil && works[i].pub.ID == "", v != nil && v.Deleted:
			continue
		case v == nil:
		case works[i].pub.Owns(v.ID) || works[i].behind(*v) && v.ID != works[i].cur.ID:
			base = v.ID
		default:
			continue
		}
		items[i].Base = base
		at, retry = append(at, i), append(retry, items[i])
	}
	if len(retry) == 0 {
		return nil
	}
	second, err := s.putAll(ctx, r, retry, works[0].next.Issuer)
	for i, res := range second {
		results[at[i]] = res
	}
	return err
}
