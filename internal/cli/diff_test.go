package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func object(fields ...any) map[string]any {
	out := map[string]any{}
	for i := 0; i < len(fields); i += 2 {
		out[fields[i].(string)] = fields[i+1]
	}
	return out
}

// TestDiffOfClaims: what is usual is not shown of what is new as a whole, and
// always of what was there.
func TestDiffOfClaims(t *testing.T) {
	t.Parallel()
	key := "A" + strings.Repeat("B", 55)
	role := object("key", key, "kind", "user_scope", "role", "dev", "description", "", "template", object("subs", -1, "data", 5, "pub", object()))
	for _, c := range []struct {
		before, after map[string]any
		want          []string
	}{
		{nil, object("name", "a", "sub", key, "jti", "x", "nats", object("type", "account", "version", 2, "limits", object("conn", -1, "subs", 3, "wildcards", true))),
			[]string{"+ nats.limits.subs: 3"}},
		{object("nats", object("limits", object("subs", 3))), object("nats", object("limits", object("subs", 3, "conn", -1))),
			[]string{"+ nats.limits.conn: -1"}},
		{object("nats", object("limits", object("conn", 5))), object("nats", object("limits", object("conn", -1))),
			[]string{"- nats.limits.conn: 5", "+ nats.limits.conn: -1"}},
		{object("nats", object()), object("nats", object("signing_keys", []any{role})),
			[]string{"+ nats.signing_keys." + key + `.role: "dev"`, "+ nats.signing_keys." + key + ".template.data: 5"}},
		{object("iat", 1, "a", object("b", 1)), object("iat", 2, "a", 7), []string{"- a.b: 1", "+ a: 7"}},
		{object("a", object()), object(), []string{"- a: {}"}},
		{object("a", []any{1}), object("a", []any{1}), nil},
	} {
		if got := diffClaims(c.before, c.after); !slices.Equal(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestManyChangesAreFewLines: for people; many keys of one kind are one line.
func TestManyChangesAreFewLines(t *testing.T) {
	t.Parallel()
	var lines []string
	for i := range 64 {
		key := "A" + strings.Repeat("B", 53) + string(rune('A'+i/26)) + string(rune('A'+i%26))
		lines = append(lines, fmt.Sprintf("- nats.signing_keys.%s.role: %q", key, fmt.Sprintf("sensors/c%02de1", i)), "- nats.signing_keys."+key+".template.data: 5")
	}
	one := "U" + strings.Repeat("C", 55)
	lines = append(lines, "+ nats.revocations."+one+": 1800000000", "- nats.tags: "+strings.Repeat("x", 300))
	got := changeLines(lines)
	want := []string{"- nats.signing_keys: 64 keys, sensors/c00e1 … sensors/c63e1", "+ nats.revocations.UCCC…CCCC: 2027-01-15 08:00:00 UTC"}
	if len(got) != 3 || !slices.Equal(got[:2], want) || len(got[2]) > 260 || !strings.HasSuffix(got[2], "(313 letters)") {
		t.Errorf("%q", got)
	}
}
