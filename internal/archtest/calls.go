package archtest

import (
	"go/ast"
	"slices"
	"strings"
)

// checkCalls finds uses of the process's environment below cmd/, sleeping, and
// skipped tests.
func checkCalls(f *File) []Violation {
	var found []Violation
	for _, decl := range f.Syntax.Decls {
		where := declName(decl)
		ast.Inspect(decl, func(node ast.Node) bool {
			if bubble(f, node) {
				return false // its clock is not the real one
			}
			sel, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if rule, msg := forbidden(f, sel); rule != "" {
				found = append(found, Violation{Rule: rule, File: f.Path, Line: f.line(sel), Name: where, Msg: msg})
			}
			return true
		})
	}
	return found
}

// forbidden returns the rule that the selector breaks and what to do instead,
// "" if it breaks none.
func forbidden(f *File, sel *ast.SelectorExpr) (rule, msg string) {
	pkg, name := f.call(sel)
	switch {
	case pkg == "time" && name == "Sleep":
		return "sleep", "time.Sleep hopes instead of waiting; poll the state or wait for the event, with a deadline"
	case f.Test && pkg == "" && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name):
		return "skip", "a skipped test shows nothing; make the test possible or delete it"
	case !f.Test && !matches(f.Dir, []string{"cmd/..."}) && processWide(pkg, name):
		return "environment", pkg + "." + name + " reaches around the caller; take it as a parameter"
	}
	return "", ""
}

// processWide reports whether the function or variable belongs to the process
// as a whole, which only main hands out.
func processWide(pkg, name string) bool {
	switch pkg {
	case "os":
		return slices.Contains([]string{
			"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv",
			"Args", "Stdin", "Stdout", "Stderr", "Exit", "Chdir",
		}, name)
	case "fmt":
		return slices.Contains([]string{"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"}, name)
	case "log":
		return slices.ContainsFunc([]string{"Print", "Fatal", "Panic", "Set", "Default"}, func(prefix string) bool {
			return strings.HasPrefix(name, prefix)
		})
	case "log/slog":
		return slices.Contains([]string{"Default", "SetDefault", "Debug", "Info", "Warn", "Error"}, name)
	}
	return false
}

// bubble reports whether node is a call that runs its function under the fake
// clock of testing/synctest.
func bubble(f *File, node ast.Node) bool {
	call, ok := node.(*ast.CallExpr)
	if !ok {
		return false
	}
	pkg, name := f.call(call.Fun)
	return pkg == "testing/synctest" && name == "Test"
}

// declName names a declaration for messages and exceptions.
func declName(decl ast.Decl) string {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		return funcName(decl)
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				return spec.Names[0].Name
			case *ast.TypeSpec:
				return spec.Name.Name
			}
		}
	}
	return "declaration"
}
