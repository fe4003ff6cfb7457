package cli

import (
	"context"
	"encoding/json"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

// giveKeys gives accountd the seeds of signing keys of an account, so that it
// can sign devices. They are sealed to who proves to be accountd.
func (s *session) giveKeys(ctx context.Context, r *root, account string, public []string) error {
	c, err := s.client(ctx, r)
	if err != nil {
		return err
	}
	by, err := s.accountSigner(r, "")
	if err != nil {
		return err
	}
	within, end := s.patience(ctx)
	defer end()
	recipient, err := c.Recipient(within, r.trust.Signs)
	if err != nil {
		return err
	}
	bundle := api.KeyBundle{Account: account}
	defer func() {
		for _, seed := range bundle.Seeds {
			nscstore.Wipe(seed)
		}
	}()
	for _, key := range public {
		seed, err := s.store.Keystore().Seed(key)
		if err != nil {
			return fault.New(fault.CodeOf(err), "give accountd the key %s: %w", keys.Short(key), err).About("key", key)
		}
		bundle.Seeds = append(bundle.Seeds, seed)
	}
	plain, err := json.Marshal(bundle)
	if err != nil {
		return fault.New(fault.Internal, "encode keys: %w", err)
	}
	defer nscstore.Wipe(plain)
	sealed, err := operator.SealTo(plain, recipient)
	if err != nil {
		return err
	}
	reply, err := c.GiveKeys(within, by, api.KeysRequest{Account: account, Sealed: sealed, Host: s.env.Host, Request: keys.Nonce()})
	if err != nil {
		return err
	}
	return reply.Error.Fault()
}

// delegate gives accountd what signs the devices of f now, and the keys of groups,
// by which they find back when servers refuse them. Where nothing is published, it
// says so.
func (s *session) delegate(ctx context.Context, r *root, ac *account, f fleet.Fleet, groups ...string) (warning string, err error) {
	if s.flags.dryRun {
		return "", nil
	}
	again := "nsc edit fleet " + f.Name + " -a " + shellWords([]string{ac.name}) + " --delegate"
	if ok, _ := s.online(r); !ok {
		return "accountd does not have the keys of the fleet; once it is there: " + again, nil
	}
	signers, err := f.Signers(ac.claims)
	if err != nil {
		return "", err
	}
	public := groups
	for _, g := range f.Groups(ac.claims) {
		if s.store.Keystore().HasSeed(g.Public) {
			public = append(public, g.Public)
		}
	}
	elsewhere := 0
	for _, k := range signers {
		if s.store.Keystore().HasSeed(k.Public) {
			public = append(public, k.Public)
		} else {
			elsewhere++
		}
	}
	if elsewhere > 0 {
		warning = count(elsewhere, "key") + " of the fleet are not in the keystore: unless accountd made them, in a roll of its own, it does not have them"
	}
	return warning, s.giveKeys(ctx, r, ac.key, public)
}

// delegateFresh gives accountd the new keys of a fleet of which it has the old
// ones, which is one with enrolment groups, before they are published.
func (s *session) delegateFresh(ctx context.Context, r *root, ac *account, f fleet.Fleet, fresh []newKey) error {
	if ok, _ := s.online(r); !ok || s.flags.dryRun || len(fresh) == 0 || len(f.Groups(ac.claims)) == 0 {
		return nil
	}
	return s.giveKeys(ctx, r, ac.key, publicKeys(fresh))
}
