package resolver

import (
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// TestNamesDoNotWidenRoles: no door takes an account whose name or tags would
// widen a role of it.
func TestNamesDoNotWidenRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	withRole := func(ac *jwt.AccountClaims) {
		scope := jwt.NewUserScope()
		scope.Key, scope.Role = must(keys.NewAccount()).PublicKey(), "r"
		scope.Template.Pub.Allow = jwt.StringList{"{{account-name()}}.x", "t.{{account-tag(region)}}"}
		ac.SigningKeys.AddScopedSigner(scope)
	}
	refused := func(d *claims.Document, base string) {
		t.Helper()
		if res := w.put(api.Item{JWT: d.Token, Base: base}); res.Error == nil || res.Error.Rule != "literal" {
			t.Errorf("%s: %+v", d.Name, res)
		}
	}
	coke := w.named("coke", "region:eu")
	w.mustPut(coke, "")
	roled := w.edit(coke, withRole)
	w.mustPut(roled, coke.ID)
	refused(w.edit(roled, func(ac *jwt.AccountClaims) { ac.Name = ">" }), roled.ID)
	refused(w.edit(roled, func(ac *jwt.AccountClaims) { ac.Name = "coke.x" }), roled.ID)
	refused(w.edit(roled, func(ac *jwt.AccountClaims) { ac.Tags = jwt.TagList{"region:*"} }), roled.ID)
	dotted := w.named("a.b")
	w.mustPut(dotted, "")
	refused(w.edit(dotted, withRole), dotted.ID)
}
