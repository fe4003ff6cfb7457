package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
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

var commandText = regexp.MustCompile(`\bnsc ((?:[a-z]+[a-z_-]*\s?)+)`)

// checkCommands looks up each nsc command in text by its leading plain words.
func checkCommands(t *testing.T, file, text string) {
	t.Helper()
	for _, m := range commandText.FindAllStringSubmatch(text, -1) {
		words := strings.Fields(m[1])
		root := newRoot(&app{env: Env{Now: time.Now}, started: time.Now()})
		cmd, _, err := root.Find(words)
		prose := words[0] == "keeps" // "nsc keeps operators, …"
		if !prose && (err != nil || cmd == root || cmd.HasSubCommands() && len(words) > 1) {
			t.Errorf("%s names the command %q, which does not exist", file, m[0])
		}
	}
}
