package enroll

import (
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
)

// TestTagsDoNotWidenDevices: a token's tags that the fleet's subjects take in are
// literal tokens, whoever made the token.
func TestTagsDoNotWidenDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(func(ac *jwt.AccountClaims) {
		for _, pair := range w.cohorts {
			accounts.RoleOf(ac, pair.PublicKey()).Template.Pub.Allow.Add("site.{{tag(site)}}.>")
		}
	})
	for _, tag := range []string{"site:>", "site:*", "site:a.b"} {
		_, err := w.device("phone-1", fleet.Terms{Tags: []string{tag}}).ask()
		w.refuses(tag, err, fault.Invalid, "literal")
	}
	w.check(w.device("phone-1", fleet.Terms{Tags: []string{"site:7", "room:>"}}).enrol(), "phone-1")
}
