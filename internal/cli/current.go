package cli

import (
	"context"
)

// current takes accountd's version of an account, if the local one has no edits
// of its own, and returns it: accountd compacts accounts, and others roll fleets.
// Without an answer, and in a dry run, it is the local one.
func (s *session) current(ctx context.Context, r *root, ac *account) (*account, error) {
	if ok, _ := s.online(r); !ok || r.tenant || s.flags.dryRun {
		return ac, nil
	}
	w, err := s.begin(r, ac.name)
	if err != nil || w.dirty {
		return ac, err
	}
	if err := s.dial(ctx, r); err != nil {
		return nil, err
	}
	c, err := s.client(ctx, r)
	if err != nil {
		return ac, nil // what follows says so
	}
	if got, err := s.get(ctx, c, ac.key); err != nil || got.Version.ID == ac.doc.ID || got.Version.Deleted {
		return ac, nil
	}
	if err := s.pullOne(ctx, r, c, pullOptions{}, &receipt{Key: ac.key}); err != nil {
		return nil, err
	}
	name, err := r.Account(ac.key)
	if err != nil {
		return nil, err
	}
	return r.load(name)
}
