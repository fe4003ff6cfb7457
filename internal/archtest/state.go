package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// checkState finds registering init functions and package variables that could
// change while the program runs. Test files may have both.
func checkState(f *File) []Violation {
	if f.Test {
		return nil
	}
	var found []Violation
	for _, decl := range f.Syntax.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil && decl.Name.Name == "init" {
				found = append(found, Violation{
					Rule: "init", File: f.Path, Line: f.line(decl), Name: "init",
					Msg: "what runs before main cannot be tested; let the caller set it up",
				})
			}
		case *ast.GenDecl:
			if decl.Tok == token.VAR {
				found = append(found, checkVars(f, decl)...)
			}
		}
	}
	return found
}

// checkVars finds the mutable variables of one declaration.
func checkVars(f *File, decl *ast.GenDecl) []Violation {
	var found []Violation
	for _, spec := range decl.Specs {
		spec := spec.(*ast.ValueSpec)
		if embedded(decl.Doc) || embedded(spec.Doc) {
			continue
		}
		for i, name := range spec.Names {
			if name.Name == "_" || i < len(spec.Values) && len(spec.Values) == len(spec.Names) && fixed(f, spec.Values[i]) {
				continue
			}
			found = append(found, Violation{
				Rule: "package-state", File: f.Path, Line: f.line(name), Name: name.Name,
				Msg: "is a package variable that may change; a fixed table needs an exception with its reason",
			})
		}
	}
	return found
}

// embedded reports whether the comment fills the variable from a file.
func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// fixed reports whether value is of a kind that nobody changes by use: a
// sentinel error, a compiled expression, an encoding, or the bytes of a literal.
func fixed(f *File, value ast.Expr) bool {
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	if list, ok := call.Fun.(*ast.ArrayType); ok && list.Len == nil && len(call.Args) == 1 {
		lit, ok := call.Args[0].(*ast.BasicLit)
		return ok && lit.Kind == token.STRING
	}
	switch pkg, name := f.call(call.Fun); pkg {
	case "errors":
		return name == "New"
	case "regexp":
		return strings.HasPrefix(name, "MustCompile")
	case "encoding/base32", "encoding/base64":
		return true
	}
	// base64.RawURLEncoding.Strict() and the like
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		pkg, _ := f.call(sel.X)
		return pkg == "encoding/base32" || pkg == "encoding/base64"
	}
	return false
}
