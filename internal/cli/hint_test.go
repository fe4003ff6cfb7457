package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHintsNameCommands: every command that a text of this package names exists.
func TestHintsNameCommands(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, _ := strconv.Unquote(lit.Value)
				checkCommands(t, e.Name(), text)
			}
			return true
		})
	}
}

// TestHintsOfTheServiceNameCommands: so does every hint of the other packages.
func TestHintsOfTheServiceNameCommands(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	checked := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != root):
			return fs.SkipDir
		case !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); !ok || sel.Sel.Name != "WithHint" {
				return true
			}
			for _, arg := range call.Args {
				if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					text, _ := strconv.Unquote(lit.Value)
					checkCommands(t, name, text)
					checked++
				}
			}
			return true
		})
		return nil
	})
	if err != nil || checked < 100 {
		t.Fatalf("looked at %d hints: %v", checked, err)
	}
}

var commandText = regexp.MustCompile(`\bnsc ((?:[a-z]+[a-z_-]*\s?)+)`)

// checkCommands looks up each nsc command in text by its leading plain words.
func checkCommands(t *testing.T, file, text string) {
	t.Helper()
	for _, m := range commandText.FindAllStringSubmatch(text, -1) {
		words := strings.Fields(m[1])
		root := newRoot(&app{env: Env{Now: time.Now}, started: time.Now()})
		cmd, _, err := root.Find(words)
		prose := words[0] == "keeps" || // "nsc keeps operators, …"
			words[0] == "upgrade-jwt" && strings.Contains(text, "official tool")
		if !prose && (err != nil || cmd == root || cmd.HasSubCommands() && len(words) > 1) {
			t.Errorf("%s names the command %q, which does not exist", file, m[0])
		}
	}
}
