package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
)

// Budgets are the most that one piece of code may measure.
type Budgets struct {
	FunctionLines     int // from func to its closing brace
	TestFunctionLines int // the same in test files, whose tables are long
	Cyclomatic        int // decisions in a function, its literals included, plus one
	FileLines         int
	InterfaceMethods  int // embedded interfaces of the same package counted in
}

// checkBudgets measures the file and its functions.
func checkBudgets(f *File, b Budgets) []Violation {
	var found []Violation
	add := func(rule, name string, line, got, most int, unit string) {
		if got > most {
			found = append(found, Violation{
				Rule: rule, File: f.Path, Line: line, Name: name,
				Msg: fmt.Sprintf("%d %s, at most %d", got, unit, most),
			})
		}
	}
	add("file-length", f.Syntax.Name.Name, 1, f.Lines, b.FileLines, "lines")
	lines := b.FunctionLines
	if f.Test {
		lines = b.TestFunctionLines
	}
	for _, decl := range f.Syntax.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		// The declaration without its doc comment.
		end := f.fset.Position(fn.End()).Line
		start := f.fset.Position(fn.Type.Pos()).Line
		add("function-length", funcName(fn), start, end-start+1, lines, "lines")
		add("cyclomatic", funcName(fn), start, cyclomatic(fn), b.Cyclomatic, "decisions")
	}
	return found
}

// cyclomatic counts the decisions of fn and adds one.
func cyclomatic(fn *ast.FuncDecl) int {
	n := 1
	ast.Inspect(fn, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if node.List != nil {
				n++
			}
		case *ast.CommClause:
			if node.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if node.Op == token.LAND || node.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

// funcName returns the name of fn, with its receiver's type if it has one.
func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	recv := fn.Recv.List[0].Type
	for {
		switch t := recv.(type) {
		case *ast.StarExpr:
			recv = t.X
		case *ast.IndexExpr:
			recv = t.X
		case *ast.IndexListExpr:
			recv = t.X
		case *ast.Ident:
			return t.Name + "." + fn.Name.Name
		default:
			return fn.Name.Name
		}
	}
}

// checkInterfaces counts the methods of every named interface.
func checkInterfaces(m *Module, b Budgets) []Violation {
	byDir := map[string]map[string]*ast.InterfaceType{}
	for _, f := range m.Files {
		eachInterface(f, func(spec *ast.TypeSpec, typ *ast.InterfaceType) {
			if byDir[f.Dir] == nil {
				byDir[f.Dir] = map[string]*ast.InterfaceType{}
			}
			byDir[f.Dir][spec.Name.Name] = typ
		})
	}
	var found []Violation
	for _, f := range m.Files {
		eachInterface(f, func(spec *ast.TypeSpec, typ *ast.InterfaceType) {
			if n := methods(typ, byDir[f.Dir]); n > b.InterfaceMethods {
				found = append(found, Violation{
					Rule: "interface-size", File: f.Path, Line: f.line(spec), Name: spec.Name.Name,
					Msg: fmt.Sprintf("%d methods, at most %d", n, b.InterfaceMethods),
				})
			}
		})
	}
	return found
}

// eachInterface calls visit for every named interface of the file.
func eachInterface(f *File, visit func(*ast.TypeSpec, *ast.InterfaceType)) {
	ast.Inspect(f.Syntax, func(node ast.Node) bool {
		if spec, ok := node.(*ast.TypeSpec); ok {
			if typ, ok := spec.Type.(*ast.InterfaceType); ok {
				visit(spec, typ)
			}
		}
		return true
	})
}

// methods counts the methods of typ; an embedded interface that is not among
// known counts as one.
func methods(typ *ast.InterfaceType, known map[string]*ast.InterfaceType) int {
	n := 0
	for _, field := range typ.Methods.List {
		n += max(1, len(field.Names))
		if id, ok := field.Type.(*ast.Ident); ok && known[id.Name] != nil {
			n += methods(known[id.Name], known) - 1
		}
	}
	return n
}
