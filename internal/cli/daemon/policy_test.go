package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/accountd/accountd/fault"
)

// A policy is read from the folder of the caller, and whole, or not at all.
func TestPolicyFile(t *testing.T) {
	t.Parallel()
	e := env(&bytes.Buffer{})
	e.Dir = t.TempDir()
	for text, want := range map[string]fault.Code{
		"isolated: [[coke, pepsi]]":      "",
		"isolated: [[coke, pepsi:till]]": fault.Invalid,
		"isolatd: [[coke, pepsi]]":       fault.Invalid,
		"":                               fault.Invalid,
	} {
		if err := os.WriteFile(filepath.Join(e.Dir, "policy.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := e.policy("policy.yaml")
		if fault.CodeOf(err) != want && (err != nil || want != "") || (p == nil) != (err != nil) {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
	if p, err := e.policy(""); p != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := e.policy("missing.yaml"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}
