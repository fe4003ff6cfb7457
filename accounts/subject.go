// Package accounts is about tenants: what their claims say, what they share,
// and what of it servers will not honour. It is pure: the clock is a parameter.
package accounts

import (
	"slices"
	"strconv"
	"strings"
)

const (
	anyToken = "*"
	anyTail  = ">"
)

// Overlaps reports whether some literal subject matches both patterns.
func Overlaps(a, b string) bool {
	if apart(a, b) {
		return false
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		if as[i] == anyTail || bs[i] == anyTail {
			return true
		}
		if as[i] != bs[i] && as[i] != anyToken && bs[i] != anyToken {
			return false
		}
	}
	return len(as) == len(bs)
}

// apart reports whether first tokens already tell that two subjects, of which
// one may have references, do not overlap.
func apart(a, b string) bool {
	first, _, _ := strings.Cut(a, ".")
	other, _, _ := strings.Cut(b, ".")
	if first == "" || other == "" {
		return false
	}
	return first != other && !strings.ContainsRune("*>$", rune(first[0])) && !strings.ContainsRune("*>$", rune(other[0]))
}

// Within reports whether every subject that inner matches is matched by outer.
func Within(inner, outer string) bool {
	if apart(inner, outer) {
		return false
	}
	is, os := strings.Split(inner, "."), strings.Split(outer, ".")
	for i, o := range os {
		if i >= len(is) {
			return false
		}
		if o == anyTail {
			return true
		}
		if is[i] == anyTail || o != anyToken && o != is[i] {
			return false
		}
	}
	return len(is) == len(os)
}

// references returns the numbers n of the $n tokens of a local subject.
func references(local string) []int {
	var out []int
	for tok := range strings.SplitSeq(local, ".") {
		if n, ok := reference(tok); ok {
			out = append(out, n)
		}
	}
	return out
}

func reference(token string) (int, bool) {
	if len(token) < 2 || token[0] != '$' {
		return 0, false
	}
	n, err := strconv.Atoi(token[1:])
	return n, err == nil && n > 0
}

// pattern turns the $n tokens of a local subject into wildcards.
func pattern(local string) string {
	toks := strings.Split(local, ".")
	for i, tok := range toks {
		if _, ok := reference(tok); ok {
			toks[i] = anyToken
		}
	}
	return strings.Join(toks, ".")
}

// misrouted reports whether servers map a rename with these references wrongly:
// their reverse mapping is right only for permutations that are their own
// inverse (subject_transform.go, reverse; nats-server 2.15).
func misrouted(refs []int) bool {
	sorted := slices.Sorted(slices.Values(refs))
	for i, n := range sorted {
		if n != i+1 {
			return true
		}
	}
	for i, n := range refs {
		if refs[n-1] != i+1 {
			return true
		}
	}
	return false
}

// reversible reports whether servers can turn a rename with wildcards back:
// every wildcard is named once, or another one in its place, as [misrouted]
// finds. Tokens of remote that look like references count as such then.
func reversible(remote, local string) bool {
	wildcards, alike, named := 0, 0, 0
	for tok := range strings.SplitSeq(remote, ".") {
		if tok == anyToken {
			wildcards++
		} else if _, ok := reference(tok); ok {
			alike++
		}
	}
	for tok := range strings.SplitSeq(local, ".") {
		switch {
		case tok == anyToken, strings.HasPrefix(tok, "{{") && strings.Contains(strings.ToLower(tok), "wildcard"):
			named++
		case len(tok) > 1 && tok[0] == '$' && tok[1] >= '1' && tok[1] <= '9':
			if n, ok := reference(tok); !ok || n > wildcards {
				return false
			}
			named++
		}
	}
	return wildcards <= named && named <= wildcards+alike
}
