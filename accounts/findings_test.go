package accounts

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/keys"
)

func drawSubject(t *rapid.T, name string, wild bool) string {
	toks := []string{"a", "b", "c"}
	if wild {
		toks = append(toks, "*")
	}
	out := rapid.SliceOfN(rapid.SampledFrom(toks), 1, 4).Draw(t, name)
	if wild && rapid.Bool().Draw(t, name+" tail") {
		out = append(out, ">")
	}
	return strings.Join(out, ".")
}

// TestSubjectRelations: what is Within, the library's IsContainedIn accepts too
// (it also takes a.> for a part of a.*, which it is not), and both relations
// agree with matching literal subjects.
func TestSubjectRelations(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSubject(t, "a", true), drawSubject(t, "b", true)
		lit := drawSubject(t, "literal", false)
		if Within(a, b) && !jwt.Subject(a).IsContainedIn(jwt.Subject(b)) {
			t.Fatalf("%s is Within %s, the library disagrees", a, b)
		}
		inA, inB := Within(lit, a), Within(lit, b)
		if inA && inB && !Overlaps(a, b) {
			t.Fatalf("%s matches %s and %s, which do not overlap", lit, a, b)
		}
		if inA && Within(a, b) && !inB {
			t.Fatalf("%s is in %s, within %s, but not in it", lit, a, b)
		}
		if Overlaps(a, b) != Overlaps(b, a) {
			t.Fatal("Overlaps is not symmetric")
		}
	})
}

func TestMisroutedRenames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		local string
		want  bool
	}{
		{"x.$1", false}, {"x.$1.$2", false}, {"$2.$1", false}, {"x.$2.$3.$1", true},
		{"x.$3.$1.$2", true}, {"$3.$2.$1", false}, {"x.$1.$1", true}, {"x.$2", true},
	} {
		if got := misrouted(references(c.local)); got != c.want {
			t.Errorf("%s: %v", c.local, got)
		}
	}
}

type world map[string]*jwt.AccountClaims

func (w world) lookup(key string) *jwt.AccountClaims { return w[key] }

func (w world) add(t *testing.T, name string) (*jwt.AccountClaims, keys.AccountPair) {
	t.Helper()
	p, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	ac := jwt.NewAccountClaims(p.PublicKey())
	ac.Name = name
	w[ac.Subject] = ac
	return ac, p
}

func stream(from *jwt.AccountClaims, subject, local string) *jwt.Import {
	return &jwt.Import{Account: from.Subject, Subject: jwt.Subject(subject), LocalSubject: jwt.RenamingSubject(local), Type: jwt.Stream}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	w := world{}
	coke, _ := w.add(t, "coke")
	pepsi, _ := w.add(t, "pepsi")
	gone := jwt.NewAccountClaims("AGONE")
	coke.Exports = jwt.Exports{
		{Subject: "orders.*", Type: jwt.Stream},
		{Subject: "q.*.*.*", Type: jwt.Stream},
		{Subject: "secret", Type: jwt.Stream, TokenReq: true},
		{Subject: "own.*.x", Type: jwt.Service, AccountTokenPosition: 2},
	}
	for _, c := range []struct {
		name string
		im   *jwt.Import
		want string
	}{
		{"resolved", stream(coke, "orders.eu", ""), ""},
		{"unknown account", stream(gone, "orders.eu", ""), "not known"},
		{"no export", stream(coke, "orders.>", ""), "no stream export"},
		{"other type", &jwt.Import{Account: coke.Subject, Subject: "orders.eu", Type: jwt.Service}, "no service export"},
		{"three-cycle rename", stream(coke, "q.*.*.*", "x.$2.$3.$1"), "rename"},
		{"private", stream(coke, "secret", ""), "no activation"},
		{"own position", &jwt.Import{Account: coke.Subject, Subject: jwt.Subject("own." + pepsi.Subject + ".x"), Type: jwt.Service}, ""},
		{"other's position", &jwt.Import{Account: coke.Subject, Subject: jwt.Subject("own." + coke.Subject + ".x"), Type: jwt.Service}, "importing account's key"},
		{"verbatim position", &jwt.Import{Account: coke.Subject, Subject: "own.*.x", Type: jwt.Service}, "importing account's key"},
	} {
		ac := *pepsi
		ac.Imports = jwt.Imports{c.im}
		got := strings.Join(Findings(&ac, w.lookup, 100), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFindingsOfActivations(t *testing.T) {
	t.Parallel()
	w := world{}
	coke, cokeKey := w.add(t, "coke")
	pepsi, _ := w.add(t, "pepsi")
	other, otherKey := w.add(t, "other")
	_ = other
	coke.Exports = jwt.Exports{{Subject: "secret.>", Type: jwt.Stream, TokenReq: true}}
	token := func(key keys.AccountPair, exp, nbf int64) string {
		act := jwt.NewActivationClaims(pepsi.Subject)
		act.ImportSubject, act.ImportType, act.IssuerAccount = "secret.>", jwt.Stream, coke.Subject
		act.Expires, act.NotBefore = exp, nbf
		kp, err := pairOf(key)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := act.Encode(kp)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	for _, c := range []struct {
		name, token, want string
		revoked           jwt.RevocationList
	}{
		{"valid", token(cokeKey, 0, 0), "", nil},
		{"expired", token(cokeKey, 100, 0), "expired", nil},
		{"future", token(cokeKey, 0, 101), "not valid yet", nil},
		{"foreign", token(otherKey, 0, 0), "not signed by a key of the exporter", nil},
		{"garbage", "a.b.c", "cannot be read", nil},
		{"revoked", token(cokeKey, 0, 0), "revoked", jwt.RevocationList{pepsi.Subject: 1 << 40}},
		{"all revoked", token(cokeKey, 0, 0), "revoked", jwt.RevocationList{"*": 1 << 40}},
	} {
		coke.Exports[0].Revocations = c.revoked
		im := stream(coke, "secret.a", "")
		im.Token = c.token
		ac := *pepsi
		ac.Imports = jwt.Imports{im}
		got := strings.Join(Findings(&ac, w.lookup, 100), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCycles(t *testing.T) {
	t.Parallel()
	w := world{}
	a, _ := w.add(t, "a")
	b, _ := w.add(t, "b")
	c, _ := w.add(t, "c")
	for _, ac := range []*jwt.AccountClaims{a, b, c} {
		ac.Exports = jwt.Exports{{Subject: "s.>", Type: jwt.Stream}, {Subject: "x", Type: jwt.Stream}}
	}
	b.Imports = jwt.Imports{stream(c, "s.>", "")}
	c.Imports = jwt.Imports{stream(a, "x", "")}
	a.Imports = jwt.Imports{stream(b, "s.1", "")}
	if got := Findings(a, w.lookup, 1); len(got) != 0 {
		t.Errorf("different subjects are no cycle: %v", got)
	}
	c.Imports = jwt.Imports{stream(a, "s.>", "")}
	if got := Findings(a, w.lookup, 1); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "cycle") }) {
		t.Errorf("a cycle of three is not found: %v", got)
	}
}
