package claims

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

func operatorPair(t testing.TB) keys.OperatorPair {
	t.Helper()
	p, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func accountKey(t testing.TB) string {
	t.Helper()
	p, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	return p.PublicKey()
}

func sampleAccount(t testing.TB) *jwt.AccountClaims {
	ac := jwt.NewAccountClaims(accountKey(t))
	ac.Name = "coke"
	ac.Exports = jwt.Exports{
		{Name: "z", Subject: "z.>", Type: jwt.Stream},
		{Name: "a", Subject: "a.*", Type: jwt.Service, Revocations: jwt.RevocationList{"*": 5}},
	}
	scope := jwt.NewUserScope()
	scope.Key, scope.Role = accountKey(t), "device"
	ac.SigningKeys.AddScopedSigner(scope)
	ac.SigningKeys.Add(accountKey(t), accountKey(t))
	ac.Revocations = jwt.RevocationList{accountKey(t): 7}
	ac.Tags.Add("b", "a")
	return ac
}

// TestSignAgreesWithLibrary: what we sign, the library reads as the same
// claims as what it signs itself.
func TestSignAgreesWithLibrary(t *testing.T) {
	t.Parallel()
	op, ac := operatorPair(t), sampleAccount(t)
	draft, err := New(ac)
	if err != nil {
		t.Fatal(err)
	}
	d, err := draft.Sign(op, 1234)
	if err != nil {
		t.Fatal(err)
	}
	got, err := jwt.DecodeAccountClaims(d.Token)
	if err != nil {
		t.Fatalf("the library refuses our token: %v", err)
	}
	if got.IssuedAt != 1234 || got.Issuer != op.PublicKey() || got.ID != d.ID {
		t.Fatalf("iat %d iss %s jti %s", got.IssuedAt, got.Issuer, got.ID)
	}
	got.IssuedAt, got.Issuer, got.ID = 0, "", ""
	want := *ac
	want.IssuedAt, want.Issuer, want.ID = 0, "", ""
	if diff := cmp.Diff(got.String(), want.String()); diff != "" {
		t.Fatal(diff)
	}
}

// TestDecodeReadsLibraryTokens: tokens of the library decode, and two of one
// second with different bodies share a jti there but not with us.
func TestVersionsOfOneSecondDiffer(t *testing.T) {
	t.Parallel()
	op, ac := operatorPair(t), sampleAccount(t)
	draft, _ := New(ac)
	a, err := draft.Sign(op, 10)
	if err != nil {
		t.Fatal(err)
	}
	next, err := Edit(a, func(c *jwt.AccountClaims) error { c.Tags.Add("new"); return nil })
	if err != nil {
		t.Fatal(err)
	}
	b, err := next.Sign(op, 10)
	if err != nil {
		t.Fatal(err)
	}
	if a.ID == b.ID {
		t.Fatal("two versions of one second share a jti")
	}
}

// withUnknown returns doc with fields that nobody knows at many levels.
func withUnknown(t testing.TB, d *Document, op keys.OperatorPair) *Document {
	t.Helper()
	var body map[string]any
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(d.Token, ".")[1])
	body, err := parseObject(payload)
	if err != nil {
		t.Fatal(err)
	}
	nats := body["nats"].(map[string]any)
	body["x_top"] = json.Number("12345678901234567890")
	nats["x_nats"] = []any{"deep", map[string]any{"er": true}}
	nats["limits"].(map[string]any)["x_limit"] = json.Number("1")
	for i, e := range nats["exports"].([]any) {
		e.(map[string]any)["x_export"] = fmt.Sprintf("of %v", e.(map[string]any)["subject"])
		_ = i
	}
	for _, e := range nats["signing_keys"].([]any) {
		if m, ok := e.(map[string]any); ok {
			m["template"].(map[string]any)["x_template"] = "t"
		}
	}
	out, err := (&Draft{body}).Sign(op, d.IssuedAt)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestUnknownFieldsSurviveEdits is invariant 14.
func TestUnknownFieldsSurviveEdits(t *testing.T) {
	t.Parallel()
	op := operatorPair(t)
	draft, _ := New(sampleAccount(t))
	d, err := draft.Sign(op, 10)
	if err != nil {
		t.Fatal(err)
	}
	d = withUnknown(t, d, op)
	edited, err := Edit(d, func(c *jwt.AccountClaims) error {
		c.Tags.Add("new")
		c.Limits.Conn = 7
		c.Exports = append(jwt.Exports{{Name: "first", Subject: "aa", Type: jwt.Stream}}, c.Exports...)
		c.Exports[1].Description = "changed"
		c.Revocations.Revoke("*", time.Unix(3, 0))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := edited.Sign(op, 11)
	if err != nil {
		t.Fatal(err)
	}
	nats := out.body["nats"].(map[string]any)
	if out.body["x_top"] != json.Number("12345678901234567890") {
		t.Error("unknown number at the top is lost or rounded")
	}
	if nats["x_nats"] == nil || nats["limits"].(map[string]any)["x_limit"] == nil {
		t.Error("unknown fields are lost")
	}
	seen := 0
	for _, e := range nats["exports"].([]any) {
		m := e.(map[string]any)
		if m["subject"] != "aa" && m["x_export"] != fmt.Sprintf("of %v", m["subject"]) {
			t.Errorf("export %v carries %v", m["subject"], m["x_export"])
		}
		seen++
	}
	if seen != 3 {
		t.Errorf("%d exports", seen)
	}
	if !strings.Contains(fmt.Sprint(nats["signing_keys"]), "x_template") {
		t.Error("unknown field of a template is lost")
	}
	ac, err := As[jwt.AccountClaims](out)
	if err != nil {
		t.Fatal(err)
	}
	if ac.Limits.Conn != 7 || ac.Revocations["*"] != 3 || len(ac.Tags) != 3 {
		t.Errorf("edit not applied: %s", ac)
	}
}

// TestEditChangesNothingElse: an edit that does nothing yields the same body.
func TestEditChangesNothingElse(t *testing.T) {
	t.Parallel()
	op := operatorPair(t)
	draft, _ := New(sampleAccount(t))
	d, _ := draft.Sign(op, 10)
	d = withUnknown(t, d, op)
	same, err := Edit(d, func(*jwt.AccountClaims) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	out, err := same.Sign(op, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d.body, out.body); diff != "" {
		t.Fatal(diff)
	}
}

func TestHostileTokens(t *testing.T) {
	t.Parallel()
	op := operatorPair(t)
	draft, _ := New(sampleAccount(t))
	good, err := draft.Sign(op, 10)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good.Token, ".")
	forge := func(payload string) string {
		unsigned := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		sig, _ := op.Sign([]byte(unsigned))
		return unsigned + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
	ids := fmt.Sprintf(`"iss":%q,"sub":%q`, op.PublicKey(), good.Subject)
	for name, token := range map[string]string{
		"empty":               "",
		"two parts":           parts[0] + "." + parts[1],
		"four parts":          good.Token + ".x",
		"truncated":           good.Token[:len(good.Token)-4],
		"padded":              good.Token + "=",
		"newline":             good.Token + "\n",
		"oversized":           good.Token + strings.Repeat("A", MaxToken),
		"header of version 1": base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"jwt","alg":"ed25519"}`)) + "." + parts[1] + "." + parts[2],
		"other algorithm":     base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"none"}`)) + "." + parts[1] + "." + parts[2],
		"swapped signature":   parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86),
		"deeply nested":       forge(`{` + ids + `,"nats":{"version":2,"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}}`),
		"repeated name":       forge(`{` + ids + `,"nats":{"version":2,"type":"account","type":"user"}}`),
		"name in other case":  forge(`{` + ids + `,"nats":{"version":2,"revocations":{},"Revocations":{}}}`),
		"two values":          forge(`{` + ids + `,"nats":{"version":2}} {}`),
		"array":               forge(`[]`),
		"text for a number":   forge(`{` + ids + `,"iat":"1","nats":{"version":2}}`),
		"negative time":       forge(`{` + ids + `,"iat":-1,"nats":{"version":2}}`),
		"fraction":            forge(`{` + ids + `,"iat":1.5,"nats":{"version":2}}`),
		"version 1":           forge(`{` + ids + `,"type":"account","nats":{}}`),
		"version 3":           forge(`{` + ids + `,"nats":{"version":3}}`),
		"no issuer":           forge(`{"sub":"x","nats":{"version":2}}`),
		"not UTF-8":           forge("{" + ids + `,"name":"` + "\xff" + `","nats":{"version":2}}`),
	} {
		_, err := Decode(token)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if c := fault.CodeOf(err); c != fault.Invalid && c != fault.Untrusted {
			t.Errorf("%s: code %s: %v", name, c, err)
		}
		if rule := fault.RuleOf(err); rule == "" || strings.HasSuffix(name, "version 1") != (rule == "version-1") {
			t.Errorf("%s: rule %q: %v", name, rule, err)
		}
	}
	if _, err := As[jwt.UserClaims](good); fault.RuleOf(err) != "type" {
		t.Errorf("account read as user: %v", err)
	}
}

