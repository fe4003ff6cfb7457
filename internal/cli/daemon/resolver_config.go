package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/accountd/accountd/fault"
)

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 64 << 10

// read takes the values of a file for the flags that were not given. A field
// that it does not know is refused, and so is a value of another type.
func (f *resolverFlags) read(path string, given func(string) bool) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fault.New(fault.NotFound, "%s cannot be read: %w", path, err).About("file", path).WithHint("see accountd resolver --help")
	}
	file, err := parseResolverConfig(raw)
	if err != nil {
		return fault.New(fault.Usage, "%s: %w", path, err).About("file", path).WithHint("see accountd resolver --help")
	}
	to, from := reflect.ValueOf(f).Elem(), reflect.ValueOf(file)
	for i := range to.NumField() {
		name := strings.ReplaceAll(to.Type().Field(i).Tag.Get("json"), "_", "-")
		if !given(name) && !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	return nil
}

// parseResolverConfig decodes one JSON object, strictly.
func parseResolverConfig(raw []byte) (resolverFlags, error) {
	var f resolverFlags
	if len(raw) > maxConfig {
		return f, errors.New("the file is too large")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return resolverFlags{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return resolverFlags{}, errors.New("more than one JSON value")
	}
	return f, nil
}
