package resolver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
)

// upkeepPause bounds how long a look at what is due is put off, since clocks are
// set and timers stop while a machine sleeps.
const upkeepPause = time.Minute

// Upkeep does what is due in accounts as time passes, until ctx ends: keys of
// fleets are retired, horizons move, and revocations that refuse nothing any
// more go. What it cannot sign, since it has no key, waits as a proposal.
func (s *Service) Upkeep(ctx context.Context) error {
	for {
		changed := s.cfg.Store.Changed()
		next, err := s.upkeep(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.log.Error("upkeep of accounts", "err", err)
		}
		wait := upkeepPause
		if !next.IsZero() {
			wait = min(max(next.Sub(s.cfg.Now()), time.Second), upkeepPause)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-changed:
		}
		timer.Stop()
	}
}

// upkeep does what is due now and returns when there will be more to do, the
// zero time for not known.
func (s *Service) upkeep(ctx context.Context) (next time.Time, err error) {
	due, next, err := s.due(ctx)
	if err != nil || s.cfg.Signer == nil {
		return next, err
	}
	next = s.rollFull(ctx, next)
	end, err := s.keepTerms(ctx)
	if err != nil {
		return next, err
	}
	if next.IsZero() || !end.IsZero() && end.Before(next) {
		next = end
	}
	for _, d := range due {
		err := s.compact(ctx, d.Key)
		if ctx.Err() != nil {
			return next, ctx.Err()
		}
		if err != nil && !fault.Is(err, fault.Conflict) { // it was done meanwhile
			s.log.Error("compact account", "account", d.Name, "err", err)
		}
	}
	return next, nil
}

// compact takes out of an account what is of no use any more.
func (s *Service) compact(ctx context.Context, key string) error {
	var done fleet.Compacted
	_, err := s.stockChange(ctx, "accountd", func(tx store.Tx, trust operator.Trust, _ store.Record, now time.Time) ([]*change, string, error) {
		rec, err := tx.Get(store.Account, key)
		if err != nil {
			return nil, "", notStored(err, "account", key)
		}
		stored, err := claims.Decode(rec.JWT)
		if err != nil {
			return nil, "", err
		}
		var drop []revocation.Drop
		draft, err := claims.Edit(stored, func(ac *jwt.AccountClaims) error {
			if done = fleet.Compact(ac, now, trust.Strict); rec.Deleted || done.Empty() {
				return fault.New(fault.Conflict, "nothing is due in account %s", rec.Name).ByRule("conflict")
			}
			drop = fleet.Drops(ac)
			return nil
		})
		if err != nil {
			return nil, "", err
		}
		if !s.delegates(trust) {
			return nil, "", fault.New(fault.Denied, "accountd has no key to sign with").ByRule("custody")
		}
		doc, err := draft.Sign(s.cfg.Signer, max(now.Unix(), rec.IssuedAt))
		if err != nil {
			return nil, "", err
		}
		c := &change{item: api.Item{JWT: doc.Token, Drop: drop}, noBase: true}
		c.decode()
		return []*change{c}, s.cfg.Delegated, nil
	})
	if err == nil {
		s.log.Info("compacted account", "account", keys.Short(key), "keys_retired", len(done.Keys), "revocations_gone", done.Entries)
	}
	return err
}

// agenda knows when which account is to be compacted, and which fleets roll. It follows the changes.
type agenda struct {
	mu   sync.Mutex
	seen uint64 // change up to which it knows
	next map[string]dueAccount
	roll map[string][]api.Roll // by account
	full map[string]api.Proposal
}

// dueAccount is an account that is due at some time.
type dueAccount struct {
	Key, Name string
	fleet.Compaction
}

// dueProposals returns what is due and waits for a signature of the operator: all
// where accountd has no key to sign with, and rolls of which it does not keep the
// keys.
func (s *Service) dueProposals(ctx context.Context) ([]api.Proposal, error) {
	var trust operator.Trust
	if err := s.cfg.Store.View(ctx, func(r store.Reader) (err error) {
		_, trust, err = s.trust(r)
		return err
	}); err != nil {
		return nil, err
	}
	due, _, err := s.due(ctx)
	var out []api.Proposal
	if s.cfg.Signer == nil || !s.delegates(trust) {
		for _, d := range due[:min(len(due), maxProposals)] {
			out = append(out, api.Proposal{Account: d.Key, Name: d.Name, Do: api.DoCompact, Since: d.At, By: d.By})
		}
	}
	if trust.Strict { // elsewhere a roll frees nothing
		out = append(out, s.unableToRoll(ctx, s.agenda.fullAt(s.now().Unix()), trust)...)
	}
	return out, err
}

