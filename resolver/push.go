package resolver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// Push admits an account JWT that arrives by itself, as stock tools send it:
// without a base and without a signed request. The JWT's own signature is its
// authority, so it can take nothing back; findings are admitted and returned.
func (s *Service) Push(ctx context.Context, via, token string) (api.Result, error) {
	return s.stockChange(ctx, via, func(_ store.Tx, _ operator.Trust, _ store.Record, _ time.Time) ([]*change, string, error) {
		c := &change{item: api.Item{JWT: token}, noBase: true}
		c.decode()
		if c.err != nil {
			return nil, "", c.err
		}
		return []*change{c}, c.doc.Issuer, nil
	})
}

// deleteSkew bounds the age of a stock deletion request, which has no nonce of
// its own; its jti is remembered for as long.
const deleteSkew = api.RequestSkew

// Delete admits a stock deletion request: a generic JWT that an operator key
// signed for itself and that lists accounts. It is good once, and not for a
// version that is newer than itself.
func (s *Service) Delete(ctx context.Context, via, token string) (api.Result, error) {
	d, items, err := s.deletion(ctx, token)
	var streams map[string][]string
	if err == nil {
		streams, err = s.streamsOf(ctx, items)
	}
	return s.stockChange(ctx, via, func(tx store.Tx, trust operator.Trust, op store.Record, now time.Time) ([]*change, string, error) {
		if err != nil {
			return nil, "", err
		}
		if err := s.useDeletion(tx, trust, op, d, now); err != nil {
			return nil, "", err
		}
		var out []*change
		for _, item := range items {
			c := &change{item: item, noBase: true, notAfter: d.IssuedAt, streams: streams[item.Delete]}
			c.decode()
			out = append(out, c)
		}
		return out, d.Issuer, nil
	})
}

// deletion decodes a deletion request and the accounts that it lists, each once.
// Nothing is asked of servers for a request that may not delete.
func (s *Service) deletion(ctx context.Context, token string) (d *claims.Document, items []api.Item, err error) {
	if d, err = claims.Decode(token); err != nil {
		return nil, nil, err
	}
	if err := s.cfg.Store.View(ctx, func(r store.Reader) error {
		op, trust, err := s.trust(r)
		if err != nil {
			return err
		}
		return s.mayDelete(trust, op, d, s.now())
	}); err != nil {
		return nil, nil, err
	}
	list := d.Strings("accounts")
	if len(list) == 0 || len(list) > maxItems {
		return nil, nil, fault.New(fault.Invalid, "the request lists %d accounts, 1 to %d are allowed", len(list), maxItems).ByRule("malformed")
	}
	seen := map[string]bool{}
	for _, key := range list {
		if !seen[key] {
			seen[key] = true
			items = append(items, api.Item{Delete: key})
		}
	}
	if len(items) == 1 { // of several, one may be restored
		items[0].Deletion = token
	}
	return d, items, nil
}

// mayDelete refuses a deletion request that no operator key signed for itself
// just now.
func (s *Service) mayDelete(trust operator.Trust, op store.Record, d *claims.Document, now time.Time) error {
	if err := s.maySignDeletion(trust, op, d); err != nil {
		return err
	}
	if now.Sub(time.Unix(d.IssuedAt, 0)).Abs() > deleteSkew {
		return fault.New(fault.Expired, "the deletion request is more than %s old or from the future", deleteSkew).ByRule("clock")
	}
	return nil
}

func (s *Service) maySignDeletion(trust operator.Trust, op store.Record, d *claims.Document) error {
	switch {
	case d.Subject != d.Issuer:
		return fault.New(fault.Invalid, "a deletion request is signed by its subject").ByRule("signed request")
	case op.Retired[d.Issuer] != 0 || !trust.Signs(d.Issuer) || d.Issuer == s.cfg.Delegated:
		return fault.New(fault.Untrusted, "%s may not delete accounts of operator %s", keys.Short(d.Issuer), op.Name).ByRule("chain")
	}
	return nil
}

// useDeletion takes a deletion request, once.
func (s *Service) useDeletion(tx store.Tx, trust operator.Trust, op store.Record, d *claims.Document, now time.Time) error {
	if err := s.mayDelete(trust, op, d, now); err != nil {
		return err
	}
	if err := tx.UseNonce("delete:"+claims.Digest(d.Token), now, now.Add(2*deleteSkew)); err != nil {
		if errors.Is(err, store.ErrReplay) {
			return fault.New(fault.Denied, "this deletion request was used before").ByRule("signed request")
		}
		return err
	}
	return nil
}

type stockPlan func(store.Tx, operator.Trust, store.Record, time.Time) (changes []*change, actor string, err error)

// stockChange decides a change without a base. The result is that of the only
// item, or counts them; the first refusal is the error.
func (s *Service) stockChange(ctx context.Context, via string, plan stockPlan) (api.Result, error) {
	var results []api.Result
	var changes []*change
	err := s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		now := s.now()
		op, trust, err := s.trust(tx)
		if err != nil {
			return err
		}
		var key string
		changes, key, err = plan(tx, trust, op, now)
		if err != nil {
			return err
		}
		for _, c := range changes {
			s.admit(tx, c, trust, op, now)
		}
		results, err = s.commit(tx, changes, trust, actor{Key: key, Via: via}, true, now)
		return err
	})
	if err = unavailable(err); err != nil {
		s.logFailure(err)
		s.count(via, api.PutReply{Error: api.ToError(err)})
		return api.Result{}, err
	}
	s.count(via, api.PutReply{Results: results})
	s.sizes(changes)
	return summary(results)
}

// summary is the result of one item, or of several in one.
func summary(results []api.Result) (api.Result, error) {
	var refusals []string
	for _, r := range results {
		if r.Error != nil {
			if len(results) == 1 {
				return r, r.Error.Fault()
			}
			refusals = append(refusals, r.Error.Message)
		}
	}
	if len(refusals) > 0 {
		return api.Result{}, fault.New(fault.Denied, "%d of %d accounts were refused: %s", len(refusals), len(results), strings.Join(refusals, "; "))
	}
	if len(results) > 1 {
		return api.Result{Outcome: fmt.Sprintf("%d accounts", len(results))}, nil
	}
	return results[0], nil
}

// logFailure logs what is not a plain refusal.
func (s *Service) logFailure(err error) {
	if f := fault.As(err); f == nil || f.Code == fault.Unavailable || f.Code == fault.Internal {
		s.log.Error("request failed", "err", err, "cause", errors.Unwrap(err))
	}
}

// Pack calls f for every living account with its key and JWT, in key order.
func (s *Service) Pack(ctx context.Context, f func(key, token string) error) error {
	after := ""
	for {
		var page []store.Record
		if err := s.cfg.Store.View(ctx, func(r store.Reader) error {
			page = page[:0]
			return r.Scan(store.Account, after, func(rec store.Record) bool {
				page = append(page, rec)
				return len(page) < maxPage
			})
		}); err != nil {
			return unavailable(err)
		}
		for _, rec := range page {
			if rec.Deleted {
				continue
			}
			if err := f(rec.Key, rec.JWT); err != nil {
				return err
			}
		}
		if len(page) < maxPage {
			return nil
		}
		after = page[len(page)-1].Key
	}
}
