package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/fault"
)

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 16 << 10

// readConfig takes the values of a file for the flags that were not given.
func readConfig(path string, flags *pflag.FlagSet) error {
	file, err := os.Open(path)
	if err != nil {
		return fault.New(fault.NotFound, "%s cannot be read: %w", path, err).About("file", path).WithHint("see accountd resolver --help")
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err != nil {
		return fault.New(fault.NotFound, "%s cannot be read: %w", path, err).About("file", path).WithHint("see accountd resolver --help")
	}
	if at, err := applyConfig(raw, flags); err != nil {
		return fault.New(fault.Usage, "%s:%d: %w", path, at, err).About("file", path).WithHint("see accountd resolver --help")
	}
	return nil
}

// applyConfig sets flags from one YAML mapping of plain values, and nothing
// more of YAML: no anchors, tags, merges, nesting or second document. Nothing is
// set unless all of it holds; at is the line of what does not.
func applyConfig(raw []byte, flags *pflag.FlagSet) (at int, err error) {
	if len(raw) > maxConfig {
		return 1, errors.New("the file is too large")
	}
	file, err := parser.ParseBytes(raw, 0)
	if e := yaml.Error(nil); errors.As(err, &e) {
		return line(e.GetToken()), errors.New(e.GetMessage())
	}
	if err != nil {
		return 1, err
	}
	var entries []*ast.MappingValueNode
	for i, doc := range file.Docs {
		m, ok := doc.Body.(ast.MapNode)
		if !ok {
			return line(doc.Start), errors.New("expected lines of name: value")
		}
		if i > 0 {
			return line(doc.Start), errors.New("a second document")
		}
		for it := m.MapRange(); it.Next(); {
			entries = append(entries, it.KeyValue())
		}
	}
	values := map[*pflag.Flag]string{}
	for _, entry := range entries {
		f, value, err := configValue(entry, flags)
		if err != nil {
			return line(entry.Key.GetToken()), err
		}
		values[f] = value
	}
	for f, value := range values {
		if f.Changed {
			continue
		}
		if err := f.Value.Set(value); err != nil {
			return 1, err
		}
	}
	return 0, nil
}

// configValue returns the flag that an entry names, and its value.
func configValue(entry *ast.MappingValueNode, flags *pflag.FlagSet) (*pflag.Flag, string, error) {
	key, ok := entry.Key.(*ast.StringNode)
	if !ok {
		return nil, "", errors.New("a name is plain text")
	}
	f := flags.Lookup(strings.ReplaceAll(key.Value, "_", "-"))
	if f == nil || strings.Contains(key.Value, "-") || f.Name == "config" || f.Name == "help" {
		return nil, "", fmt.Errorf("unknown field %q", key.Value)
	}
	switch value := entry.Value.(type) {
	case *ast.StringNode:
		if f.Value.Type() == "string" && !strings.ContainsRune(value.Value, 0) {
			return f, value.Value, nil
		}
	case *ast.BoolNode:
		if f.Value.Type() == "bool" {
			return f, value.GetToken().Value, nil
		}
	}
	if f.Value.Type() == "bool" {
		return nil, "", errors.New(key.Value + " is true or false")
	}
	return nil, "", errors.New(key.Value + " is text")
}

// line is where a token stands, 1 if nowhere.
func line(t *token.Token) int {
	if t == nil || t.Position == nil {
		return 1
	}
	return t.Position.Line
}
