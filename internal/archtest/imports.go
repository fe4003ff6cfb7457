package archtest

import (
	"slices"
	"strings"
)

// ImportRule limits what the non-test files of some packages import. Packages
// are named by their folder; "x/..." is x and all below it.
type ImportRule struct {
	Packages []string // whom the rule binds
	Except   []string // whom it does not bind, although Packages does
	Deny     []string // import paths, or prefixes of them, that are refused
	Ours     []string // if not nil: the only folders of the module that may be imported
	Linked   bool     // Deny holds for what is linked through packages of the module, too
	Why      string
}

// checkImports applies the import rules to every non-test file.
func checkImports(m *Module, rules Rules) []Violation {
	var found []Violation
	reached := reaches(m)
	for _, f := range m.Files {
		if f.Test {
			continue
		}
		for _, rule := range rules.Imports {
			if !matches(f.Dir, rule.Packages) || matches(f.Dir, rule.Except) {
				continue
			}
			for _, imp := range f.Imports {
				if why := rule.refuses(m, reached, imp.Path); why != "" {
					found = append(found, Violation{
						Rule: "import", File: f.Path, Line: imp.Line, Name: imp.Path, Msg: why + ": " + rule.Why,
					})
				}
			}
		}
	}
	return found
}

// refuses says why the rule refuses the import, "" if it does not.
func (r ImportRule) refuses(m *Module, reached map[string][]string, importPath string) string {
	if denied(importPath, r.Deny) {
		return "may not be imported here"
	}
	dir, ours := m.ours(importPath)
	if !ours {
		return ""
	}
	if denied(dir, r.Deny) {
		return "may not be imported here"
	}
	if r.Ours != nil && !matches(dir, r.Ours) {
		return "is not among the packages of ours that may be imported here"
	}
	if r.Linked {
		for _, linked := range reached[dir] {
			if denied(linked, r.Deny) {
				return "links " + linked
			}
		}
	}
	return ""
}

// reaches returns, for each folder of the module, every import path that its
// non-test files import, directly or through other packages of the module.
func reaches(m *Module) map[string][]string {
	direct := map[string][]string{}
	for _, f := range m.Files {
		if f.Test {
			continue
		}
		for _, imp := range f.Imports {
			direct[f.Dir] = append(direct[f.Dir], imp.Path)
		}
	}
	all := map[string][]string{}
	for dir := range direct {
		seen := map[string]bool{}
		todo := slices.Clone(direct[dir])
		for len(todo) > 0 {
			next := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if seen[next] {
				continue
			}
			seen[next] = true
			all[dir] = append(all[dir], next)
			if ours, ok := m.ours(next); ok {
				todo = append(todo, direct[ours]...)
			}
		}
		slices.Sort(all[dir])
	}
	return all
}

// denied reports whether importPath is one of list, or below one.
func denied(importPath string, list []string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		return importPath == entry || strings.HasPrefix(importPath, entry+"/")
	})
}

// matches reports whether dir is named by one of patterns.
func matches(dir string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		below, subtree := strings.CutSuffix(pattern, "/...")
		if !subtree {
			return dir == pattern
		}
		return below == "." || dir == below || strings.HasPrefix(dir, below+"/")
	})
}
