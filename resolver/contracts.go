package resolver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// contracts knows of every stored account which of its imports start and end, and
// when.
type contracts struct {
	index
	of map[string]importer
}

// importer is an account with imports that start or end.
type importer struct {
	rec    store.Record // without its JWT
	ends   []accounts.Ending
	starts []int64
}

// all returns the importers by key. It is not to be changed, and good until the
// next call; the lock is held until unlock.
func (c *contracts) all(r store.Reader) (all map[string]importer, unlock func(), err error) {
	c.mu.Lock()
	err = c.update(r, func() { c.of = map[string]importer{} }, c.set)
	return c.of, c.mu.Unlock, err
}

func (c *contracts) set(rec store.Record) {
	delete(c.of, rec.Key)
	if len(importsOf(rec)) == 0 {
		return
	}
	ac, err := jwt.DecodeAccountClaims(rec.JWT)
	if err != nil {
		return
	}
	rec.JWT = ""
	if im := (importer{rec, accounts.Endings(ac), accounts.Starts(ac)}); len(im.ends)+len(im.starts) > 0 {
		c.of[rec.Key] = im
	}
}

// contractWarning is how long before its end a contract is spoken of.
const contractWarning = 30 * 24 * time.Hour

// ending is a contract that will end.
type ending struct {
	importer string // name
	id       string
	accounts.Ending
}

// endings returns the contracts that will end, the first one first.
func (s *Service) endings(r store.Reader) ([]ending, error) {
	all, unlock, err := s.contracts.all(r)
	defer unlock()
	var out []ending
	for key, im := range all {
		for _, e := range im.ends {
			if e.At > s.now().Unix() {
				c := accounts.Contract{Exporter: e.Exporter, Importer: key, Type: e.Type, Subject: e.Remote}
				out = append(out, ending{im.rec.Name, c.ID(), e})
			}
		}
	}
	slices.SortFunc(out, func(a, b ending) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.id, b.id)) })
	return out, err
}

// Contracts returns how many contracts end within 30 days, and when the next one
// does; the zero time if none will.
func (s *Service) Contracts(ctx context.Context) (soon int, next time.Time, err error) {
	err = s.cfg.Store.View(ctx, func(r store.Reader) error {
		list, err := s.endings(r)
		if len(list) > 0 {
			next = time.Unix(list[0].At, 0)
		}
		soon = len(s.soon(list))
		return err
	})
	return soon, next, unavailable(err)
}

func (s *Service) soon(list []ending) []ending {
	limit := s.now().Add(contractWarning).Unix()
	n, _ := slices.BinarySearchFunc(list, limit, func(e ending, at int64) int { return cmp.Compare(e.At, at) })
	return list[:n]
}

// maxEndings bounds the contracts that a warning names.
const maxEndings = 5

// contractWarnings names what ends soon.
func (s *Service) contractWarnings(r store.Reader) ([]string, error) {
	list, err := s.endings(r)
	if err != nil {
		return nil, err
	}
	soon := s.soon(list)
	var out []string
	for _, e := range soon[:min(len(soon), maxEndings)] {
		out = append(out, fmt.Sprintf("contract %s, %s %s for %s, ends at %s: nsc contracts renew %[1]s",
			e.id, e.Type, e.Remote, e.importer, time.Unix(e.At, 0).UTC().Format(time.RFC3339)))
	}
	if more := len(soon) - maxEndings; more > 0 {
		out = append(out, fmt.Sprintf("%d more contracts end within 30 days: nsc contracts renew --due 30d", more))
	}
	return out, nil
}

// keepTerms signs importers anew whose contracts have started, or have ended,
// without that stock servers notice, so that these read them again; it returns when
// the next one will. Bundled nodes need none of that.
func (s *Service) keepTerms(ctx context.Context) (next time.Time, err error) {
	if s.cfg.Unaware == nil || !s.cfg.Unaware() || s.cfg.Signer == nil {
		return next, nil
	}
	var due []store.Record
	err = s.cfg.Store.View(ctx, func(r store.Reader) error {
		all, unlock, err := s.contracts.all(r)
		defer unlock()
		now := s.now().Unix()
		for _, im := range all {
			times, late := slices.Clone(im.starts), false
			for _, e := range im.ends {
				if e.Unnoticed {
					times = append(times, e.At)
				}
			}
			for _, t := range times {
				if at := time.Unix(t, 0); t > now && (next.IsZero() || at.Before(next)) {
					next = at
				}
				late = late || t <= now && im.rec.IssuedAt < t
			}
			if late {
				due = append(due, im.rec)
			}
		}
		return err
	})
	for _, rec := range due {
		err := s.Renew(ctx, rec.Key, rec.Revision)
		if err != nil && !fault.Is(err, fault.Conflict) { // done, or changed, meanwhile
			s.log.Error("start or end contracts of account", "account", rec.Name, "err", err)
		}
	}
	return next, err
}
