package cli_test

import (
	"regexp"
	"testing"
)

// TestRandomNames: * has a name made up for what is made, and for nothing else.
func TestRandomNames(t *testing.T) {
	t.Parallel()
	p := alone(t)
	form := regexp.MustCompile(`^[a-z]+_[a-z]+$`)
	p.run("init").exits(2).complains("nsc init -n '*'")
	seen := map[string]bool{}
	for _, args := range [][]string{
		{"init", "-n", "*"}, {"add", "operator", "*"}, {"add", "account", "*"}, {"add", "account", "--name", "*"},
		{"add", "user", "*"}, {"add", "user", "*"}, {"add", "user", "*"},
	} {
		var made struct{ Name string }
		p.ok(append(args, "--json")...).json(&made)
		if !form.MatchString(made.Name) {
			t.Errorf("nsc %v made %q", args, made.Name)
		}
		seen[made.Name] = true
	}
	if len(seen) < 4 {
		t.Errorf("the names are not random: %v", seen)
	}
	p.run("delete", "user", "*").exits(2)
	p.run("rename", "account", "x", "*", "--OK").exits(3)
}
