package resolver

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
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
	case !reflect.DeepEqual(c.ac.DefaultPermissions, jwt.Permissions{}):
		why = "default permissions would bind accountd's own user, and take its subjects from it"
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
	case c.ac.SigningKeys[self.Issuer] != nil:
		why = "it makes a role of the signing key of accountd's own user, which then no longer fits it"
	}
	if why == "" {
		return nil
	}
	return fault.New(fault.Denied, "system account %s: %s", c.name(), why).ByRule("system account")
}

// checkName refuses a new name that tools cannot keep, or that is the system
// account's.
func checkName(r store.Reader, c *change, trust operator.Trust) error {
	name := c.doc.Name
	if name == "" || c.old.Revision > 0 && c.old.Name == name {
		return nil
	}
	if err := claims.CheckName("account", name); err != nil {
		return err
	}
	if c.key == trust.SystemAccount {
		return nil
	}
	sys, err := r.Get(store.Account, trust.SystemAccount)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && strings.EqualFold(sys.Name, name) {
		return fault.New(fault.Denied, "%s is the name of the system account", name).ByRule("system account").WithHint("choose another name")
	}
	return err
}
