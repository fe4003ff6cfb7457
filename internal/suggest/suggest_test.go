package suggest_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/accountd/accountd/internal/suggest"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		among []string
		want  string
	}{
		{"qcom", []string{"acme", "qcon"}, "qcon"},
		{"QCON", []string{"acme", "qcon"}, "qcon"},
		{"leaf", []string{"leaf2", "leaf1"}, "leaf1"},
		{"a", []string{"b", "c"}, "b"},
		{"stpo", []string{"start", "stop"}, "stop"},
		{"payments", []string{"orders"}, ""},
		{"x", nil, ""},
		{"zürich", []string{"zurich"}, "zurich"},
	} {
		if got := suggest.Nearest(c.name, c.among); got != c.want {
			t.Errorf("Nearest(%q, %q) = %q, want %q", c.name, c.among, got, c.want)
		}
	}
}

func TestNearestFindsExactName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		among := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,8}`), 1, 8).Draw(t, "among")
		name := rapid.SampledFrom(among).Draw(t, "name")
		if got := suggest.Nearest(name, among); got != name {
			t.Fatalf("Nearest(%q, %q) = %q", name, among, got)
		}
	})
}
