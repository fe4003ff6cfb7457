package cli

import (
	"encoding/json"
	"testing"
)

// FuzzField: no path makes the extraction panic, and what it returns is JSON.
func FuzzField(f *testing.F) {
	for _, path := range []string{"a", "a.b[0]", "a[0][1].c", "", ".", "[", "a[", "a]", "a[-1]", "a[99999999999999999999]", "a[0]x"} {
		f.Add(path)
	}
	var tree map[string]any
	if err := json.Unmarshal([]byte(`{"a":[[1,{"c":null}]],"b":{"":2,"x":"y"}}`), &tree); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if out, err := field(tree, path); err == nil && !json.Valid([]byte(out)) {
			t.Errorf("%q: %q is not JSON", path, out)
		}
	})
}
