package accounts

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// parts splits an edit into edits of one field each, in the order of the fields.
func parts[T any](e T) []T {
	var out []T
	var walk func(from reflect.Value, at []int)
	walk = func(from reflect.Value, at []int) {
		for i := range from.NumField() {
			field, at := from.Field(i), append(at[:len(at):len(at)], i)
			switch {
			case field.IsZero():
			case field.Kind() == reflect.Struct:
				walk(field, at)
			default:
				var one T
				reflect.ValueOf(&one).Elem().FieldByIndex(at).Set(field)
				out = append(out, one)
			}
		}
	}
	walk(reflect.ValueOf(e), nil)
	return out
}

func drawText(t *rapid.T, name string, of ...string) *string {
	if !rapid.Bool().Draw(t, name+" given") {
		return nil
	}
	return ptr(rapid.SampledFrom(of).Draw(t, name))
}

func drawSwitch(t *rapid.T, name string) *bool {
	if !rapid.Bool().Draw(t, name+" given") {
		return nil
	}
	return ptr(rapid.Bool().Draw(t, name))
}

// drawWideEdit is drawEdit with more of what an account has.
func drawWideEdit(t *rapid.T) Edit {
	e := drawEdit(t)
	e.Subs, e.Exports = drawLimit(t, "subs"), drawLimit(t, "exports")
	e.DisallowBearer, e.HostClusterTraffic = drawSwitch(t, "bearer"), drawSwitch(t, "traffic")
	e.Description, e.TraceSubject = drawText(t, "description", "", "a", "b"), drawText(t, "trace", "", "t", "t.u")
	return e
}

func drawLimits(t *rapid.T) LimitsEdit {
	pick := func(name string, of ...string) []string {
		return rapid.SliceOfN(rapid.SampledFrom(of), 0, 3).Draw(t, name)
	}
	return LimitsEdit{
		Permissions: PermissionsEdit{AllowSub: drawSubjects(t, "allow sub"), DenyPub: drawSubjects(t, "deny pub"), Remove: drawSubjects(t, "rm user subject")},
		Payload:     drawLimit(t, "user payload"), Subs: drawLimit(t, "user subs"), Bearer: drawSwitch(t, "user bearer"),
		AddConnTypes: pick("types", "MQTT", "STANDARD"), RemoveConnTypes: pick("rm types", "MQTT", "LEAFNODE"),
		AddNetworks: pick("networks", "10.0.0.0/8", "::1/128"), RemoveNetworks: pick("rm networks", "10.0.0.0/8"),
		Locale: drawText(t, "locale", "", "UTC"),
	}
}

// TestOneCommandIsAsMany: flags in one command do what they do one by one.
func TestOneCommandIsAsMany(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	rapid.Check(t, func(t *rapid.T) {
		once, many := jwt.NewAccountClaims(key), jwt.NewAccountClaims(key)
		for range rapid.IntRange(1, 4).Draw(t, "edits") {
			e := drawWideEdit(t)
			if err := e.Apply(once); err != nil {
				t.Fatal(err)
			}
			for _, one := range parts(e) {
				if err := one.Apply(many); err != nil {
					t.Fatalf("%+v: %v", one, err)
				}
			}
			if diff := cmp.Diff(pretty(t, once), pretty(t, many)); diff != "" {
				t.Fatalf("- at once, + one by one:\n%s", diff)
			}
		}
		uonce, umany := jwt.NewUserClaims("U"), jwt.NewUserClaims("U")
		for range rapid.IntRange(1, 4).Draw(t, "user edits") {
			e := UserEdit{AddTags: drawSubjects(t, "user tags"), RemoveTags: drawSubjects(t, "rm user tags"), Expires: drawLimit(t, "expires"), Limits: drawLimits(t)}
			if err := e.Apply(uonce, jwt.NewAccountClaims(key), key); err != nil {
				t.Fatal(err)
			}
			for _, one := range parts(e) {
				if err := one.Apply(umany, jwt.NewAccountClaims(key), key); err != nil {
					t.Fatalf("%+v: %v", one, err)
				}
			}
			if diff := cmp.Diff(pretty(t, uonce), pretty(t, umany)); diff != "" {
				t.Fatalf("user, - at once, + one by one:\n%s", diff)
			}
		}
	})
}

