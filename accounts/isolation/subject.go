package isolation

import (
	"slices"
	"strings"
)

const (
	anyToken = "*"
	anyTail  = ">"
)

// tokens is a subject or pattern cut at its dots.
type tokens []string

func split(s string) tokens { return strings.Split(s, ".") }

func (t tokens) String() string { return strings.Join(t, ".") }

func (t tokens) wild() bool {
	return slices.Contains(t, anyToken) || slices.Contains(t, anyTail)
}

// matches reports whether a subscription to pattern t gets a message that is
// named text. The text counts as it stands: a * or > in it is a token like any
// other, which the * of a pattern eats. Servers look up permissions the same
// way, with the pattern of a subscription as the text.
func (t tokens) matches(text tokens) bool {
	if slices.Contains(text, "") {
		return false
	}
	for i, tok := range t {
		switch {
		case i >= len(text):
			return false
		case tok == anyTail:
			return true
		case tok != anyToken && tok != text[i]:
			return false
		}
	}
	return len(t) == len(text)
}

// covers reports whether servers see inner as a subset of t. Unlike matches it
// knows the wildcards of inner.
func (t tokens) covers(inner tokens) bool {
	for i, tok := range t {
		if i >= len(inner) || tok == "" {
			return false
		}
		in := inner[i]
		switch {
		case tok == anyTail:
			return true
		case in == "" || in == anyTail:
			return false
		case in == anyToken && tok != anyToken:
			return false
		case !strings.HasPrefix(tok, anyToken) && tok != in: // servers take a token that begins with * for a wildcard here
			return false
		}
	}
	return len(t) == len(inner)
}

// meets reports whether some subject matches both patterns.
func (t tokens) meets(o tokens) bool {
	_, ok := t.and(o)
	return ok
}

// and returns the pattern of the subjects that match both patterns.
func (t tokens) and(o tokens) (tokens, bool) {
	var out tokens
	for i := range min(len(t), len(o)) {
		a, b := t[i], o[i]
		switch {
		case a == anyTail:
			return append(out, o[i:]...), true
		case b == anyTail:
			return append(out, t[i:]...), true
		case a == b || b == anyToken:
			out = append(out, a)
		case a == anyToken:
			out = append(out, b)
		default:
			return nil, false
		}
	}
	return out, len(t) == len(o)
}

// valid reports whether servers accept s as a subject or pattern.
func valid(s string) bool {
	if strings.ContainsAny(s, "\t\n\f\r \x00\uFFFD") {
		return false
	}
	toks := split(s)
	for i, tok := range toks {
		if tok == "" || tok == anyTail && i != len(toks)-1 {
			return false
		}
	}
	return true
}
