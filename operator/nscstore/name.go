package nscstore

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/accountd/accountd/fault"
)

// maxName is the longest name in bytes that leaves room for a file suffix on
// common file systems.
const maxName = 240

// ValidateName checks a new name of a kind of thing ("operator", "account",
// "user"), which becomes a file name: not empty, UTF-8, at most 240 bytes, no
// slash or backslash, not "." or "..", no control characters, no space at
// either end, and no ".accountd" at its start, which is kept for this package.
// The error is fault.Invalid with the rule.
func ValidateName(kind, name string) error {
	if rule, problem := nameProblem(name); rule != "" {
		return fault.New(fault.Invalid, "%s name %q %s", kind, name, problem).About(kind, name).ByRule(rule)
	}
	return nil
}

// nameProblem returns the broken rule and what is wrong, or "".
func nameProblem(name string) (rule, problem string) {
	switch {
	case !safeName(name):
		return unsafeNameProblem(name)
	case !utf8.ValidString(name):
		return "name-utf8", "is not UTF-8"
	case len(name) > maxName:
		return "name-length", "is longer than 240 bytes"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "name-control", "has a control character"
	case strings.TrimSpace(name) != name:
		return "name-space", "begins or ends with a space"
	case strings.HasPrefix(strings.ToLower(name), ".accountd"):
		return "name-reserved", "begins with .accountd, which is reserved"
	}
	return "", ""
}

// safeName reports whether name is one component of a path. Names of stores
// that others laid out need no more to be read and deleted.
func safeName(name string) bool {
	rule, _ := unsafeNameProblem(name)
	return rule == ""
}

func unsafeNameProblem(name string) (rule, problem string) {
	switch {
	case name == "":
		return "name-empty", "is empty"
	case strings.ContainsAny(name, `/\`):
		return "name-separator", "has a slash or backslash"
	case name == "." || name == "..":
		return "name-dots", "is a way in the file system"
	case strings.ContainsRune(name, 0):
		return "name-control", "has a control character"
	}
	return "", ""
}

// requireSafe refuses a name that is no single component of a path.
func requireSafe(kind, name string) error {
	if rule, problem := unsafeNameProblem(name); rule != "" {
		return fault.New(fault.Invalid, "%s name %q %s", kind, name, problem).About(kind, name).ByRule(rule)
	}
	return nil
}

// requireFree refuses a name that differs from an existing one in case only:
// on some disks both would be the same file.
func requireFree(kind, name string, existing []string) error {
	for _, other := range existing {
		if other != name && strings.EqualFold(other, name) {
			return fault.New(fault.Invalid, "%s name %q differs from %q in upper and lower case only", kind, name, other).
				About(kind, name).ByRule("name-collision").WithHint("choose another name")
		}
	}
	return nil
}
