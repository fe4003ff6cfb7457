package daemon

import (
	"os"

	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/fault"
)

// policy reads the policy that accountd keeps, nil for none.
func (e Env) policy(path string) (*isolation.Policy, error) {
	if path == "" {
		return nil, nil
	}
	path = e.absolute(path)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "the policy cannot be read: %w", err).About("file", path).
			WithHint("see nsc verify --help for what one looks like")
	}
	p, err := isolation.ParsePolicy(data)
	if err == nil && p.Users() {
		err = fault.New(fault.Invalid, "it names users, and accountd knows accounts only")
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "policy %s: %w", path, err).About("file", path).ByRule("policy file").
			WithHint("look at it with: nsc verify -f %s", fault.Words(path))
	}
	return &p, nil
}
