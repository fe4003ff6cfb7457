package isolation

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawPattern(t *rapid.T, name string, alphabet ...string) tokens {
	toks := tokens(rapid.SliceOfN(rapid.SampledFrom(alphabet), 1, 4).Draw(t, name))
	if rapid.Bool().Draw(t, name+" open") && slices.Contains(alphabet, anyToken) {
		toks[len(toks)-1] = anyTail
	}
	return toks
}

// TestIntersectionIsExact: a subject matches both patterns if and only if it
// matches what they have in common.
func TestIntersectionIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPattern(t, "a", "a", "b", "*"), drawPattern(t, "b", "a", "b", "*")
		s := drawPattern(t, "subject", "a", "b", "c")
		both, ok := a.and(b)
		if got, want := ok && both.matches(s), a.matches(s) && b.matches(s); got != want {
			t.Fatalf("%s and %s is %s (%v), for %s", a, b, both, ok, s)
		}
	})
}

// TestEmptySetsHaveNoMember, and others have one.
func TestEmptySetsHaveNoMember(t *testing.T) {
	t.Parallel()
	var all []tokens // all short subjects over an alphabet with a token that no pattern names
	for n, last := 0, []tokens{{}}; n < 6; n++ {
		var next []tokens
		for _, s := range last {
			for _, tok := range []string{"a", "b", "z"} {
				next = append(next, append(slices.Clone(s), tok))
			}
		}
		all, last = append(all, next...), next
	}
	rapid.Check(t, func(t *rapid.T) {
		s := set{pattern: drawPattern(t, "pattern", "a", "b", "*")}
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			s = s.without(drawPattern(t, "minus", "a", "b", "*"))
		}
		member := slices.ContainsFunc(all, func(x tokens) bool { return s.pattern.matches(x) && !anyMatches(s.minus, x) })
		if member == s.empty() {
			t.Fatalf("%v: empty is %v", s, s.empty())
		}
	})
}

// TestImagesHoldEverySubject: what a transform makes of a subject of a set is in
// the image of the set, and for renames that lose nothing no other subject is.
func TestImagesHoldEverySubject(t *testing.T) {
	t.Parallel()
	dests := []string{"x.$2.$1", "$1.$2", "x.$1.$1", "{{partition(3,1)}}.$2", "{{split(1,-)}}.y", "{{left(2,1)}}.$1", "y.{{slicefromleft(1,1)}}"}
	rapid.Check(t, func(t *rapid.T) {
		dest := rapid.SampledFrom(dests).Draw(t, "dest")
		src := "a.*.*"
		if rapid.Bool().Draw(t, "open") {
			src, dest = src+".>", dest+".>"
		}
		tr, err := newTransform(src, dest, false)
		if err != nil {
			t.Fatal(err)
		}
		s := set{pattern: drawPattern(t, "pattern", "a", "b", "*"), minus: []tokens{drawPattern(t, "minus", "a", "b", "*")}}
		s, ok := s.and(tr.src)
		if !ok {
			return
		}
		out := s.through(tr)
		subject := drawPattern(t, "subject", "a", "b", "a-b", "bb")
		if !tr.src.matches(subject) {
			return
		}
		image := tr.apply(subject, nil)
		in := s.pattern.matches(subject) && !anyMatches(s.minus, subject)
		into := out.pattern.matches(image) && !anyMatches(out.minus, image)
		if in && !into || into && !in && tr.injective() {
			t.Fatalf("%s of %v is %s, the image is %v: in %v, into %v", subject, s, image, out, in, into)
		}
	})
}
