package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
)

// rollAt sets when a fleet is to be rolled to free its account's list.
func (a *app) rollAt(ctx context.Context, o editFleetOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	f, err := fleet.Find(ac.claims, o.name)
	if err != nil {
		return nil, err
	}
	at := fleet.RollAt{Percent: *o.rollAt, Over: f.TTL}
	if o.over != nil {
		at.Over = *o.over
	}
	if err := f.SetRollAt(copyOf(ac), at); err != nil {
		return nil, err
	}
	rec, err := s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
		before := slices.Clone(c.Tags)
		if err := f.SetRollAt(c, at); err != nil {
			return err
		}
		if slices.Sort(before); slices.Equal(before, slices.Sorted(slices.Values(c.Tags))) {
			return errUnchanged
		}
		return nil
	}})
	if rec == nil {
		return nil, err
	}
	rec.Title = fmt.Sprintf("fleet %s in %s", f.Name, ac.name)
	if at.Percent == 0 {
		rec.Lines = append(rec.Lines, "it is rolled when you say so")
		return rec, err
	}
	begins := "waits for: nsc sign proposals"
	if s.renews(r, ac, f) {
		begins = "begins by itself where accountd has a signing key; else it waits for: nsc sign proposals"
	}
	rec.Lines = append(rec.Lines, fmt.Sprintf("when %d %% of the claim are in use, a roll of all cohorts within %s %s", at.Percent, fleet.Span(at.Over), begins))
	if !r.trust.Strict {
		rec.Warnings = append(rec.Warnings, "a roll frees the list only where accounts sign no users themselves: nsc edit operator --require-signing-keys")
	}
	return rec, err
}

// rollDue rolls all cohorts of a fleet whose list has got full.
func (s *session) rollDue(ctx context.Context, r *root, ac *account, open api.Proposal) (*receipt, error) {
	f, err := fleet.Find(ac.claims, open.Fleet)
	if err != nil {
		return nil, err
	}
	o := editFleetOptions{name: f.Name, account: ac.key, roll: true}
	if at := f.RollAt(ac.claims); at.Percent > 0 {
		o.over = &at.Over
	}
	return s.editFleet(ctx, o)
}
