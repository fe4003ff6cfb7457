package cli

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/keys"
)

// deny tells accountd that devices get no new credentials until a time, or with
// lift that they do again. Where no accountd answers, nobody renews them.
//
// spare are keys that go with them: other devices may renew by what they signed.
func (s *session) deny(ctx context.Context, r *root, ac *account, f fleet.Fleet, devices []fleet.Suspect, until int64, lift bool, spare ...string) error {
	if ok, _ := s.online(r); !ok || r.tenant || s.flags.dryRun || len(devices) == 0 {
		return nil
	}
	if err := s.dial(ctx, r); err != nil {
		return err
	}
	c, err := s.client(ctx, r)
	if noService(err) {
		return nil
	}
	if err != nil {
		return err
	}
	pair, err := s.accountSigner(r, "")
	if err != nil {
		return err
	}
	var marks []byte
	for _, d := range devices {
		for _, m := range f.Marks(d) {
			marks = binary.BigEndian.AppendUint64(marks, uint64(m))
		}
	}
	parts := slices.Collect(slices.Chunk(marks, api.MaxMarks*8))
	for i, part := range parts {
		req := api.DenyRequest{Account: ac.key, Fleet: f.Name, Marks: part, Until: until, Lift: lift, Host: s.env.Host, Request: keys.Nonce()}
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
			return err
		}
	}
	return nil
}

// denyCut denies new credentials to devices that a plan cannot list. Where the
// keys of their cohorts go at once, healthy devices come back by renewing, unless
// whole cohorts or stations were named: their keys may be stolen.
func (s *session) denyCut(ctx context.Context, r *root, ac *account, f fleet.Fleet, p fleet.Plan, cut *deviceCut) error {
	if len(p.Retire) == 0 || len(cut.suspects) == 0 || len(f.Groups(ac.claims)) == 0 {
		return s.deny(ctx, r, ac, f, p.Exposed, cut.Until, false)
	}
	var spare []string
	for _, k := range p.Retire {
		spare = append(spare, k.Public)
	}
	cut.returns = true
	return s.deny(ctx, r, ac, f, cut.suspects, s.now+int64((f.TTL+fleet.Skew).Seconds()), false, spare...)
}
