package resolver

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// Allow decides a signed request to let an account be made by who has its key.
func (s *Service) Allow(ctx context.Context, via, token string, body []byte) api.DoneReply {
	var req api.AllowRequest
	err := decodeBody(body, &req)
	if err == nil {
		_, err = keys.ParseAccount(req.Account)
	}
	if err == nil {
		who := actor{Via: via, Host: clip(req.Host), Request: clip(req.Request)}
		err = s.decide(ctx, who, token, body, nil, func(tx store.Tx, g grounds) error {
			old, err := tx.Get(store.Permit, req.Account)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			rec := store.Record{Kind: store.Permit, Key: req.Account, Deleted: req.Remove}
			if open := old.Revision > 0 && !old.Deleted; open != req.Remove {
				return nil // it is so already
			}
			action := "allow"
			if req.Remove {
				action = "disallow"
			}
			_, err = tx.Put(old.Revision, rec, g.who.change(action, old, rec, g.now, ""))
			return err
		})
	}
	return s.done(err)
}

func (s *Service) done(err error) api.DoneReply {
	if err = unavailable(err); err != nil {
		s.logFailure(err)
	}
	return api.DoneReply{Schema: api.Schema, Error: api.ToError(err)}
}

// maxProposals bounds what waits for a signature, one an account.
const maxProposals = 1000

// metaProposals is the name of the number of open proposals.
const metaProposals = "proposals"

// propose keeps a self-signed account until an operator key signs it. A later
// one of the same account takes its place.
func (s *Service) propose(ctx context.Context, via, token, base string) error {
	name := ""
	err := s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		now := s.now()
		op, trust, err := s.trust(tx)
		if err != nil {
			return err
		}
		posted, _, err := selfSigned(tx, token, base, now)
		if err != nil {
			return err
		}
		c := &change{item: api.Item{JWT: token}, noBase: true, proposed: true}
		c.decode()
		s.admit(tx, c, trust, op, now)
		if name = c.name(); c.err != nil {
			return c.err
		}
		old, err := tx.Get(store.Proposal, posted.Subject)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if old.JWT == token {
			return nil // it waits already
		}
		if old.Revision == 0 || old.Deleted {
			if err := countProposals(tx, 1); err != nil {
				return err
			}
		}
		rec := store.Record{Kind: store.Proposal, Key: posted.Subject}
		setVersion(&rec, posted)
		who := actor{Key: posted.Subject, Via: via}
		_, err = tx.Put(old.Revision, rec, who.change("propose", old, rec, now, "none"))
		return err
	})
	if err = unavailable(err); err != nil {
		s.logFailure(err)
		s.count(via, api.PutReply{Error: api.ToError(err)})
		return err
	}
	s.cfg.Meter.Decided(via, "proposed", "")
	return fault.New(fault.Pending, "account %s waits for a signature of the operator", name).ByRule("proposed").
		WithHint("the operator signs it with: nsc proposals accept %s; then take it with: nsc pull -a %s", name, name)
}

// countProposals adds to the number of open proposals, within its bound.
func countProposals(tx store.Tx, n int) error {
	text, err := tx.Meta(metaProposals)
	if err != nil {
		return err
	}
	open, err := strconv.Atoi("0" + text)
	if err != nil {
		return err
	}
	if n > 0 && open >= maxProposals {
		return fault.New(fault.Denied, "%d proposals wait for the operator, which is as many as may", open).ByRule("proposals")
	}
	return tx.SetMeta(metaProposals, strconv.Itoa(open+n))
}

// Proposals returns what waits for a signature of the operator: versions that
// tenants signed themselves and, where accountd has no key to sign with, what is
// due in accounts.
func (s *Service) Proposals(ctx context.Context) ([]api.Proposal, error) {
	var out []api.Proposal
	err := s.cfg.Store.View(ctx, func(r store.Reader) error {
		var open []store.Record
		if err := r.Scan(store.Proposal, "", func(rec store.Record) bool {
			if !rec.Deleted {
				open = append(open, rec)
			}
			return true
		}); err != nil {
			return err
		}
		out = nil
		for _, rec := range open {
			v, err := versionOf(r, rec)
			if err != nil {
				return err
			}
			out = append(out, api.Proposal{Account: rec.Key, Name: rec.Name, Do: api.DoSign, Since: v.At.Unix(), ID: v.ID, Size: v.Size})
		}
		return nil
	})
	if err != nil {
		return nil, unavailable(err)
	}
	due, err := s.dueProposals(ctx)
	return append(out, due...), unavailable(err)
}

// openProposal returns the proposal of an account, by its name or key.
func openProposal(r store.Reader, account string) (found store.Record, err error) {
	err = r.Scan(store.Proposal, "", func(rec store.Record) bool {
		if !rec.Deleted && (rec.Key == account || rec.Name == account) {
			found = rec
		}
		return found.Revision == 0
	})
	if err == nil && found.Revision == 0 {
		err = fault.New(fault.NotFound, "no proposal of account %s waits", clip(account)).About("proposal", clip(account)).WithHint("nsc proposals list")
	}
	return found, err
}

// Reject decides a signed request to end a proposal without a new version.
func (s *Service) Reject(ctx context.Context, via, token string, body []byte) api.DoneReply {
	var req api.RejectRequest
	err := decodeBody(body, &req)
	if err == nil {
		who := actor{Via: via, Host: clip(req.Host), Request: clip(req.Request)}
		err = s.decide(ctx, who, token, body, nil, func(tx store.Tx, g grounds) error {
			rec, err := openProposal(tx, req.Account)
			if err != nil {
				return err
			}
			return endProposal(tx, rec, req.Base, "reject", g.who, g.now)
		})
	}
	return s.done(err)
}

// endProposal closes the proposal whose jti is base. Its text goes; the log
// keeps its digest.
func endProposal(tx store.Tx, rec store.Record, base, action string, who actor, now time.Time) error {
	if rec.ID != base {
		return fault.New(fault.Conflict, "another proposal of account %s waits", rec.Name).ByRule("conflict").WithHint("look at it: nsc proposals list")
	}
	old := rec
	rec.JWT, rec.Deleted = "", true
	if _, err := tx.Put(old.Revision, rec, who.change(action, old, rec, now, base)); err != nil {
		return err
	}
	return countProposals(tx, -1)
}
