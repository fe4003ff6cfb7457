package accounts

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
)

// refused requires an error of a code and a rule.
func refused(t *testing.T, what string, err error, code fault.Code, rule string) {
	t.Helper()
	if !fault.Is(err, code) || fault.RuleOf(err) != rule {
		t.Errorf("%s: expected %s (%s), got %v", what, code, rule, err)
	}
}

func export(t *testing.T, ac *jwt.AccountClaims, subject string, e ExportEdit) {
	t.Helper()
	if err := e.Add(ac, subject); err != nil {
		t.Fatal(err)
	}
}

// TestExportEditKeeps: an edit changes what it names, and revoked activations
// stay revoked.
func TestExportEditKeeps(t *testing.T) {
	t.Parallel()
	ac := newAccount(t)
	export(t, ac, "q.*", ExportEdit{
		Service: ptr(true), ResponseType: ptr("Stream"), ResponseThreshold: ptr(2 * time.Second), AllowTrace: ptr(true), TokenPosition: ptr(uint(2)),
		Latency: ptr("lat"), Sampling: ptr(7), Advertise: ptr(true), Description: ptr("d"), InfoURL: ptr("https://example.com"), Name: ptr("n"),
	})
	if _, err := RevokeActivations(ac, ExportRef{"q.*", jwt.Service}, revocation.All, 5); err != nil {
		t.Fatal(err)
	}
	before := text(t, ac)
	for range 2 {
		if err := (ExportEdit{}).Apply(ac, ExportRef{}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, text(t, ac)); diff != "" {
		t.Error(diff)
	}
	if err := (ExportEdit{Latency: ptr("other")}).Apply(ac, ExportRef{Subject: "q.*"}); err != nil || ac.Exports[0].Latency.Sampling != 7 {
		t.Errorf("%v, %+v", err, ac.Exports[0].Latency)
	}
	if err := (ExportEdit{Service: ptr(false), TokenPosition: ptr(uint(0)), Private: ptr(true)}).Apply(ac, ExportRef{}); err != nil {
		t.Fatal(err)
	}
	want := &jwt.Export{
		Name: "n", Subject: "q.*", Type: jwt.Stream, TokenReq: true, Advertise: true, Revocations: jwt.RevocationList{"*": 5},
		Info: jwt.Info{Description: "d", InfoURL: "https://example.com"},
	}
	if diff := cmp.Diff(want, ac.Exports[0]); diff != "" {
		t.Errorf("a stream keeps what only services have:\n%s", diff)
	}
}

func TestExportRefuses(t *testing.T) {
	t.Parallel()
	ac := newAccount(t)
	export(t, ac, "q.>", ExportEdit{Service: ptr(true)})
	export(t, ac, "q.>", ExportEdit{})
	before := text(t, ac)
	for what, c := range map[string]struct {
		subject string
		edit    ExportEdit
		code    fault.Code
		rule    string
	}{
		"within a service":       {"q.a", ExportEdit{Service: ptr(true)}, fault.Conflict, "overlap"},
		"around a stream":        {">", ExportEdit{}, fault.Conflict, "overlap"},
		"tracing a stream":       {"s", ExportEdit{AllowTrace: ptr(true)}, fault.Invalid, "service-only"},
		"measuring a stream":     {"s", ExportEdit{Latency: ptr("l"), Sampling: ptr(1)}, fault.Invalid, "service-only"},
		"a rate for nothing":     {"s", ExportEdit{Service: ptr(true), Sampling: ptr(1)}, fault.Invalid, "sampling"},
		"private by token":       {"s.*", ExportEdit{Private: ptr(true), TokenPosition: ptr(uint(2))}, fault.Invalid, "token-position"},
		"a token that is none":   {"s.*", ExportEdit{TokenPosition: ptr(uint(1))}, fault.Invalid, "blocking"},
		"no subject":             {"a..b", ExportEdit{}, fault.Invalid, "subject"},
		"results for a wildcard": {"s", ExportEdit{Service: ptr(true), Latency: ptr("l.*")}, fault.Invalid, "blocking"},
		"negative threshold":     {"s", ExportEdit{Service: ptr(true), ResponseThreshold: ptr(-time.Second)}, fault.Invalid, "blocking"},
	} {
		copied := newAccount(t)
		*copied = *ac
		copied.Exports = append(jwt.Exports(nil), ac.Exports...)
		refused(t, what, c.edit.Add(copied, c.subject), c.code, c.rule)
	}
	if diff := cmp.Diff(before, text(t, ac)); diff != "" {
		t.Error(diff)
	}
	refused(t, "either", RemoveExport(ac, ExportRef{Subject: "q.>"}), fault.Usage, "")
	refused(t, "the only one of two", RemoveExport(ac, ExportRef{}), fault.Usage, "")
	refused(t, "another", RemoveExport(ac, ExportRef{Subject: "q"}), fault.NotFound, "")
	if err := (ExportEdit{Service: ptr(true), Name: ptr("x")}).Apply(ac, ExportRef{Subject: "q.>"}); err != nil || ac.Exports[0].Name != "x" || ac.Exports[1].Name != "q.>" {
		t.Errorf("%v: the service is not the one that was renamed", err)
	}
	if err := RemoveExport(ac, ExportRef{Type: jwt.Service}); err != nil || len(ac.Exports) != 1 || ac.Exports[0].Type != jwt.Stream {
		t.Errorf("%v, %+v", err, ac.Exports)
	}
	ac.Limits.Exports = 1
	refused(t, "more than the operator allows", ExportEdit{}.Add(ac, "more"), fault.Invalid, "blocking")
}

// privateExporter is an account with a private export, and a way to sign for it.
func privateExporter(t *testing.T, w world, name string) (*jwt.AccountClaims, keys.AccountPair) {
	t.Helper()
	ac, pair := w.add(t, name)
	export(t, ac, "orders.>", ExportEdit{Private: ptr(true)})
	return ac, pair
}

func activation(t *testing.T, ac *jwt.AccountClaims, pair keys.AccountPair, a Activation, at int64) string {
	t.Helper()
	act, earliest, err := a.Claims(ac, pair.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	draft, err := claims.New(act)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := draft.Sign(pair, max(at, earliest))
	if err != nil {
		t.Fatal(err)
	}
	return doc.Token
}

// TestActivationIsCheckedWhereItIsTaken: what servers would not honour is
// refused by name, and what they honour is imported.
func TestActivationIsCheckedWhereItIsTaken(t *testing.T) {
	t.Parallel()
	const now = 1000
	w := world{}
	exporter, pair := privateExporter(t, w, "exporter")
	importer, _ := w.add(t, "importer")
	other, stranger := privateExporter(t, w, "other")
	valid := activation(t, exporter, pair, Activation{Importer: importer.Subject, Subject: "orders.eu"}, now)
	take := func(token string) error {
		return NewImport{Activation: token}.Add(importer, w.lookup, now)
	}
	refused(t, "for another", NewImport{Activation: valid}.Add(other, w.lookup, now), fault.Invalid, "activation-account")
	refused(t, "expired", take(activation(t, exporter, pair, Activation{Importer: importer.Subject, Expires: now}, now)), fault.Expired, "activation-expired")
	refused(t, "no token", take("x"), fault.Invalid, "activation")
	refused(t, "changed", take(valid[:len(valid)-4]+"AAAA"), fault.Untrusted, "activation")
	refused(t, "foreign signer", take(activation(t, exporter, stranger, Activation{Importer: importer.Subject}, now)), fault.Untrusted, "activation-signer")
	user, err := claims.New(jwt.NewUserClaims(newKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := user.Sign(pair, now)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "a user", take(doc.Token), fault.Invalid, "activation")

	if _, err := RevokeActivations(exporter, ExportRef{"orders.eu", jwt.Stream}, importer.Subject, now); err != nil {
		t.Fatal(err)
	}
	refused(t, "revoked", take(valid), fault.Denied, "activation-revoked")
	again := activation(t, exporter, pair, Activation{Importer: importer.Subject, Subject: "orders.eu"}, now)
	if err := take(again); err != nil {
		t.Fatalf("made after the revocation, in the same second: %v", err)
	}
	if got := Findings(importer, w.lookup, now); len(got) != 0 {
		t.Errorf("findings %v", got)
	}
	refused(t, "twice", take(again), fault.Conflict, "import-exists")
	want := &jwt.Import{Name: "orders.eu", Subject: "orders.eu", Account: exporter.Subject, Token: again, Type: jwt.Stream}
	if diff := cmp.Diff(want, importer.Imports[0]); diff != "" {
		t.Error(diff)
	}
	if got := Activated(importer, exporter.Subject); got != now+1 {
		t.Errorf("activated at %d", got)
	}
}

func TestActivationRefuses(t *testing.T) {
	t.Parallel()
	ac := newAccount(t)
	make := func(a Activation) error {
		_, _, err := a.Claims(ac, ac.Subject)
		return err
	}
	importer := newKey(t)
	export(t, ac, "public", ExportEdit{})
	refused(t, "nothing private", make(Activation{Importer: importer}), fault.NotFound, "")
	export(t, ac, "a.*", ExportEdit{Private: ptr(true)})
	refused(t, "a wider subject", make(Activation{Importer: importer, Subject: "a.>"}), fault.NotFound, "")
	refused(t, "a public one", make(Activation{Importer: importer, Subject: "public"}), fault.NotFound, "")
	refused(t, "itself", make(Activation{Importer: ac.Subject}), fault.Invalid, "self-import")
	refused(t, "over before it begins", make(Activation{Importer: importer, Starts: 5, Expires: 5}), fault.Invalid, "time")
	export(t, ac, "b", ExportEdit{Private: ptr(true), Service: ptr(true)})
	refused(t, "either", make(Activation{Importer: importer}), fault.Usage, "")
	signing := newKey(t)
	act, earliest, err := Activation{Importer: importer, Subject: "b", Starts: 3, Expires: 9}.Claims(ac, signing)
	if err != nil || earliest != 0 || act.IssuerAccount != ac.Subject || act.ImportType != jwt.Service || act.NotBefore != 3 || act.Expires != 9 || act.Name != "b" {
		t.Errorf("%v, %d, %+v", err, earliest, act)
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	w := world{}
	ac, _ := w.add(t, "app")
	ex, _ := w.add(t, "exporter")
	add := func(n NewImport) error { return n.Add(ac, w.lookup, 0) }
	refused(t, "itself", add(NewImport{Account: ac.Subject, Subject: "x"}), fault.Invalid, "self-import")
	refused(t, "a stream that shares", add(NewImport{Account: ex.Subject, Subject: "x", Share: true}), fault.Invalid, "service-only")
	refused(t, "a service that traces", add(NewImport{Account: ex.Subject, Subject: "x", Service: true, AllowTrace: true}), fault.Invalid, "stream-only")
	for _, n := range []NewImport{{Account: ex.Subject, Subject: "x"}, {Account: ex.Subject, Subject: "x", Service: true}, {Account: newKey(t), Subject: "x"}} {
		if err := add(n); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, "a name that is none", add(NewImport{Account: ex.Subject, Subject: "y.*", Local: "z.$2"}), fault.Invalid, "blocking")
	ac.Imports = ac.Imports[:3]
	refused(t, "one of three", RemoveImport(ac, ImportRef{Subject: "x"}), fault.Usage, "")
	refused(t, "one of two", RemoveImport(ac, ImportRef{Account: ex.Subject}), fault.Usage, "")
	refused(t, "another", RemoveImport(ac, ImportRef{Subject: "y"}), fault.NotFound, "")
	if err := RemoveImport(ac, ImportRef{Account: ex.Subject, Type: jwt.Service}); err != nil || len(ac.Imports) != 2 {
		t.Errorf("%v, %d imports", err, len(ac.Imports))
	}
}

func TestUnrevokeActivations(t *testing.T) {
	t.Parallel()
	ac := newAccount(t)
	export(t, ac, "s", ExportEdit{Private: ptr(true)})
	at, a, b := ExportRef{"s", jwt.Stream}, newKey(t), newKey(t)
	for key, time := range map[string]int64{a: 10, b: 20, revocation.All: 15} {
		if _, err := RevokeActivations(ac, at, key, time); err != nil {
			t.Fatal(err)
		}
	}
	if stands, err := RevokeActivations(ac, at, b, 5); err != nil || stands != 20 {
		t.Errorf("an earlier time took the place of a later one: %d, %v", stands, err)
	}
	refused(t, "covered by *", UnrevokeActivations(ac, at, a), fault.Denied, "covered")
	for _, key := range []string{b, revocation.All, a, a} {
		if err := UnrevokeActivations(ac, at, key); err != nil {
			t.Fatal(err)
		}
	}
	if len(ac.Exports[0].Revocations) != 0 {
		t.Errorf("%v", ac.Exports[0].Revocations)
	}
	refused(t, "no such export", UnrevokeActivations(ac, ExportRef{"s", jwt.Service}, a), fault.NotFound, "")
}

func TestMappings(t *testing.T) {
	t.Parallel()
	ac := newAccount(t)
	add := func(to string, weight uint8, cluster string) error {
		return AddMapping(ac, "a", jwt.WeightedMapping{Subject: jwt.Subject(to), Weight: weight, Cluster: cluster})
	}
	for _, err := range []error{add("b", 0, ""), add("b", 60, ""), add("c", 40, ""), add("b", 0, "eu"), add("b", 90, "eu"), add("d", 10, "eu")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	refused(t, "over 100 %", add("d", 1, ""), fault.Invalid, "weight")
	refused(t, "over 100 % in a cluster", add("c", 1, "eu"), fault.Invalid, "weight")
	refused(t, "no subject", AddMapping(ac, "x..y", jwt.WeightedMapping{Subject: "b"}), fault.Invalid, "subject")
	delete(ac.Mappings, "x..y")
	refused(t, "not there", RemoveMapping(ac, "a", "nosuch", ""), fault.NotFound, "")
	refused(t, "not in the cluster", RemoveMapping(ac, "a", "", "us"), fault.NotFound, "")
	refused(t, "not mapped", RemoveMapping(ac, "b", "", ""), fault.NotFound, "")
	if err := RemoveMapping(ac, "a", "", "eu"); err != nil {
		t.Fatal(err)
	}
	want := jwt.Mapping{"a": {{Subject: "b", Weight: 60}, {Subject: "c", Weight: 40}}}
	if diff := cmp.Diff(want, ac.Mappings); diff != "" {
		t.Error(diff)
	}
	if err := RemoveMapping(ac, "a", "", ""); err != nil || ac.Mappings != nil {
		t.Errorf("%v, %v", err, ac.Mappings)
	}
}

// TestMappingsRapid: whatever is added and removed, the weights of a subject
// stay within 100 % and the last removal leaves nothing.
func TestMappingsRapid(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	rapid.Check(t, func(t *rapid.T) {
		ac := jwt.NewAccountClaims(key)
		pick := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			from, to, cluster := pick("from", "a", "b"), pick("to", "x", "y", "z"), pick("cluster", "", "eu")
			if rapid.Bool().Draw(t, "remove") {
				_ = RemoveMapping(ac, from, to, cluster) // what is not there is an error
				continue
			}
			copied := jwt.NewAccountClaims(key)
			copied.Mappings = jwt.Mapping{}
			for k, v := range ac.Mappings {
				copied.Mappings[k] = append([]jwt.WeightedMapping(nil), v...)
			}
			m := jwt.WeightedMapping{Subject: jwt.Subject(to), Weight: rapid.Uint8Range(0, 100).Draw(t, "weight"), Cluster: cluster}
			if err := AddMapping(copied, from, m); err == nil {
				ac = copied
			}
		}
		if issues := Blocking(ac); len(issues) > 0 {
			t.Fatal(strings.Join(issues, "; "))
		}
		for from := range ac.Mappings {
			if err := RemoveMapping(ac, string(from), "", ""); err != nil {
				t.Fatal(err)
			}
		}
		if len(ac.Mappings) > 0 {
			t.Fatalf("left: %v", ac.Mappings)
		}
	})
}

func TestCallout(t *testing.T) {
	t.Parallel()
	ac := newAccount(t)
	user, err := keys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	curve, err := keys.NewCurve()
	if err != nil {
		t.Fatal(err)
	}
	other := newKey(t)
	refused(t, "nobody decides", CalloutEdit{AddAccounts: []string{other}}.Apply(newAccount(t)), fault.Invalid, "callout")
	full := CalloutEdit{AddUsers: []string{user.PublicKey()}, AddAccounts: []string{other}, Curve: ptr(curve.PublicKey())}
	for range 2 {
		if err := full.Apply(ac); err != nil {
			t.Fatal(err)
		}
	}
	want := jwt.ExternalAuthorization{AuthUsers: jwt.StringList{user.PublicKey()}, AllowedAccounts: jwt.StringList{other}, XKey: curve.PublicKey()}
	if diff := cmp.Diff(want, ac.Authorization); diff != "" {
		t.Error(diff)
	}
	for what, c := range map[string]struct {
		edit CalloutEdit
		code fault.Code
		rule string
	}{
		"all and one":           {CalloutEdit{AddAccounts: []string{"*"}}, fault.Invalid, "callout"},
		"not there":             {CalloutEdit{RemoveAccounts: []string{newKey(t)}}, fault.NotFound, ""},
		"the last who decides":  {CalloutEdit{RemoveUsers: []string{user.PublicKey()}}, fault.Invalid, "callout"},
		"disabled and changed":  {CalloutEdit{Disable: true, AddAccounts: []string{"*"}}, fault.Usage, ""},
		"an account for a user": {CalloutEdit{AddUsers: []string{other}}, fault.Invalid, "blocking"},
	} {
		copied := *ac
		refused(t, what, c.edit.Apply(&copied), c.code, c.rule)
	}
	if diff := cmp.Diff(want, ac.Authorization); diff != "" {
		t.Errorf("a refused edit changed the original:\n%s", diff)
	}
	if err := (CalloutEdit{Disable: true}).Apply(ac); err != nil || ac.Authorization.IsEnabled() || ac.Authorization.XKey != "" {
		t.Errorf("%v, %+v", err, ac.Authorization)
	}
}

func TestParseSharing(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"header": 0, "HEADERS": 0, "1": 1, "100": 100, "25%": 25} {
		if got, err := ParseSampling(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "101", "-1", "often", "1.5"} {
		if _, err := ParseSampling(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if got, err := ParseResponseType("chunked"); err != nil || got != jwt.ResponseTypeChunked {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := ParseResponseType("Sometimes"); err == nil {
		t.Error("Sometimes is taken")
	}
}
