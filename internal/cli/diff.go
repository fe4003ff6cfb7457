package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// dryReceipt shows what a change would do.
func dryReceipt(w *work) *receipt {
	return &receipt{
		Kind: "account", Name: w.name, Key: w.key, Outcome: outcomeDry,
		Changes: diffClaims(payload(w.cur), payload(w.next)), Warnings: budgetWarnings(w.name, w.next),
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
// fields: - what goes, + what comes. What comes or goes as a whole is shown by what
// is not usual about it. The claims are taken apart.
func diffClaims(before, after map[string]any) []string {
	before, after = byKey(before), byKey(after)
	if before == nil {
		subject := after["sub"]
		for _, f := range []string{"name", "sub", "nats.type", "nats.version"} { // the title says them
			remove(after, f)
		}
		if after["iss"] == subject {
			delete(after, "iss")
		}
	}
	d := differ{}
	d.object("", before, after)
	return d.lines
}

// remove takes the field at a path out of a tree.
func remove(tree map[string]any, path string) {
	name, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		delete(tree, name)
		return
	}
	if below, ok := tree[name].(map[string]any); ok {
		remove(below, rest)
	}
}

type differ struct{ lines []string }

func (d *differ) object(path string, before, after map[string]any) {
	names := maps.Clone(before)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, after)
	for _, name := range sortedNames(names) {
		was, had := before[name]
		is, has := after[name]
		at := strings.TrimPrefix(path+"."+name, ".")
		wasTree, isTree := asTree(was), asTree(is)
		switch {
		case slices.Contains(signedFields, at):
		case wasTree != nil && isTree != nil:
			d.object(at, wasTree, isTree)
		case had && has && leaf(was) == leaf(is):
		default:
			whole := before == nil || after == nil
			if had {
				d.value("- ", at, was, whole)
			}
			if has {
				d.value("+ ", at, is, whole)
			}
		}
	}
}

// value writes what comes or goes; whole says that it does with all around it.
func (d *differ) value(sign, path string, v any, whole bool) {
	if tree := asTree(v); len(tree) > 0 {
		for _, name := range sortedNames(tree) {
			d.value(sign, path+"."+name, tree[name], true)
		}
		return
	}
	if text := leaf(v); !whole || !usual(path, text) {
		d.lines = append(d.lines, sign+path+": "+text)
	}
}

// usual reports whether a value of a new thing is what it is without a word.
func usual(path, text string) bool {
	return slices.Contains([]string{`""`, "{}", "[]", "null", "-1"}, text) || strings.HasSuffix(path, "limits.wildcards") && text == "true"
}

// asTree is v if it is an object, else nil.
func asTree(v any) map[string]any {
	tree, _ := v.(map[string]any)
	return tree
}

// leaf is a value as JSON.
func leaf(v any) string {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // it came from JSON
	return strings.TrimSpace(text.String())
}

// Lines of a change that people do not read one by one.
const (
	manyKeys = 8   // more of one kind are one line
	longLine = 200 // more is cut
)

// changeLines shows changes to people: keys in short, many of one kind as one
// line, nothing longer than a few lines of a terminal.
func changeLines(lines []string) []string {
	type kind struct{ keys, roles []string }
	kinds := map[string]*kind{}
	of := func(line string) (string, *kind, string) {
		at := keyForm.FindStringIndex(line)
		if at == nil || strings.Contains(line[:at[0]], ": ") {
			return "", nil, ""
		}
		return line[:at[0]], kinds[line[:at[0]]], line[at[0]:at[1]]
	}
	for _, line := range lines {
		before, k, key := of(line)
		if key == "" {
			continue
		}
		if k == nil {
			k = &kind{}
			kinds[before] = k
		}
		if !slices.Contains(k.keys, key) {
			k.keys = append(k.keys, key)
		}
		if _, role, ok := strings.Cut(line, ".role: "); ok {
			k.roles = append(k.roles, strings.Trim(role, `"`))
		}
	}
	var out []string
	for _, line := range lines {
		before, k, _ := of(line)
		switch {
		case k == nil || len(k.keys) <= manyKeys:
			out = append(out, shortened(dated(keyForm.ReplaceAllStringFunc(line, keys.Short))))
		case k.keys[0] != "": // the first line of many
			text := strings.TrimSuffix(before, ".") + ": " + count(len(k.keys), "key")
			if len(k.roles) > 0 {
				text += fmt.Sprintf(", %s … %s", slices.Min(k.roles), slices.Max(k.roles))
			}
			out = append(out, text)
			k.keys[0] = ""
		}
	}
	return out
}

// dated shows the times in a line of a change as people read them.
func dated(line string) string {
	field, text, _ := strings.Cut(line, ": ")
	name := strings.TrimLeft(field, "+- ")
	if name != "exp" && name != "nbf" && !strings.Contains(name, "revocations.") {
		return line
	}
	unix, err := strconv.ParseInt(text, 10, 64)
	if err != nil || unix == 0 {
		return line
	}
	return field + ": " + clock(unix)
}

func shortened(line string) string {
	if letters := []rune(line); len(letters) > longLine {
		return fmt.Sprintf("%s… (%s)", string(letters[:longLine]), count(len(letters), "letter"))
	}
	return line
}
