package nscstore

import (
	"path"
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

// alike reports whether two names differ in case only: on some disks both would
// be the same file.
func alike(a, b string) bool { return a != b && strings.EqualFold(a, b) }

// collision refuses a new name because of one that is alike.
func collision(kind, name, other string) error {
	return fault.New(fault.Invalid, "%s name %q differs from %q in upper and lower case only", kind, name, other).
		About(kind, name).ByRule("name-collision").WithHint("choose another name")
}

// RequireFreeAccount refuses the name of a new account that differs from the
// name of another one in case only.
func (v view) RequireFreeAccount(name string) error {
	return v.requireFree("account", name, accountsDir, name, v.HasAccount)
}

// RequireFreeUser is RequireFreeAccount for a new user of an account.
func (v view) RequireFreeUser(account, name string) error {
	file := userFile(account, name)
	return v.requireFree("user", name, path.Dir(file), path.Base(file), func(other string) bool { return v.HasUser(account, other) })
}

// requireFree refuses the name of a new thing, whose entry in dir is to be
// called entry, if that of another one is alike.
func (v view) requireFree(kind, name, dir, entry string, exists func(string) bool) error {
	entries, err := v.tree.alike(dir, entry)
	if err != nil {
		return ioFault("look for names like "+name, err)
	}
	for _, e := range entries {
		if other := e[:len(e)-len(entry)+len(name)]; exists(other) {
			return collision(kind, name, other)
		}
	}
	return nil
}