// fullAt returns the rolls that are due at now.
func (a *agenda) fullAt(now int64) (out []api.Proposal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(a.full)) {
		if p := a.full[key]; p.Since <= now && len(out) < maxProposals {
			out = append(out, p)
		}
	}
	return out
}

// due returns the accounts that are due now, the earliest first, and when the
// next one will be, the zero time for never.
func (s *Service) due(ctx context.Context) (due []dueAccount, next time.Time, err error) {
	a, now := &s.agenda, s.now().Unix()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := s.cfg.Store.View(ctx, s.followAgenda); err != nil {
		return nil, next, err
	}
	first := int64(0)
	for _, d := range a.next {
		switch {
		case d.At <= now:
			due = append(due, d)
		case first == 0 || d.At < first:
			first = d.At
		}
	}
	if first > 0 {
		next = time.Unix(first, 0)
	}
	slices.SortFunc(due, func(a, b dueAccount) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Key, b.Key)) })
	return due, next, nil
}

// Rolls returns the fleets with keys that were replaced and are not retired yet.
func (s *Service) Rolls(ctx context.Context) ([]api.Roll, error) {
	a := &s.agenda
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := s.cfg.Store.View(ctx, s.followAgenda); err != nil {
		return nil, unavailable(err)
	}
	var out []api.Roll
	for _, key := range slices.Sorted(maps.Keys(a.roll)) {
		out = append(out, a.roll[key]...)
	}
	return out, nil
}

// followAgenda takes the accounts that have changed since it was last called, by
// any process, and tells their sizes. The first time it reads all.
func (s *Service) followAgenda(r store.Reader) error {
	return s.agenda.follow(r, func(rec store.Record) {
		size := len(rec.JWT)
		if rec.Deleted {
			size = 0
		}
		s.cfg.Meter.Stored(rec.Key, rec.Name, size)
		s.agenda.take(rec)
	})
}

func (a *agenda) follow(r store.Reader, take func(store.Record)) error {
	head, err := r.Head()
	if err != nil || head == a.seen {
		return err
	}
	if a.next == nil || head < a.seen {
		a.next, a.roll, a.seen = map[string]dueAccount{}, map[string][]api.Roll{}, 0
		a.full = map[string]api.Proposal{}
		err := r.Scan(store.Account, "", func(rec store.Record) bool {
			take(rec)
			return true
		})
		if err == nil {
			a.seen = head
		}
		return err
	}
	for a.seen < head {
		changes, err := r.Changes(a.seen, maxPage)
		if err != nil || len(changes) == 0 {
			return err
		}
		for _, ch := range changes {
			if ch.Kind == store.Account {
				rec, err := r.Get(store.Account, ch.Key)
				if err != nil {
					return err
				}
				take(rec)
			}
			a.seen = ch.Seq
		}
	}
	return nil
}

// take notes when an account is due. A claim that cannot be read never is.
func (a *agenda) take(rec store.Record) {
	delete(a.next, rec.Key)
	delete(a.roll, rec.Key)
	delete(a.full, rec.Key)
	if rec.Deleted || !hasFleet(rec.JWT) {
		return
	}
	doc, err := claims.Decode(rec.JWT)
	if err != nil {
		return
	}
	ac, err := claims.As[jwt.AccountClaims](doc)
	if err != nil {
		return
	}
	if next, ok := fleet.NextCompaction(ac); ok {
		a.next[rec.Key] = dueAccount{Key: rec.Key, Name: rec.Name, Compaction: next}
	}
	if f, due, ok := fleet.NextRoll(ac, float64(len(rec.JWT))/api.MaxClaim, rec.IssuedAt); ok {
		a.full[rec.Key] = api.Proposal{Account: rec.Key, Name: rec.Name, Do: api.DoRoll, Fleet: f.Name, Since: due.At, By: due.By}
	}
	for _, f := range fleet.All(ac) {
		if r, ok := f.Rolling(ac); ok {
			a.roll[rec.Key] = append(a.roll[rec.Key], api.Roll{Account: rec.Key, Name: rec.Name, Fleet: f.Name, Old: r.Old, Next: r.Next, Last: r.Last})
		}
	}
}

// hasFleet reports, without decoding the claims, whether a JWT may be that of an
// account with a fleet.
func hasFleet(token string) bool {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	return err == nil && bytes.Contains(text, []byte(`"fleet`))
}
