package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// claimsTree returns the claims of a document with numbers as they stand there.
func claimsTree(doc *claims.Document) map[string]any {
	var out map[string]any
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(doc.Token, ".")[1])
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		_ = dec.Decode(&out) // it was decoded before
	}
	return out
}

// field returns the JSON of the value at a path such as nats.exports[0].name,
// null where a name is absent, as claims leave out what is empty. An index
// beyond the list is fault.NotFound.
func field(tree map[string]any, path string) (string, error) {
	var at any = tree
	for part := range strings.SplitSeq(path, ".") {
		name, indexes, indexed := strings.Cut(part, "[")
		if indexes == "" && (name == "" || indexed) {
			return "", usage("%q is not a path such as nats.exports[0].name", path)
		}
		if name != "" {
			var err error
			if at, err = member(at, name, path); err != nil {
				return "", err
			}
		}
		for indexes != "" {
			index, rest, closed := strings.Cut(indexes, "]")
			n, err := strconv.Atoi(index)
			if err != nil || !closed || n < 0 || rest != "" && rest[0] != '[' {
				return "", usage("%q is not a path such as nats.exports[0].name", path)
			}
			if at, err = element(at, n, path); err != nil {
				return "", err
			}
			indexes = strings.TrimPrefix(rest, "[")
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(at); err != nil {
		return "", fault.New(fault.Internal, "encode field: %w", err)
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

func member(at any, name, path string) (any, error) {
	switch v := at.(type) {
	case map[string]any:
		return v[name], nil
	case nil:
		return nil, nil
	}
	return nil, fault.New(fault.NotFound, "there is no field %q: what comes before %q has no fields", path, name).About("field", path)
}

func element(at any, n int, path string) (any, error) {
	v, ok := at.([]any)
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no field %q: what is indexed is not a list", path).About("field", path)
	}
	if n >= len(v) {
		return nil, fault.New(fault.NotFound, "there is no field %q: the list has %s, counted from 0", path, count(len(v), "element")).About("field", path)
	}
	return v[n], nil
}
