package claims

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// maxName is the longest name in bytes that leaves room for a file suffix on
// common file systems.
const maxName = 240

// CheckName checks a new name of a kind of thing ("operator", "account",
// "user"), which becomes a file name and an argument beside public keys: not
// empty, UTF-8, at most 240 bytes, no slash or backslash, not "." or "..", no
// control characters, no space at either end, not "*" or ">", which stand for
// all, no public key, and no ".accountd" at its start, which is kept for our
// own files. The error is fault.Invalid with the rule.
func CheckName(kind, name string) error {
	if err := CheckPathName(kind, name); err != nil {
		return err
	}
	rule, problem := "", ""
	switch {
	case !utf8.ValidString(name):
		rule, problem = "name-utf8", "is not UTF-8"
	case len(name) > maxName:
		rule, problem = "name-length", "is longer than 240 bytes"
	case strings.ContainsFunc(name, unicode.IsControl):
		rule, problem = "name-control", "has a control character"
	case strings.TrimSpace(name) != name:
		rule, problem = "name-space", "begins or ends with a space"
	case strings.HasPrefix(strings.ToLower(name), ".accountd"):
		rule, problem = "name-reserved", "begins with .accountd, which is reserved"
	case name == "*", name == ">":
		rule, problem = "name-wildcard", "stands for all"
	case nkeys.IsValidPublicKey(name):
		rule, problem = "name-key", "is a public key, and would be taken for it"
	default:
		return nil
	}
	return badName(kind, name, rule, problem)
}

// CheckPathName checks that a name is one component of a path. Names of stores
// that others laid out need no more to be read and deleted.
func CheckPathName(kind, name string) error {
	switch {
	case name == "":
		return badName(kind, name, "name-empty", "is empty")
	case strings.ContainsAny(name, `/\`):
		return badName(kind, name, "name-separator", "has a slash or backslash")
	case name == "." || name == "..":
		return badName(kind, name, "name-dots", "is a way in the file system")
	case strings.ContainsRune(name, 0):
		return badName(kind, name, "name-control", "has a control character")
	}
	return nil
}

func badName(kind, name, rule, problem string) error {
	return fault.New(fault.Invalid, "%s name %q %s", kind, name, problem).About(kind, name).ByRule(rule).WithHint("choose another name")
}
