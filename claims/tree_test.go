package claims

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzParseObject: what is read is what encoding/json reads; what is refused
// beyond that repeats a name, is too deep, or is no object.
func FuzzParseObject(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { "a" : [ 1 , -2.5e+3 , true , false , null , "x" ] , "b" : { } } `, `{"a":"\"\\\u00e9\ud83d\ude00\ud800"}`,
		`{"a":1,"A":2}`, `{"A":1,"a":2}`, `{"A":1,"A":2}`, `{"mappings":{"a":1,"A":2}}`, `{"mappings":[{"a":1,"A":2}]}`,
		`{"a":1}{}`, `[]`, `1`, `{"a":`, `{"a" "b"}`, `{"a":[1,]}`, `{,}`, "\xff", "{\"a\":\"\xff\"}", ``, ` `,
		strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseObject(data)
		dec := json.NewDecoder(strings.NewReader(string(data)))
		dec.UseNumber()
		var want map[string]any
		wantErr := dec.Decode(&want)
		if err == nil && (wantErr != nil || dec.More() || !reflect.DeepEqual(got, want)) {
			t.Errorf("%q: read as %v, encoding/json reads %v, %v", data, got, want, wantErr)
		}
		if err != nil && json.Valid(data) && want != nil && !strings.Contains(strings.ToLower(err.Error()), "twice") &&
			!strings.Contains(err.Error(), "deep") && !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%q: refused: %v", data, err)
		}
	})
}
