package cli

import (
	"strings"
	"testing"
)

func TestYAML(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := printYAML(&b, struct {
		Name  string         `json:"name"`
		Empty []int          `json:"empty"`
		None  map[string]int `json:"none"`
		List  []any          `json:"list"`
		Map   map[string]any `json:"map"`
	}{"a: b\n", []int{}, map[string]int{}, []any{1, "x", []any{true}, map[string]any{"k": nil}}, map[string]any{"*": 1.5, "key": "v"}})
	want := `name: "a: b\n"
empty: []
none: {}
list:
  - 1
  - "x"
  -
    - true
  -
    k: null
map:
  "*": 1.5
  key: "v"
`
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, b.String())
	}
}
