package accounts

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// tagSuspended is the tag of a suspended account. It keeps the limits of
// connections that a resumed account has again:
// suspended:<clients>:<leaf nodes>.
const tagSuspended = "suspended:"

// Suspended reports whether an account is suspended.
func Suspended(ac *jwt.AccountClaims) bool { return len(suspensions(ac.Tags)) > 0 }

// Suspend lets nobody connect to ac and leaves everything else as it is:
// servers cut the connections of an account beyond its limits, and what
// JetStream holds depends on other limits. It reports whether ac changed.
func Suspend(ac *jwt.AccountClaims) bool {
	if Suspended(ac) {
		return false
	}
	limits := &ac.Limits.AccountLimits
	ac.Tags = append(slices.Clone(ac.Tags), fmt.Sprintf("%s%d:%d", tagSuspended, limits.Conn, limits.LeafNodeConn))
	limits.Conn, limits.LeafNodeConn = 0, 0
	return true
}

// Resume gives a suspended account the limits that it had, and reports whether
// it was one. It is fault.Invalid for a tag that says nothing of limits.
func Resume(ac *jwt.AccountClaims) (bool, error) {
	tags := suspensions(ac.Tags)
	if len(tags) == 0 {
		return false, nil
	}
	var conns, leafs int64
	if n, err := fmt.Sscanf(tags[0], tagSuspended+"%d:%d", &conns, &leafs); n != 2 || err != nil || len(tags) > 1 {
		return false, invalid("suspended", "account %q does not say which limits it had: %s", ac.Name, strings.Join(tags, ", ")).About("account", ac.Name)
	}
	ac.Tags = slices.DeleteFunc(slices.Clone(ac.Tags), func(tag string) bool { return tag == tags[0] })
	ac.Limits.Conn, ac.Limits.LeafNodeConn = conns, leafs
	return true, nil
}

func suspensions(tags jwt.TagList) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !strings.HasPrefix(tag, tagSuspended) })
}

// staysSuspended refuses an edit that would let somebody connect to a suspended
// account, or lose what it had.
func (e Edit) staysSuspended(before jwt.TagList, ac *jwt.AccountClaims) error {
	was := suspensions(before)
	switch {
	case !slices.Equal(was, suspensions(ac.Tags)):
		return invalid("suspended", "tags that begin with %s are those of suspended accounts", tagSuspended).About("account", ac.Name).
			WithHint("nsc suspend account %s, nsc resume account %s", fault.Words(ac.Name), fault.Words(ac.Name))
	case len(was) > 0 && (e.Conns != nil || e.LeafConns != nil):
		return fault.New(fault.Denied, "account %q is suspended, and nobody can connect to it", ac.Name).About("account", ac.Name).ByRule("suspended").
			WithHint("nsc resume account %s", fault.Words(ac.Name))
	}
	return nil
}
