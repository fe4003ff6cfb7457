package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// Violation is one place that breaks a rule.
type Violation struct {
	Rule string // short name of the rule, as in Exception
	File string
	Line int
	Name string // what breaks it: a function, variable, type or import path
	Msg  string
}

// String gives the place, the rule and what is wrong, on one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s:%d: [%s] %s: %s", v.File, v.Line, v.Rule, v.Name, v.Msg)
}

// Exception excuses what breaks Rule under Name in File. The reason is for the
// reader and must be given.
type Exception struct {
	Rule, File, Name string
	Reason           string
}

// Check returns what in m breaks the rules and is not excused, in the order of
// the sources, and then the exceptions that excuse nothing.
func Check(m *Module, rules Rules) []Violation {
	var all []Violation
	all = append(all, checkImports(m, rules)...)
	for _, f := range m.Files {
		all = append(all, checkBudgets(f, rules.Budgets)...)
		all = append(all, checkState(f)...)
		all = append(all, checkCalls(f)...)
	}
	all = append(all, checkInterfaces(m, rules.Budgets)...)
	all = excuse(all, rules.Exceptions)
	slices.SortStableFunc(all, func(a, b Violation) int {
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		return a.Line - b.Line
	})
	return all
}

// excuse drops what an exception covers and adds the exceptions that cover
// nothing or give no reason.
func excuse(found []Violation, exceptions []Exception) []Violation {
	used := make([]bool, len(exceptions))
	left := slices.DeleteFunc(found, func(v Violation) bool {
		i := slices.IndexFunc(exceptions, func(e Exception) bool {
			return e.Rule == v.Rule && e.File == v.File && e.Name == v.Name
		})
		if i >= 0 {
			used[i] = true
		}
		return i >= 0
	})
	for i, e := range exceptions {
		v := Violation{Rule: "exception", File: e.File, Name: e.Rule + " " + e.Name}
		switch {
		case !used[i]:
			v.Msg = "excuses nothing; remove it"
			left = append(left, v)
		case e.Reason == "":
			v.Msg = "gives no reason"
			left = append(left, v)
		}
	}
	return left
}
