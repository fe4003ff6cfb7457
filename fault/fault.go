// Package fault is the one error vocabulary of the product: a code, the rule
// that refused, the thing it is about, and a hint that names the way out.
// It is mapped to exit codes and HTTP statuses here and nowhere else.
package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Code says what kind of failure an error is. Callers act on the code, people
// read the text.
type Code string

// The codes. Exit codes and HTTP statuses follow from them.
const (
	Internal    Code = "internal"    // a defect or an unexpected condition of ours
	Usage       Code = "usage"       // the command line is wrong
	NotFound    Code = "not_found"   // the named thing does not exist
	Denied      Code = "denied"      // understood, and not allowed
	Conflict    Code = "conflict"    // built on a version that is no longer the current one
	Unavailable Code = "unavailable" // not known to be committed, or not reachable
	Invalid     Code = "invalid"     // malformed or inconsistent input
	Untrusted   Code = "untrusted"   // signed by a key outside the chain of trust
	Expired     Code = "expired"     // no longer, or not yet, valid
	Pending     Code = "pending"     // committed, not proven everywhere
	No          Code = "no"          // a verification answers no
	Interrupted Code = "interrupted" // stopped by a signal
)

// Error is a failure with everything a person needs to act on it.
type Error struct {
	Code   Code
	Rule   string // short stable name of the rule that refused, "" if none
	Entity string // kind of thing: account, user, operator, file …
	Key    string // its name or public key
	Msg    string // what is wrong, lower case, without a full stop
	Hint   string // the command or step that helps, "" if none
	Err    error  // cause, may be nil
}

// New makes an error of code with a formatted message; %w keeps the cause.
func New(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// About names the thing the error is about.
func (e *Error) About(entity, key string) *Error {
	e.Entity, e.Key = entity, key
	return e
}

// ByRule names the rule that refused.
func (e *Error) ByRule(rule string) *Error {
	e.Rule = rule
	return e
}

// WithHint says what would help.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Words joins words as a shell reads them, for the command in a hint.
func Words(words ...string) string {
	var out []string
	for _, w := range words {
		if w == "" || strings.ContainsFunc(w, func(c rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@%+=,", c)
		}) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

// Error returns the message, ending in the rule in parentheses if there is one.
func (e *Error) Error() string {
	if e.Rule == "" {
		return e.Msg
	}
	return e.Msg + " (" + e.Rule + ")"
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// As returns the Error inside err, or nil.
func As(err error) *Error {
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// CodeOf returns the code of err; context errors count as Unavailable, a
// cancelled context as Interrupted, and an unknown error as Internal.
func CodeOf(err error) Code {
	if f := As(err); f != nil {
		return f.Code
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	return Internal
}

// Is reports whether err carries code.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }

// RuleOf returns the rule of err, "" if it has none.
func RuleOf(err error) string {
	if f := As(err); f != nil {
		return f.Rule
	}
	return ""
}

// ExitCode maps err to the documented exit code of the programs.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	switch CodeOf(err) {
	case Usage:
		return 2
	case NotFound:
		return 3
	case Denied:
		return 4
	case Conflict:
		return 5
	case Unavailable:
		return 6
	case Invalid, Untrusted, Expired:
		return 7
	case Pending:
		return 8
	case No:
		return 9
	case Interrupted:
		return 130
	}
	return 1
}

// HTTPStatus maps err to an HTTP status.
func HTTPStatus(err error) int {
	if err == nil {
		return 200
	}
	switch CodeOf(err) {
	case NotFound:
		return 404
	case Denied:
		return 403
	case Conflict:
		return 409
	case Unavailable, Interrupted:
		return 503
	case Usage, Invalid, Untrusted, Expired:
		return 400
	case Pending:
		return 202
	}
	return 500
}
