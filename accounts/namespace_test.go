package accounts

import (
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/fault"
)

func TestNamespace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		tags jwt.TagList
		want string
		bad  bool
	}{
		{name: "coke", want: "coke"},
		{name: "eu.iot", want: "eu.iot"},
		{name: "A1", want: "A1"},
		{name: "a b"}, {name: "a.*"}, {name: ">"}, {name: "a..b"}, {name: "$SYS"}, {name: "_INBOX"}, {name: "_R_x"}, {name: "müller"},
		{name: "My account", tags: jwt.TagList{"namespace:mine", "x"}, want: "mine"},
		{name: "coke", tags: jwt.TagList{"namespace:_inbox.x"}, bad: true},
		{name: "coke", tags: jwt.TagList{"namespace:*"}, bad: true},
		{name: "coke", tags: jwt.TagList{"namespace:"}, bad: true},
		{name: "coke", tags: jwt.TagList{"namespace:a", "namespace:b"}, bad: true},
	} {
		ac := jwt.NewAccountClaims("A")
		ac.Name, ac.Tags = c.name, c.tags
		got, err := Namespace(ac)
		if (err != nil) != c.bad || !c.bad && got != c.want || c.bad && fault.RuleOf(err) != "namespace" {
			t.Errorf("%q %v: %q, %v", c.name, c.tags, got, err)
		}
		if _, err := RequireNamespace(ac); (err == nil) != (c.want != "") {
			t.Errorf("%q %v required: %v", c.name, c.tags, err)
		}
	}
}

func TestSetNamespace(t *testing.T) {
	t.Parallel()
	ac := jwt.NewAccountClaims("A")
	ac.Name, ac.Tags = "Coke", jwt.TagList{"site:7"}
	for _, bad := range []string{"Coke", "a.", "$x", "_GR_", "a b", "a.>"} {
		if err := SetNamespace(ac, bad); fault.RuleOf(err) != "namespace" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, space := range []string{"coke", "drinks.coke", ""} {
		if err := SetNamespace(ac, space); err != nil {
			t.Fatal(err)
		}
		want := space
		if want == "" {
			want = "Coke"
		}
		if got, err := Namespace(ac); got != want || err != nil || !ac.Tags.Contains("site:7") {
			t.Errorf("%q: %q %v %v", space, got, err, ac.Tags)
		}
	}
}

// TestNamespacesAgreeWithSubjects: two accounts are rivals if and only if some
// subject lies below both prefixes, after any sequence of changes.
func TestNamespacesAgreeWithSubjects(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var n Namespaces
		of := map[string]string{}
		space := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "B"}), 0, 3)
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			key, toks := rapid.SampledFrom([]string{"k1", "k2", "k3", "k4"}).Draw(t, "key"), space.Draw(t, "space")
			of[key] = strings.Join(toks, ".")
			n.Set(key, of[key])
		}
		asked := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "A"}), 1, 3).Draw(t, "asked"), ".")
		meets := func(other string) bool {
			below := func(s string) string { return strings.ToLower(s) + ".>" }
			return of[other] != "" && Overlaps(below(of[other]), below(asked))
		}
		rival, want := n.Rival("k1", asked), false
		for key := range of {
			want = want || key != "k1" && meets(key)
		}
		if (rival != "") != want || rival != "" && (rival == "k1" || !meets(rival)) {
			t.Fatalf("%v: rival of k1 at %q is %q, want one: %v", of, asked, rival, want)
		}
	})
}
