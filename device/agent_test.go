package device

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/accountd/accountd/fault"
)

// TestFinal: the agent gives up on what no time heals, and on nothing else.
func TestFinal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{fault.New(fault.Denied, "x").ByRule("revoked"), true},
		{fault.New(fault.Denied, "x").ByRule("retired-key"), true},
		{fault.New(fault.Expired, "x").ByRule("too-late"), true},
		{fault.New(fault.Untrusted, "x").ByRule("chain"), true},
		{fault.New(fault.Denied, "x").ByRule("suspended"), false}, // until it is resumed
		{fault.New(fault.Expired, "x").ByRule("nonce"), false},
		{fault.New(fault.Unavailable, "x").ByRule("rate-limit"), false},
		{fault.New(fault.Unavailable, "x").ByRule("cohort-key"), false},
		{fault.New(fault.Unavailable, "x"), false},
		{fault.New(fault.Denied, "disk full"), false},
		{fault.New(fault.Conflict, "x").ByRule("one-process"), false},
		{errors.Join(fs.ErrPermission), false},
		{errors.New("x"), false},
	} {
		if final(c.err) != c.want {
			t.Errorf("%v: final %v", c.err, !c.want)
		}
	}
}
