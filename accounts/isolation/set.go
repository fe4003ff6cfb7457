package isolation

import "slices"

// set is a set of subjects: those of a pattern without those of others.
type set struct {
	pattern tokens
	minus   []tokens
}

// everything is what clients can publish.
func everything() set {
	return set{tokens{anyTail}, []tokens{split("_GR_.>"), split("$GR.>"), split("$NRG.>")}}
}

// and returns the part of s within a pattern.
func (s set) and(pattern tokens) (set, bool) {
	p, ok := s.pattern.and(pattern)
	if !ok {
		return set{}, false
	}
	out := set{pattern: p}
	for _, m := range s.minus {
		if m.meets(p) {
			out.minus = append(out.minus, m)
		}
	}
	return out, !out.empty()
}

// without returns s without the subjects of a pattern.
func (s set) without(pattern tokens) set {
	if !s.pattern.meets(pattern) {
		return s
	}
	return set{s.pattern, append(slices.Clip(s.minus), pattern)}
}

// fresh is a token that no pattern names.
const fresh = "\x01"

// empty is exact: a wildcard has more values than patterns can name, so that it
// is enough to look at a subject with fresh tokens, of every length that
// matters.
func (s set) empty() bool {
	if len(s.minus) == 0 {
		return false
	}
	longest := len(s.pattern)
	for _, m := range s.minus {
		longest = max(longest, len(m)+1)
	}
	probe := make(tokens, 0, longest)
	for _, tok := range s.pattern {
		if tok == anyToken || tok == anyTail {
			tok = fresh
		}
		probe = append(probe, tok)
	}
	for {
		if !anyMatches(s.minus, probe) {
			return false
		}
		if !endsOpen(s.pattern) || len(probe) > longest {
			return true
		}
		probe = append(probe, fresh)
	}
}

// through returns the image of s under a transform, given that s is within its
// source. It is exact for renames that use each wildcard once, and too wide
// otherwise.
func (s set) through(t *transform) set {
	out := set{pattern: t.image(s.pattern)}
	if !t.injective() {
		return out
	}
	for _, m := range s.minus {
		if p, ok := m.and(t.src); ok {
			out.minus = append(out.minus, t.image(p))
		}
	}
	return out
}

// injective reports whether different subjects stay different.
func (t *transform) injective() bool {
	var used []int
	for _, o := range t.ops {
		if o.kind != "" && o.kind != opWildcard {
			return false
		}
		used = append(used, o.from...)
	}
	slices.Sort(used)
	return len(slices.Compact(used)) == count(t.src, anyToken)
}

// image is the pattern that a pattern within the source becomes.
func (t *transform) image(p tokens) tokens {
	if !p.wild() && !slices.ContainsFunc(t.ops, func(o op) bool { return o.kind == opRandom }) {
		return t.apply(p, nil)
	}
	var out tokens
	for i, o := range t.ops {
		switch {
		case o.kind == "" && t.dest[i] == anyTail:
			return append(out, p[len(t.src)-1:]...)
		case o.kind == "":
			out = append(out, t.dest[i])
		case o.kind == opRandom || o.kind == opPartition:
			out = append(out, anyToken)
		default:
			arg := p[o.from[0]]
			switch {
			case arg != anyToken:
				out = append(out, split(o.token("", p))...)
			case o.kind == opWildcard || o.kind == "left" || o.kind == "right":
				out = append(out, anyToken)
			default: // any number of tokens
				return append(out, anyTail)
			}
		}
	}
	return out
}
