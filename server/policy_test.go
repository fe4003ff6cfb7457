package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/accountd/accountd/fault"
)

// A policy is read whole, or not at all.
func TestPolicyFile(t *testing.T) {
	t.Parallel()
	f := policyFile{path: filepath.Join(t.TempDir(), "policy.yaml")}
	if _, err := f.load(); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]fault.Code{
		"isolated: [[coke, pepsi]]":              "",
		"isolated: [[coke, 'pepsi:@device']]":    "",
		"isolated: [[coke, pepsi:till]]":         fault.Invalid,
		"reaches: [{from: coke, only: ['a:b']}]": fault.Invalid,
		"isolatd: [[coke, pepsi]]":               fault.Invalid,
		"":                                       fault.Invalid,
	} {
		write(t, f.path, text)
		p, err := f.load()
		if fault.CodeOf(err) != want && (err != nil || want != "") || (p == nil) != (err != nil) {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
	if p, err := new(policyFile).load(); p != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A file counts as changed once it has stopped changing, and once for a change.
func TestPolicyFileChanges(t *testing.T) {
	t.Parallel()
	f := policyFile{path: filepath.Join(t.TempDir(), "policy.yaml")}
	write(t, f.path, "isolated: [[coke, pepsi]]")
	if _, err := f.load(); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		text string // "" leaves it, "-" removes it
		want bool
	}{
		{"", false},
		{"isolated: [[coke, pepsi, fanta]]", false},
		{"isolated: [[coke, pepsi, fanta, sprite]]", false},
		{"", true},
		{"", false},
		{"-", false},
		{"", true},
		{"", false},
		{"isolated: [[coke, pepsi]]", false},
		{"", true},
	}
	for i, s := range steps {
		switch s.text {
		case "":
		case "-":
			if err := os.Remove(f.path); err != nil {
				t.Fatal(err)
			}
		default:
			write(t, f.path, s.text)
		}
		got := f.changed()
		if got != s.want {
			t.Fatalf("step %d: %v", i, got)
		}
		if got {
			_, _ = f.load() // which may fail, and counts as a reading
		}
	}
}
