package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// dryReceipt shows what a change would do.
func dryReceipt(w *work) *receipt {
	return &receipt{
		Kind: "account", Name: w.name, Key: w.key, Outcome: outcomeDry,
		Changes: diffClaims(payload(w.cur), payload(w.next)),
	}
}

// dryNew shows what a new thing would look like. No key is made for it.
func dryNew(kind, name string, v any) (*receipt, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode claims: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, fault.New(fault.Internal, "encode claims: %w", err)
	}
	return &receipt{Kind: kind, Name: name, Outcome: outcomeDry, Title: kind + " " + name + "  new key", Changes: diffClaims(nil, tree)}, nil
}

// payload returns the claims of a document as a tree.
func payload(d *claims.Document) map[string]any {
	var tree map[string]any
	if d == nil {
		return tree
	}
	parts := strings.Split(d.Token, ".")
	if raw, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
		_ = json.Unmarshal(raw, &tree) // it was decoded before
	}
	return tree
}

// signedFields change with every signature and say nothing.
var signedFields = []string{"jti", "iat"}

// diffClaims returns one line for each value that differs, in the order of the
// fields: - what goes, + what comes.
func diffClaims(before, after map[string]any) []string {
	was, is := map[string]string{}, map[string]string{}
	flatten("", before, was)
	flatten("", after, is)
	fields := maps.Clone(was)
	maps.Copy(fields, is)
	var lines []string
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		o, had := was[f]
		n, has := is[f]
		if o == n && had == has || slices.Contains(signedFields, f) {
			continue
		}
		if had {
			lines = append(lines, fmt.Sprintf("- %s: %s", f, o))
		}
		if has {
			lines = append(lines, fmt.Sprintf("+ %s: %s", f, n))
		}
	}
	return lines
}

func flatten(path string, v any, to map[string]string) {
	tree, ok := v.(map[string]any)
	if !ok || len(tree) == 0 && path != "" {
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(v) // it came from JSON
		to[path] = strings.TrimSpace(text.String())
		return
	}
	for name, child := range tree {
		if path != "" {
			name = path + "." + name
		}
		flatten(name, child, to)
	}
}
