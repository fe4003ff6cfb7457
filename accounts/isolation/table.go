package isolation

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// table finds patterns by what they have in common with another one, among those
// of thousands of tenants.
type table[T any] struct {
	next map[string]*table[T] // by the next token
	here []T                  // of patterns that end
}

// add takes a pattern. A token that begins with a star servers take for a wildcard
// in some places.
func (t *table[T]) add(pattern tokens, v T) {
	for _, tok := range pattern {
		if strings.HasPrefix(tok, anyToken) {
			tok = anyToken
		}
		if t.next == nil {
			t.next = map[string]*table[T]{}
		}
		if t.next[tok] == nil {
			t.next[tok] = &table[T]{}
		}
		t = t.next[tok]
	}
	t.here = append(t.here, v)
}

// meeting yields what can have a subject in common with a pattern, always in the
// same order.
func (t *table[T]) meeting(pattern tokens) iter.Seq[T] {
	return func(yield func(T) bool) { t.walk(pattern, yield) }
}

func (t *table[T]) walk(pattern tokens, yield func(T) bool) bool {
	if len(pattern) == 0 {
		return each(t.here, yield)
	}
	tok, tail := pattern[0], len(pattern) == 1 && pattern[0] == anyTail
	keys := []string{tok, anyToken}
	if strings.HasPrefix(tok, anyToken) || tail {
		keys = slices.Sorted(maps.Keys(t.next))
	}
	for _, key := range slices.Compact(keys) {
		next := t.next[key]
		switch {
		case next == nil || key == anyTail:
			continue
		case tail && !each(next.here, yield) || tail && !next.walk(pattern, yield):
			return false
		case !tail && !next.walk(pattern[1:], yield):
			return false
		}
	}
	if end := t.next[anyTail]; end != nil {
		return each(end.here, yield)
	}
	return true
}

func each[T any](list []T, yield func(T) bool) bool {
	for _, v := range list {
		if !yield(v) {
			return false
		}
	}
	return true
}
