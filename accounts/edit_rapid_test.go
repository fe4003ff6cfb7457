package accounts

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"
)

func drawLimit(t *rapid.T, name string) *int64 {
	if !rapid.Bool().Draw(t, name+" given") {
		return nil
	}
	return ptr(rapid.Int64Range(-1, 100).Draw(t, name))
}

func drawSubjects(t *rapid.T, name string) []string {
	return rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c.*", "d.>"}), 0, 3).Draw(t, name)
}

func drawEdit(t *rapid.T) Edit {
	e := Edit{
		Conns: drawLimit(t, "conns"), Data: drawLimit(t, "data"), Payload: drawLimit(t, "payload"),
		AddTags: drawSubjects(t, "tags"), RemoveTags: drawSubjects(t, "rm tags"),
		Permissions: PermissionsEdit{
			AllowPub: drawSubjects(t, "allow pub"), DenySub: drawSubjects(t, "deny sub"), Remove: drawSubjects(t, "rm"),
			RemoveResponse: rapid.Bool().Draw(t, "rm resp"),
		},
	}
	if rapid.Bool().Draw(t, "js") {
		e.JetStream = JetStreamEdit{DiskStorage: drawLimit(t, "disk"), Streams: drawLimit(t, "streams"), MemStorage: drawLimit(t, "mem")}
	}
	return e
}

// TestEditTwiceIsOnce: an edit that was applied changes nothing when it is
// applied again, whatever came before it.
func TestEditTwiceIsOnce(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	rapid.Check(t, func(t *rapid.T) {
		ac := jwt.NewAccountClaims(key)
		for i := range rapid.IntRange(0, 3).Draw(t, "edits before") {
			if err := drawEdit(t).Apply(ac); err != nil {
				t.Fatalf("edit %d: %v", i, err)
			}
		}
		e := drawEdit(t)
		var texts [2][]byte
		for i := range texts {
			if err := e.Apply(ac); err != nil {
				t.Fatal(err)
			}
			texts[i], _ = json.Marshal(ac)
		}
		if string(texts[0]) != string(texts[1]) {
			t.Errorf("once:\n%s\ntwice:\n%s", texts[0], texts[1])
		}
	})
}
