package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/accountd/accountd/fault"
)

// printYAML writes the JSON of v as YAML, with its fields in the same order.
// Strings are quoted as in JSON, which YAML reads the same.
func printYAML(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fault.New(fault.Internal, "encode the result: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var b strings.Builder
	if err := yamlValue(&b, dec, 0); err != nil {
		return fault.New(fault.Internal, "encode the result: %w", err)
	}
	_, err = io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

// yamlValue writes the next value of dec, which stands after a key or a dash.
func yamlValue(b *strings.Builder, dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	delim, nested := tok.(json.Delim)
	if !nested {
		text, err := json.Marshal(tok)
		fmt.Fprintf(b, " %s\n", text)
		return err
	}
	if !dec.More() {
		fmt.Fprintf(b, " %s\n", map[json.Delim]string{'{': "{}", '[': "[]"}[delim])
		_, err = dec.Token()
		return err
	}
	b.WriteByte('\n')
	for dec.More() {
		b.WriteString(strings.Repeat("  ", depth))
		label := "-"
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			label = yamlKey(fmt.Sprint(key))
		}
		b.WriteString(label)
		if err := yamlValue(b, dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// yamlKey is a key of a mapping. Ours are plain words, public keys and *.
func yamlKey(key string) string {
	for _, r := range key {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '_' {
			return fmt.Sprintf("%q:", key)
		}
	}
	return key + ":"
}
