package accounts

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/revocation"
)

// Union is what several versions of one account come to.
type Union struct {
	Newest *claims.Document
	Draft  *claims.Draft // the newest with the revocations of all, still to be signed; nil if it lacks none
	Gone   []string      // signing keys that only older versions have
}

// Unite decides between versions of one account that were found in several
// places, as when servers disagree: the newest holds, and keeps what any of the
// others revokes. Of versions of one second the first given is the newest.
func Unite(versions []*claims.Document) (Union, error) {
	u := Union{Newest: slices.MaxFunc(versions, func(a, b *claims.Document) int { return cmp.Compare(a.IssuedAt, b.IssuedAt) })}
	lacks := false
	draft, err := claims.Edit(u.Newest, func(c *jwt.AccountClaims) error {
		for _, v := range versions {
			other, err := claims.As[jwt.AccountClaims](v)
			if err != nil {
				return err
			}
			lacks = KeepRevocations(c, other) || lacks
			for _, key := range other.SigningKeys.Keys() {
				if !c.SigningKeys.Contains(key) && !slices.Contains(u.Gone, key) {
					u.Gone = append(u.Gone, key)
				}
			}
		}
		return nil
	})
	if lacks {
		u.Draft = draft
	}
	slices.Sort(u.Gone)
	return u, err
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
