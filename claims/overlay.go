package claims

import (
	"encoding/json"
	"reflect"
	"strings"
)

// overlay applies the difference between before and after, two typed readings
// of the same document, to base, the document itself. What is equal in both
// stays as base has it, so that fields unknown to the types survive, and
// fields that a type fills in by default do not appear.
func overlay(base, before, after any) any {
	if reflect.DeepEqual(before, after) {
		return base
	}
	switch a := after.(type) {
	case map[string]any:
		b, okBase := base.(map[string]any)
		bf, okBefore := before.(map[string]any)
		if okBase && okBefore {
			return overlayObject(b, bf, a)
		}
	case []any:
		b, okBase := base.([]any)
		bf, okBefore := before.([]any)
		if okBase && okBefore {
			return overlayArray(b, bf, a)
		}
	}
	return after
}

func overlayObject(base, before, after map[string]any) map[string]any {
	out := make(map[string]any, len(base))
	for name, v := range base {
		if _, known := before[name]; !known {
			out[name] = v
		}
	}
	for name, a := range after {
		b, inBase := base[name]
		bf, known := before[name]
		switch {
		case inBase && known:
			out[name] = overlay(b, bf, a)
		case known && reflect.DeepEqual(bf, a):
			// a default of the type, absent in the document: it stays absent
		default:
			out[name] = a
		}
	}
	return out
}

// overlayArray pairs the elements of the three lists by identity. Where one
// element of before and one of after remain, they are one that was renamed.
func overlayArray(base, before, after []any) []any {
	old, doc := byIdentity(before), byIdentity(base)
	out := make([]any, len(after))
	var fresh []int
	for i, e := range after {
		id := identity(e)
		if len(old[id]) == 0 || len(doc[id]) == 0 {
			out[i] = e
			fresh = append(fresh, i)
			continue
		}
		out[i] = overlay(doc[id][0], old[id][0], e)
		old[id], doc[id] = old[id][1:], doc[id][1:]
	}
	if b, o := rest(doc), rest(old); len(fresh) == 1 && len(b) == 1 && len(o) == 1 {
		out[fresh[0]] = overlay(b[0], o[0], after[fresh[0]])
	}
	return out
}

func byIdentity(list []any) map[string][]any {
	out := map[string][]any{}
	for _, e := range list {
		id := identity(e)
		out[id] = append(out[id], e)
	}
	return out
}

func rest(m map[string][]any) []any {
	var out []any
	for _, list := range m {
		out = append(out, list...)
	}
	return out
}

// identity names an element of a list in claims: exports by type and subject,
// imports also by account, scopes by key, mapping targets by subject and
// cluster, time ranges by start.
func identity(e any) string {
	m, ok := e.(map[string]any)
	if !ok {
		data, _ := json.Marshal(e)
		return string(data)
	}
	var id strings.Builder
	for _, name := range []string{"key", "account", "type", "subject", "local_subject", "cluster", "start"} {
		if s, ok := m[name].(string); ok {
			id.WriteString(name + "=" + s + "\x00")
		}
	}
	return id.String()
}
