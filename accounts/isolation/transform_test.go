package isolation

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"
)

// TestTransformsAgreeWithServers: what servers refuse is refused, and what they
// take renames alike.
func TestTransformsAgreeWithServers(t *testing.T) {
	t.Parallel()
	src := []string{"a", "b", "*", "*", ">"}
	dest := []string{
		"a", "$1", "$2", "$0", "$3", "$x", "*", ">", "{{wildcard(1)}}", "{{Wildcard( 2 )}}", "{{wildcard()}}", "{{wildcard(1,2)}}",
		"{{partition(3)}}", "{{partition(2,1)}}", "{{partition(0,1)}}", "{{partition(3,1,2)}}", "{{partition(x)}}", "{{split(1,-)}}", "{{split(2,b)}}",
		"{{split(1)}}", "{{splitFromLeft(1,1)}}", "{{SplitFromRight(1,2)}}", "{{sliceFromLeft(1,2)}}", "{{sliceFromRight(1,2)}}", "{{left(1,2)}}",
		"{{right(2,1)}}", "{{left(1,-1)}}", "{{left(1)}}", "{{nope(1)}}", "{{}}", "x{{wildcard(1)}}",
	}
	subject := []string{"a", "b", "a-b-c", "-x-", "--", "bbbbb", "*", ">", "$1"}
	toks := func(rt *rapid.T, name string, of []string) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(of), 1, 5).Draw(rt, name), ".")
	}
	rapid.Check(t, func(rt *rapid.T) {
		from, to := toks(rt, "src", src), toks(rt, "dest", dest)
		strict := rapid.Bool().Draw(rt, "strict")
		theirs, terr := server.NewSubjectTransformWithStrict(from, to, strict)
		ours, err := newTransform(from, to, strict)
		if (err == nil) != (terr == nil) {
			rt.Fatalf("%s -> %s: we say %v, servers %v", from, to, err, terr)
		}
		if err != nil {
			return
		}
		name := toks(rt, "subject", subject)
		if !ours.src.covers(split(name)) {
			return
		}
		if got, want := ours.apply(split(name), nil).String(), theirs.TransformSubject(name); got != want {
			rt.Fatalf("%s -> %s: %s becomes %q, on servers %q", from, to, name, got, want)
		}
	})
}

// TestPatternsAgreeWithServers: validity, subsets and overlaps.
func TestPatternsAgreeWithServers(t *testing.T) {
	t.Parallel()
	alphabet := []string{"a", "b", "*", ">", "", "*a", "a b", "$1", "\t"}
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(alphabet[:rapid.SampledFrom([]int{3, 4, 9}).Draw(rt, name+" of")]), 1, 4).Draw(rt, name), ".")
		}
		a, b := draw("a"), draw("b")
		if got, want := valid(a), server.IsValidSubject(a); got != want {
			rt.Fatalf("valid(%q) is %v, servers say %v", a, got, want)
		}
		if !valid(a) || !valid(b) {
			return
		}
		if got, want := split(a).covers(split(b)), server.SubjectMatchesFilter(b, a); got != want {
			rt.Fatalf("%q covers %q: %v, servers say %v", a, b, got, want)
		}
		if got, want := split(a).meets(split(b)), server.SubjectsCollide(a, b); got != want && !strings.Contains(a+b, "*a") {
			rt.Fatalf("%q meets %q: %v, servers say %v", a, b, got, want)
		}
	})
}
