package server

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/resolver"
)

// policyPoll is how often it is looked whether the file of the policy has changed.
const policyPoll = time.Second

// policyFile is where the policy stands that accountd keeps.
type policyFile struct {
	path   string // absolute, "" for none
	reload <-chan os.Signal
	log    *slog.Logger
	first  *isolation.Policy // as of the start, nil for none

	read, seen os.FileInfo // as of the last reading, of the last look; nil if it was not there
}

// openPolicy reads the policy for the first time.
func openPolicy(path string, reload <-chan os.Signal, log *slog.Logger) (*policyFile, error) {
	f := &policyFile{path: path, reload: reload, log: log}
	var err error
	f.first, err = f.load()
	return f, err
}

// load reads the policy, nil for none.
func (f *policyFile) load() (*isolation.Policy, error) {
	if f.path == "" {
		return nil, nil
	}
	f.read, _ = os.Stat(f.path)
	f.seen = f.read
	data, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "the policy cannot be read: %w", err).About("file", f.path).
			WithHint("see nsc verify --help for what one looks like")
	}
	p, err := isolation.ParsePolicy(data)
	if err == nil && p.Users() {
		err = fault.New(fault.Invalid, "it names users, whom accountd does not store; it knows accounts and roles (account:@role)")
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "policy %s: %w", f.path, err).About("file", f.path).ByRule("policy file").
			WithHint("look at it with: nsc verify -f %s", fault.Words(f.path))
	}
	return &p, nil
}

// watch keeps s at the policy of the file until ctx ends: read again when asked,
// and when the file has changed.
func (f *policyFile) watch(ctx context.Context, s *resolver.Service) error {
	tick := time.NewTicker(policyPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.reload:
			f.renew(ctx, s)
		case <-tick.C:
			if f.path != "" && f.changed() {
				f.renew(ctx, s)
			}
		}
	}
}

// changed reports whether the file is not the one that was read, and has stopped
// changing: half of a policy can be a policy.
func (f *policyFile) changed() bool {
	was := f.seen
	f.seen, _ = os.Stat(f.path)
	return !sameFile(f.seen, f.read) && sameFile(f.seen, was)
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// renew reads the policy again. One that cannot be read leaves the old one.
func (f *policyFile) renew(ctx context.Context, s *resolver.Service) {
	p, err := f.load()
	if p == nil && err == nil {
		return
	}
	if err == nil {
		err = s.SetPolicy(ctx, *p)
	}
	if err != nil {
		s.KeepPolicy(err)
		f.log.Warn("the policy stays as it was", "error", err)
		return
	}
	f.log.Info("policy read again", "file", f.path)
	if err := warn(ctx, s, f.log); err != nil {
		f.log.Warn("cannot tell what holds of the policy", "error", err)
	}
}
