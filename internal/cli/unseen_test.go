package cli_test

import (
	"strings"
	"testing"

	"github.com/accountd/accountd/keys"
)

// TestRevocationOfWhatNobodyHasSeen: a credential that is not known here may be
// of a clock that is ahead, and the receipt does not say that it is refused.
func TestRevocationOfWhatNobodyHasSeen(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "nobody-saw")
	user, err := keys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	r := p.ok("revoke", "user", user.PublicKey(), "-a", "nobody-saw").says("refused everywhere if issued until").complains("by a clock that is ahead, still connects")
	if strings.Contains(r.out, "refused everywhere, ") {
		t.Errorf("the receipt promises too much: %s", r.out)
	}
	p.ok("add", "user", "u1", "-a", "nobody-saw")
	p.ok("revoke", "user", "u1", "-a", "nobody-saw").says("refused everywhere, ")
	p.ok("revoke", "user", "*", "-a", "nobody-saw").says("refused everywhere if issued until")
}
