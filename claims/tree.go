package claims

import (
	"bytes"
	"encoding/json"
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
	if !json.Valid(data) {
		return nil, malformed("the payload is not one JSON value")
	}
	p := parser{text: string(data)}
	v, err := p.value("", 0)
	if err != nil {
		return nil, err
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, malformed("the payload is not a JSON object")
	}
	return obj, nil
}

// parser reads text, which is valid JSON.
type parser struct {
	text string
	at   int
}

// next skips white space and returns what follows.
func (p *parser) next() byte {
	for strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	return p.text[p.at]
}

// more reports whether a value follows in an object or array that end closes,
// and goes to it, or behind the end.
func (p *parser) more(end byte) bool {
	c := p.next()
	if c == ',' {
		p.at++
		c = p.next()
	}
	if c == end {
		p.at++
	}
	return c != end
}

func (p *parser) value(name string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, malformed("the payload is nested more than %d levels deep", maxDepth)
	}
	switch p.next() {
	case '{':
		return p.object(name, depth)
	case '[':
		return p.array(name, depth)
	case '"':
		return p.string()
	}
	begin := p.at
	for p.at < len(p.text) && strings.IndexByte(",]} \t\r\n", p.text[p.at]) < 0 {
		p.at++
	}
	switch word := p.text[begin:p.at]; word {
	case "true", "false":
		return word == "true", nil
	case "null":
		return nil, nil
	default:
		return json.Number(word), nil
	}
}

func (p *parser) object(parent string, depth int) (map[string]any, error) {
	out := map[string]any{}
	var odd map[string]bool // names with capitals, without them
	for p.at++; p.more('}'); {
		name, err := p.string()
		if err != nil {
			return nil, err
		}
		folded := name
		if parent != "mappings" {
			folded = strings.ToLower(name)
		}
		if _, twice := out[folded]; twice || odd[folded] {
			return nil, malformed("the name %q appears twice in one object", name)
		}
		if folded != name {
			if odd == nil {
				odd = map[string]bool{}
			}
			odd[folded] = true
		}
		p.next()
		p.at++ // the colon
		if out[name], err = p.value(name, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p *parser) array(parent string, depth int) ([]any, error) {
	out := []any{}
	for p.at++; p.more(']'); {
		v, err := p.value(parent, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (p *parser) string() (s string, err error) {
	begin, plain := p.at, true
	for p.at++; p.text[p.at] != '"'; p.at++ {
		if p.text[p.at] == '\\' {
			plain = false
			p.at++
		}
	}
	p.at++
	if plain {
		return p.text[begin+1 : p.at-1], nil
	}
	if err := json.Unmarshal([]byte(p.text[begin:p.at]), &s); err != nil {
		return "", malformed("the payload is not JSON")
	}
	return s, nil
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