func pretty(t *rapid.T, v any) string {
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// steps are changes of an account, each of which may be refused.
func steps(key, other string) map[string]func(*rapid.T) func(*jwt.AccountClaims) error {
	subjects := rapid.SampledFrom([]string{"a", "b.*", "c.>", "a..b", "d.$JS", "*"})
	users := rapid.SampledFrom([]string{"U", jwt.All, other})
	at := func(t *rapid.T) ExportRef { return ExportRef{Subject: subjects.Draw(t, "export")} }
	return map[string]func(*rapid.T) func(*jwt.AccountClaims) error{
		"edit": func(t *rapid.T) func(*jwt.AccountClaims) error { return drawWideEdit(t).Apply },
		"add export": func(t *rapid.T) func(*jwt.AccountClaims) error {
			s, e := subjects.Draw(t, "subject"), ExportEdit{Service: drawSwitch(t, "service"), Private: drawSwitch(t, "private")}
			return func(ac *jwt.AccountClaims) error { return e.Add(ac, s) }
		},
		"edit export": func(t *rapid.T) func(*jwt.AccountClaims) error {
			ref, e := at(t), ExportEdit{Service: drawSwitch(t, "service"), Description: drawText(t, "text", "x", ""), Latency: drawText(t, "latency", "l", "l.*")}
			return func(ac *jwt.AccountClaims) error { return e.Apply(ac, ref) }
		},
		"delete export": func(t *rapid.T) func(*jwt.AccountClaims) error {
			ref := at(t)
			return func(ac *jwt.AccountClaims) error { return RemoveExport(ac, ref) }
		},
		"revoke activation": func(t *rapid.T) func(*jwt.AccountClaims) error {
			ref := at(t)
			return func(ac *jwt.AccountClaims) error { _, err := RevokeActivations(ac, ref, other, 5); return err }
		},
		"add import": func(t *rapid.T) func(*jwt.AccountClaims) error {
			n := NewImport{
				Account: rapid.SampledFrom([]string{key, other}).Draw(t, "exporter"), Subject: subjects.Draw(t, "subject"),
				Service: rapid.Bool().Draw(t, "service"), Local: rapid.SampledFrom([]string{"", "x", "x.$1", "y.*"}).Draw(t, "local"),
			}
			return func(ac *jwt.AccountClaims) error { return n.Add(ac, func(string) *jwt.AccountClaims { return nil }, 1) }
		},
		"delete import": func(t *rapid.T) func(*jwt.AccountClaims) error {
			ref := ImportRef{Subject: subjects.Draw(t, "import")}
			return func(ac *jwt.AccountClaims) error { return RemoveImport(ac, ref) }
		},
		"add mapping": func(t *rapid.T) func(*jwt.AccountClaims) error {
			from, to := subjects.Draw(t, "from"), jwt.WeightedMapping{Subject: jwt.Subject(subjects.Draw(t, "to")), Weight: rapid.Uint8Range(0, 100).Draw(t, "weight")}
			return func(ac *jwt.AccountClaims) error { return AddMapping(ac, from, to) }
		},
		"role": func(t *rapid.T) func(*jwt.AccountClaims) error {
			e := RoleEdit{Key: other, Role: drawText(t, "role", "r", "s"), Limits: drawLimits(t)}
			return e.Apply
		},
		"revoke user": func(t *rapid.T) func(*jwt.AccountClaims) error {
			user, when := users.Draw(t, "user"), rapid.Int64Range(1, 9).Draw(t, "at")
			return func(ac *jwt.AccountClaims) error { ac.RevokeAt(user, time.Unix(when, 0)); return nil }
		},
	}
}

// TestSequencesOfEditsKeepTheDocument: whatever is done to an account, one by
// one and with refusals in between, every version is one that servers take, has
// the fields that nobody here knows, and reads back as it was signed.
func TestSequencesOfEditsKeepTheDocument(t *testing.T) {
	t.Parallel()
	pair, err := keys.NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	key, other := newKey(t), newKey(t)
	start := unknownFields(t, key, pair)
	makers := steps(key, other)
	rapid.Check(t, func(t *rapid.T) {
		doc := start
		for n := range rapid.IntRange(1, 12).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{
				"edit", "add export", "edit export", "delete export", "revoke activation", "add import", "delete import", "add mapping", "role", "revoke user",
			}).Draw(t, "step")
			draft, err := claims.Edit(doc, makers[name](t))
			if err != nil {
				continue // refused, and doc is as it was
			}
			next, err := draft.Sign(pair, int64(n+2))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if doc, err = claims.Decode(next.Token); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			ac, err := claims.As[jwt.AccountClaims](doc)
			if err != nil {
				t.Fatal(err)
			}
			if issues := Blocking(ac); len(issues) > 0 {
				t.Fatalf("%s: %s", name, strings.Join(issues, "; "))
			}
			if body := payload(t, doc.Token); !strings.Contains(body, `"later":{"a":[1]}`) || !strings.Contains(body, `"top":"x"`) {
				t.Fatalf("%s: a field is lost: %s", name, body)
			}
			if lib, err := jwt.DecodeAccountClaims(doc.Token); err != nil || lib.Subject != key {
				t.Fatalf("%s: servers read %v, error %v", name, lib, err)
			}
		}
	})
}

func payload(t *rapid.T, token string) string {
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// unknownFields is an account with fields of a version to come.
func unknownFields(t *testing.T, key string, pair keys.OperatorPair) *claims.Document {
	t.Helper()
	ac := jwt.NewAccountClaims(key)
	ac.Name = "app"
	draft, err := claims.New(ac)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := draft.Sign(pair, 1)
	if err != nil {
		t.Fatal(err)
	}
	segments := strings.Split(doc.Token, ".")
	body, err := base64.RawURLEncoding.DecodeString(segments[1])
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(body), `"nats":{`, `"top":"x","nats":{"later":{"a":[1]},`, 1)
	segments[1] = base64.RawURLEncoding.EncodeToString([]byte(changed))
	signature, err := pair.Sign([]byte(segments[0] + "." + segments[1]))
	if err != nil {
		t.Fatal(err)
	}
	segments[2] = base64.RawURLEncoding.EncodeToString(signature)
	if doc, err = claims.Decode(strings.Join(segments, ".")); err != nil {
		t.Fatal(err)
	}
	return doc
}
