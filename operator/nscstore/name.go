package nscstore

import (
	"strings"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// ValidateName checks a new name of a kind of thing: see claims.CheckName.
func ValidateName(kind, name string) error { return claims.CheckName(kind, name) }

// requireSafe refuses a name that is no single component of a path.
func requireSafe(kind, name string) error { return claims.CheckPathName(kind, name) }

// safeName reports whether name is one component of a path.
func safeName(name string) bool { return claims.CheckPathName("", name) == nil }

// RequireFree refuses a name that differs from an existing one in case only:
// on some disks both would be the same file.
func RequireFree(kind, name string, existing []string) error {
	for _, other := range existing {
		if other != name && strings.EqualFold(other, name) {
			return fault.New(fault.Invalid, "%s name %q differs from %q in upper and lower case only", kind, name, other).
				About(kind, name).ByRule("name-collision").WithHint("choose another name")
		}
	}
	return nil
}
