package nscstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// document is a JSON object that is edited as text: fields that are not known
// here keep their value and place.
type document []field

type field struct {
	key   string
	value json.RawMessage
}

// parseDocument reads one JSON object and nothing after it.
func parseDocument(data []byte) (document, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("not a JSON object"), err)
	}
	var doc document
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		doc.put(t.(string), raw) // a token in the place of a key is a string
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON object")
	}
	return doc, nil
}

// put replaces the value of key, or appends it.
func (d *document) put(key string, raw json.RawMessage) {
	for i := range *d {
		if (*d)[i].key == key {
			(*d)[i].value = raw
			return
		}
	}
	*d = append(*d, field{key, raw})
}

// set is put for the values of this package, which always encode.
func (d *document) set(key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %q: %w", key, err)
	}
	d.put(key, raw)
	return nil
}

// get decodes the value of key into v, which stays as it is without one.
func (d document) get(key string, v any) error {
	for _, f := range d {
		if f.key != key {
			continue
		}
		if err := json.Unmarshal(f.value, v); err != nil {
			return fmt.Errorf("field %q: %w", key, err)
		}
	}
	return nil
}

// encode writes the document as one line without a newline at its end.
func (d document) encode() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range d {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(f.key)
		if err != nil {
			return nil, fmt.Errorf("encode key: %w", err)
		}
		b.Write(key)
		b.WriteByte(':')
		if err := json.Compact(&b, f.value); err != nil {
			return nil, fmt.Errorf("encode %q: %w", f.key, err)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
