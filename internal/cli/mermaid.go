package cli

import (
	"fmt"
	"strings"
)

// mermaid writes a flowchart in the language of Mermaid. Names and subjects
// stand in labels only, where nothing in them means anything to it.
type mermaid struct {
	b   strings.Builder
	ids map[string]string
}

// newMermaid begins a chart; direction is LR or TB.
func newMermaid(title, direction string) *mermaid {
	m := &mermaid{ids: map[string]string{}}
	fmt.Fprintf(&m.b, "---\ntitle: \"%s\"\n---\nflowchart %s\n", mermaidText(title), direction)
	m.b.WriteString("  classDef broken stroke:#c00,stroke-width:2px\n")
	return m
}

// id is the short name of a thing in the chart, made at first use.
func (m *mermaid) id(thing string) string {
	id, ok := m.ids[thing]
	if !ok {
		id = fmt.Sprintf("n%d", len(m.ids)+1)
		m.ids[thing] = id
	}
	return id
}

// box draws a thing as a rectangle, or rounded, with lines of text.
func (m *mermaid) box(thing string, round, broken bool, lines ...string) {
	left, right, class := `["`, `"]`, ""
	if round {
		left, right = `(["`, `"])`
	}
	if broken {
		class = ":::broken"
	}
	var safe []string
	for _, line := range lines {
		safe = append(safe, mermaidText(line))
	}
	fmt.Fprintf(&m.b, "  %s%s%s%s%s\n", m.id(thing), left, strings.Join(safe, "<br/>"), right, class)
}

// arrow draws an arrow, such as --> or -.->, with a label or none.
func (m *mermaid) arrow(from, arrow, label, to string) {
	if label != "" {
		label = `|"` + mermaidText(label) + `"|`
	}
	fmt.Fprintf(&m.b, "  %s %s%s %s\n", m.id(from), arrow, label, m.id(to))
}

// mermaidText is text as a label, with what the language or HTML would read
// written as numbers of characters.
func mermaidText(text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case c < ' ' || c == 0x7f:
			b.WriteByte(' ')
		case strings.ContainsRune("\"#<>&`\\;*_~{}[]|", c):
			fmt.Fprintf(&b, "#%d;", c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
