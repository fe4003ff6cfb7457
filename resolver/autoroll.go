package resolver

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// rollFull begins the rolls that are due of fleets whose keys accountd keeps. A roll
// is a state of the claims, and one transaction begins it: whoever is killed has
// begun it or has not. It returns when there is more to do, no later than next.
func (s *Service) rollFull(ctx context.Context, next time.Time) time.Time {
	now := s.now().Unix()
	for _, p := range s.agenda.fullAt(now) {
		err := s.rollFleet(ctx, p.Account)
		if err != nil && ctx.Err() == nil && !fault.Is(err, fault.Conflict) && fault.RuleOf(err) != ruleNotKept {
			s.log.Error("roll fleet", "account", p.Name, "fleet", p.Fleet, "err", err)
		}
	}
	if at := s.agenda.nextFull(now); at > 0 && (next.IsZero() || at < next.Unix()) {
		next = time.Unix(at, 0)
	}
	return next
}

// nextFull returns when the first roll is due after now, 0 for never.
func (a *agenda) nextFull(now int64) (at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.full {
		if p.Since > now && (at == 0 || p.Since < at) {
			at = p.Since
		}
	}
	return at
}

// ruleNotKept is the rule of rolls that wait for who has the keys.
const ruleNotKept = "cohort-key"

// unableToRoll returns the rolls of which accountd does not keep the keys, or that
// it should have begun.
func (s *Service) unableToRoll(ctx context.Context, full []api.Proposal, trust operator.Trust) []api.Proposal {
	return slices.DeleteFunc(full, func(p api.Proposal) bool {
		able := false
		err := s.cfg.Store.View(ctx, func(r store.Reader) error {
			rec, err := r.Get(store.Account, p.Account)
			if err != nil {
				return err
			}
			_, err = s.toRoll(r, rec, trust, s.now())
			able = err == nil
			return err
		})
		return err == nil && able && s.now().Unix() < p.By
	})
}

// dueRoll is a fleet that accountd is to roll, in the claims of its account.
type dueRoll struct {
	fleet.Fleet
	stored *claims.Document
	ac     *jwt.AccountClaims
}

// toRoll returns the fleet of an account that accountd is to roll.
func (s *Service) toRoll(r store.Reader, rec store.Record, trust operator.Trust, now time.Time) (d dueRoll, err error) {
	if rec.Deleted || !trust.Strict || s.cfg.Signer == nil || s.cfg.Keyring == nil || !s.delegates(trust) {
		return d, fault.New(fault.Denied, "accountd rolls no fleet of account %s", rec.Name).ByRule(ruleNotKept)
	}
	if d.stored, err = claims.Decode(rec.JWT); err != nil {
		return d, err
	}
	if d.ac, err = claims.As[jwt.AccountClaims](d.stored); err != nil {
		return d, err
	}
	f, due, ok := fleet.NextRoll(d.ac, float64(len(rec.JWT))/api.MaxClaim, rec.IssuedAt)
	if d.Fleet = f; !ok || due.At > now.Unix() {
		return d, fault.New(fault.Conflict, "no roll is due in account %s", rec.Name).ByRule("conflict")
	}
	signers, err := f.Signers(d.ac)
	if err != nil {
		return d, err
	}
	var public []string
	for _, k := range signers {
		public = append(public, k.Public)
	}
	has, err := s.cfg.Keyring.Has(r, rec.Key, public)
	if err == nil && !has {
		err = fault.New(fault.Denied, "accountd does not have the keys of fleet %q", f.Name).ByRule(ruleNotKept)
	}
	return d, err
}

// rollFleet begins the roll that is due in an account: new keys, which accountd
// makes and keeps, the old ones spared and to be retired within the time that was
// asked for. Nothing of it is stored without the rest.
func (s *Service) rollFleet(ctx context.Context, account string) error {
	var c *change
	var d dueRoll
	var w fleet.Window
	err := s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		g, err := s.grounds(tx, actor{Key: s.cfg.Delegated, Via: "accountd"})
		if err != nil {
			return err
		}
		rec, err := tx.Get(store.Account, account)
		if err != nil {
			return notStored(err, "account", account)
		}
		if d, err = s.toRoll(tx, rec, g.trust, g.now); err != nil {
			return err
		}
		w = d.Within(g.now.Unix(), g.now.Add(d.RollAt(d.ac).Over).Unix()-fleet.RetireTime)
		public, old, kept, err := s.cfg.Keyring.Make(tx, account, d.Cohorts)
		if err != nil {
			return err
		}
		if _, err := tx.Put(old.Revision, kept, g.who.change("keys", old, kept, g.now, "")); err != nil {
			return err
		}
		spare := map[string]string{}
		for _, k := range d.Keys(d.ac) {
			spare[k.Public] = k.Role
		}
		if _, err := deny(tx, api.DenyRequest{Account: account, Until: w.Returns, Spare: spare}, g); err != nil {
			return err
		}
		if c, err = s.rolled(d, public, w, max(g.now.Unix(), rec.IssuedAt)); err != nil {
			return err
		}
		if s.admit(tx, c, g.trust, g.op, g.now); c.err != nil {
			return c.err
		}
		results, err := s.commit(tx, []*change{c}, g.trust, g.who, true, g.now)
		if err == nil {
			err = results[0].Error.Fault()
		}
		return err
	})
	if err != nil {
		return err
	}
	s.sizes([]*change{c})
	s.log.Info("a roll began", "account", keys.Short(account), "fleet", d.Name, "retired_from", w.From, "to", w.To)
	return nil
}

// rolled is the version of an account in which a fleet has new keys.
func (s *Service) rolled(d dueRoll, public []string, w fleet.Window, issued int64) (*change, error) {
	fresh := map[int]string{}
	for cohort, key := range public {
		fresh[cohort] = key
	}
	c := &change{noBase: true}
	draft, err := claims.Edit(d.stored, func(ac *jwt.AccountClaims) error {
		template, err := d.Newest(ac)
		if err != nil {
			return err
		}
		d.Roll(ac, template, fresh, w)
		c.item.Drop = fleet.Drops(ac)
		return nil
	})
	if err != nil {
		return nil, err
	}
	doc, err := draft.Sign(s.cfg.Signer, issued)
	if err != nil {
		return nil, err
	}
	c.item.JWT = doc.Token
	c.decode()
	return c, nil
}
