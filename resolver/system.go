package resolver

import (
	"slices"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/revocation"
)

// What accountd's own connections to the system account need at least.
const (
	minSystemConns   = 64
	minSystemSubs    = 1024
	minSystemPayload = 1 << 20
)

// checkSystemAccount refuses a version of the system account under which
// accountd's own user would fail, or which could turn its requests away.
func (s *Service) checkSystemAccount(c *change, trust operator.Trust) error {
	if c.key != trust.SystemAccount {
		return nil
	}
	self, lim := s.cfg.Self, c.ac.Limits
	why := ""
	switch {
	case lim.IsJSEnabled():
		why = "servers allow no JetStream in the system account"
	case c.doc.Expires != 0:
		why = "the system account may not expire"
	case c.ac.HasExternalAuthorization():
		why = "an auth callout would stand in the way of accountd's own user"
	case len(c.ac.Mappings) > 0:
		why = "mappings would redirect the requests of servers and of accountd"
	case lim.Conn != -1 && lim.Conn < minSystemConns, lim.Subs != -1 && lim.Subs < minSystemSubs,
		lim.Payload != -1 && lim.Payload < minSystemPayload, lim.Data != -1:
		why = "its limits are too low for accountd's own connections"
	case c.bootstrap || self.User == "":
		return nil
	case revocation.List(c.ac.Revocations).Covers(self.User, self.IssuedAt):
		why = "it revokes accountd's own user"
	case self.Issuer != c.key && !slices.Contains(c.ac.SigningKeys.Keys(), self.Issuer):
		why = "it lacks the signing key of accountd's own user"
	}
	if why == "" {
		return nil
	}
	return fault.New(fault.Denied, "system account %s: %s", c.name(), why).ByRule("system account")
}
