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
func (s *session) deny(ctx context.Context, r *root, ac *account, f fleet.Fleet, devices []fleet.Suspect, until int64, lift bool) error {
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
	for part := range slices.Chunk(marks, api.MaxMarks*8) {
		ctx, end := s.patience(ctx)
		reply, err := c.Deny(ctx, pair, api.DenyRequest{Account: ac.key, Marks: part, Until: until, Lift: lift, Host: s.env.Host, Request: keys.Nonce()})
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
