package cli

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// denial lets devices get no new credentials, or do again.
type denial struct {
	devices []fleet.Suspect
	until   int64 // Unix seconds
	lift    bool
	spare   []fleet.Key // that go with them: other devices may renew by what they signed
}

// renews reports whether there is an accountd that may renew devices of f.
func (s *session) renews(r *root, ac *account, f fleet.Fleet) bool {
	ok, _ := s.online(r)
	return ok && !r.tenant && len(f.Groups(ac.claims)) > 0
}

// deny tells accountd. It reports how many ids and keys that changed, and false
// if there is no accountd, so that nobody renews devices.
func (s *session) deny(ctx context.Context, r *root, ac *account, f fleet.Fleet, d denial) (changed int, told bool, err error) {
	if ok, _ := s.online(r); !ok || r.tenant || s.flags.dryRun || len(d.devices)+len(d.spare) == 0 {
		return 0, false, nil
	}
	if err := s.dial(ctx, r); err != nil {
		return 0, false, err
	}
	c, err := s.client(ctx, r)
	if noService(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	pair, err := s.accountSigner(r, "")
	if err != nil {
		return 0, false, err
	}
	var marks []byte
	for _, one := range d.devices {
		for _, m := range f.Marks(one) {
			marks = binary.BigEndian.AppendUint64(marks, uint64(m))
		}
	}
	spare := map[string]string{}
	for _, k := range d.spare {
		spare[k.Public] = k.Role
	}
	parts := slices.Collect(slices.Chunk(marks, api.MaxMarks*8))
	if len(parts) == 0 {
		parts = [][]byte{nil}
	}
	for i, part := range parts {
		req := api.DenyRequest{Account: ac.key, Marks: part, Until: d.until, Lift: d.lift, Host: s.env.Host, Request: keys.Nonce()}
		if i == len(parts)-1 { // nobody renews by them who was not denied first
			req.Spare = spare
		}
		ctx, end := s.patience(ctx)
		reply, err := c.Deny(ctx, pair, req)
		end()
		if err == nil {
			err = reply.Error.Fault()
		}
		if err != nil {
			return changed, true, err
		}
		changed += reply.Changed
	}
	return changed, true, nil
}

// spareRolled lets devices renew by what the keys signed that a roll retires before
// it has expired, where somebody renews them.
func (s *session) spareRolled(ctx context.Context, r *root, ac *account, e *fleetEdit) error {
	if e.window.Returns == 0 || !s.renews(r, ac, e.old) || len(e.cohorts) == 0 {
		e.window.Returns = 0
		return nil
	}
	_, told, err := s.deny(ctx, r, ac, e.old, denial{until: e.window.Returns, spare: replacedKeys(e.old, ac, e.cohorts)})
	if !told && !s.flags.dryRun {
		e.window.Returns = 0
	}
	return err
}

// replacedKeys are the keys of cohorts that a roll replaces.
func replacedKeys(f fleet.Fleet, ac *account, cohorts []int) []fleet.Key {
	return slices.DeleteFunc(f.Keys(ac.claims), func(k fleet.Key) bool { return !slices.Contains(cohorts, k.Cohort) })
}

// denyCut denies new credentials to devices that a plan cannot list. Where keys of
// their cohorts go before what they signed has expired, healthy devices come back
// by renewing, unless whole cohorts or stations were named: their keys may be stolen.
func (s *session) denyCut(ctx context.Context, r *root, ac *account, f fleet.Fleet, p *fleet.Plan, cut *deviceCut) error {
	if p.Returns == 0 {
		_, _, err := s.deny(ctx, r, ac, f, denial{devices: p.Exposed, until: cut.Until})
		return err
	}
	d := denial{devices: cut.suspects, until: p.Returns, spare: p.Retire}
	if len(p.Retire) == 0 {
		d.devices, d.spare = p.Exposed, replacedKeys(f, ac, p.Renew)
	}
	_, told, err := s.deny(ctx, r, ac, f, d)
	full := fault.RuleOf(err) == "denied" && len(p.Retire) > 0
	if !told && !s.flags.dryRun || full {
		p.Returns, cut.Returns = 0, 0
	}
	if full { // it refuses them all the same, and the healthy with them
		return nil
	}
	return err
}