// TestDecodeAgreesWithLibrary: what Decode accepts of mutated tokens, the
// library accepts too, with the same standard fields.
func TestDecodeAgreesWithLibrary(t *testing.T) {
	t.Parallel()
	op := operatorPair(t)
	draft, _ := New(sampleAccount(t))
	good, _ := draft.Sign(op, 10)
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(good.Token)
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[at] = rapid.Byte().Draw(t, "byte")
		d, err := Decode(string(b))
		if err != nil {
			return
		}
		if string(b) != good.Token {
			t.Fatalf("a token changed at %d is accepted", at)
		}
		if d.ID != good.ID {
			t.Fatal("other jti")
		}
	})
}

func FuzzDecode(f *testing.F) {
	op := operatorPair(f)
	draft, _ := New(sampleAccount(f))
	good, _ := draft.Sign(op, 10)
	f.Add(good.Token)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		d, err := Decode(token)
		if err != nil {
			return
		}
		if _, err := jwt.Decode(token); err != nil {
			t.Fatalf("we accept what the library refuses: %v", err)
		}
		_ = d
	})
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"c"}],"mappings":{"A":1,"a":2}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := parseObject(data)
		if err != nil {
			return
		}
		var ref any
		if err := json.Unmarshal(data, &ref); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		out, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseObject(out)
		if err != nil || !cmp.Equal(tree, again) {
			t.Fatalf("not stable: %v", err)
		}
	})
}
