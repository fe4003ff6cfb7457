package accounts

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/revocation"
)

// Unite decides between versions of one account that were found in several
// places, as when servers disagree: the newest holds, and keeps what any of the
// others revokes. Of versions of one second the first given is the newest. The
// draft is nil if the newest lacks nothing; else it is the newest with the
// revocations of all, still to be signed.
func Unite(versions []*claims.Document) (newest *claims.Document, united *claims.Draft, err error) {
	newest = slices.MaxFunc(versions, func(a, b *claims.Document) int { return cmp.Compare(a.IssuedAt, b.IssuedAt) })
	lacks := false
	draft, err := claims.Edit(newest, func(c *jwt.AccountClaims) error {
		for _, v := range versions {
			other, err := claims.As[jwt.AccountClaims](v)
			if err != nil {
				return err
			}
			lacks = KeepRevocations(c, other) || lacks
		}
		return nil
	})
	if err != nil || !lacks {
		return newest, nil, err
	}
	return newest, draft, nil
}

// KeepRevocations adds to c the revocations of from, of users and of exports
// that c has too, each with the later time. It reports whether c lacked any.
func KeepRevocations(c, from *jwt.AccountClaims) bool {
	changed := keep(&c.Revocations, from.Revocations)
	for _, theirs := range from.Exports {
		i := slices.IndexFunc(c.Exports, func(e *jwt.Export) bool { return e.Subject == theirs.Subject && e.Type == theirs.Type })
		if i >= 0 {
			changed = keep(&c.Exports[i].Revocations, theirs.Revocations) || changed
		}
	}
	return changed
}

func keep(list *jwt.RevocationList, more jwt.RevocationList) bool {
	merged := revocation.List(*list).Merge(revocation.List(more))
	if len(merged) == 0 || reflect.DeepEqual(map[string]int64(merged), map[string]int64(*list)) {
		return false
	}
	*list = jwt.RevocationList(merged)
	return true
}
