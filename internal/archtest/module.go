// Package archtest checks the architecture of the module from its sources:
// which package may import which, how long functions, files and interfaces may
// be, and that no package keeps mutable state or reaches around its caller for
// the environment. Its test runs on the whole module.
//
// The rules stand in rules.go; so do the exceptions, each with its reason. An
// exception that excuses nothing any more is itself a violation.
package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// File is one parsed source file.
type File struct {
	Path    string // inside the module, slashes
	Dir     string // package folder inside the module, "." for the root
	Test    bool   // name ends in _test.go
	Lines   int
	Syntax  *ast.File
	Imports []Import

	fset *token.FileSet
}

// Import is one import of a file.
type Import struct {
	Path  string
	Local string // the name that the file refers to the package by
	Line  int
}

// Module is the parsed module.
type Module struct {
	Path  string // module path
	Files []*File
}

// Load parses every Go file of the module at modulePath whose root is fsys.
// Nested modules, testdata and folders that the go command ignores are left
// out. It fails on a file that does not parse.
func Load(fsys fs.FS, modulePath string) (*Module, error) {
	m := &Module{Path: modulePath}
	fset := token.NewFileSet()
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && ignored(fsys, name) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parse(fset, fsys, name)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load module %s: %w", modulePath, err)
	}
	return m, nil
}

// ignored reports whether the folder is no part of the module.
func ignored(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil
}

// parse reads one file.
func parse(fset *token.FileSet, fsys fs.FS, name string) (*File, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &File{
		Path:   name,
		Dir:    path.Dir(name),
		Test:   strings.HasSuffix(name, "_test.go"),
		Lines:  bytes.Count(src, []byte("\n")),
		Syntax: syntax,
		fset:   fset,
	}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		local := localName(imported)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		f.Imports = append(f.Imports, Import{Path: imported, Local: local, Line: f.line(spec)})
	}
	return f, nil
}

// localName guesses a package's name from its path: the last element, or the
// one before a major version.
func localName(importPath string) string {
	base := path.Base(importPath)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		return path.Base(path.Dir(importPath))
	}
	return base
}

// line returns the line that node starts on.
func (f *File) line(node ast.Node) int { return f.fset.Position(node.Pos()).Line }

// call returns package path and name of expr if it has the form pkg.Name for an
// import of the file, "" and "" otherwise.
func (f *File) call(expr ast.Expr) (pkg, name string) {
	sel, ok := expr.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	for _, imp := range f.Imports {
		if imp.Local == id.Name {
			return imp.Path, sel.Sel.Name
		}
	}
	return "", ""
}

// ours returns the folder of an imported package of the module, false for any
// other package.
func (m *Module) ours(importPath string) (dir string, ok bool) {
	if importPath == m.Path {
		return ".", true
	}
	return strings.CutPrefix(importPath, m.Path+"/")
}
