package claims

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"
)

// parseObject reads one JSON object with numbers kept as text. It refuses what
// two readers could understand differently: names that repeat, also when only
// their case differs (the servers' decoder ignores case), invalid UTF-8, and
// anything after the object. Subjects in mappings are case-sensitive names.
func parseObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, malformed("the payload is not UTF-8")
	}
	p := parser{json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	v, err := p.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return nil, malformed("the payload has more than one JSON value")
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, malformed("the payload is not a JSON object")
	}
	return obj, nil
}

type parser struct{ dec *json.Decoder }

func (p parser) value(name string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, malformed("the payload is nested more than %d levels deep", maxDepth)
	}
	tok, err := p.dec.Token()
	if err != nil {
		return nil, malformed("the payload is not JSON")
	}
	switch tok {
	case json.Delim('{'):
		return p.object(name, depth)
	case json.Delim('['):
		return p.array(name, depth)
	}
	return tok, nil
}

func (p parser) object(parent string, depth int) (map[string]any, error) {
	out := map[string]any{}
	seen := map[string]bool{}
	for p.dec.More() {
		tok, err := p.dec.Token()
		if err != nil {
			return nil, malformed("the payload is not JSON")
		}
		name, ok := tok.(string)
		if !ok {
			return nil, malformed("the payload is not JSON")
		}
		folded := name
		if parent != "mappings" {
			folded = strings.ToLower(name)
		}
		if seen[folded] {
			return nil, malformed("the name %q appears twice in one object", name)
		}
		seen[folded] = true
		if out[name], err = p.value(name, depth+1); err != nil {
			return nil, err
		}
	}
	return out, p.end()
}

func (p parser) array(parent string, depth int) ([]any, error) {
	out := []any{}
	for p.dec.More() {
		v, err := p.value(parent, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, p.end()
}

func (p parser) end() error {
	if _, err := p.dec.Token(); err != nil {
		return malformed("the payload is not JSON")
	}
	return nil
}

// toTree turns a typed value into the generic form of its JSON.
func toTree(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var out map[string]any
	return out, dec.Decode(&out)
}
