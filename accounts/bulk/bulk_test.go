package bulk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

func newKey(t testing.TB) keys.AccountPair {
	t.Helper()
	p, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// issuer issues for a fleet of three cohorts; its account is the first key.
func issuer(t testing.TB, change func(*Options)) (*Issuer, Options) {
	t.Helper()
	o := Options{
		Account: newKey(t).PublicKey(), Now: time.Unix(1_800_000_000, 0),
		Fleet:   fleet.Fleet{Name: "sensors", Cohorts: 3, TTL: time.Hour, Confine: fleet.ByID},
		Signers: []claims.Signer{newKey(t), newKey(t), newKey(t)},
	}
	if change != nil {
		change(&o)
	}
	is, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return is, o
}

// issue runs over the devices of src and returns copies of all credentials.
func issue(t testing.TB, is *Issuer, src Source, workers int) []Credential {
	t.Helper()
	var out []Credential
	run := Run{Issuer: is, Source: src, Workers: workers, Write: func(batch []Credential, _ []byte) error {
		for _, c := range batch {
			c.Public, c.Seed, c.JWT = slices.Clone(c.Public), slices.Clone(c.Seed), slices.Clone(c.JWT)
			out = append(out, c)
		}
		return nil
	}}
	if err := run.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEveryByte: a JWT is byte for byte what package claims signs, the library
// takes it, the seed is that of its key, and the lifetime is within bounds.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	is, o := issuer(t, func(o *Options) { o.Tags = []string{"site:7", "a<b"} })
	for i, c := range issue(t, is, &Counted{Prefix: "sensor-", Next: 1, After: 1001}, 3) {
		if want := fmt.Sprintf("sensor-%d", i+1); c.ID != want {
			t.Fatalf("device %d is %s", i, c.ID)
		}
		signer := o.Signers[o.Fleet.Cohort(c.ID)]
		uc := jwt.NewUserClaims(string(c.Public))
		uc.Name, uc.Expires, uc.IssuerAccount, uc.Tags = c.ID, c.Expires, o.Account, o.Tags
		uc.SetScoped(true)
		draft, err := claims.New(uc)
		if err != nil {
			t.Fatal(err)
		}
		want, err := draft.Sign(signer, o.Now.Unix())
		if err != nil {
			t.Fatal(err)
		}
		if want.Token != string(c.JWT) {
			t.Fatalf("got  %s\nwant %s", c.JWT, want.Token)
		}
		checkWithLibrary(t, c, signer.PublicKey(), o)
	}
}

func checkWithLibrary(t *testing.T, c Credential, signer string, o Options) {
	t.Helper()
	uc, err := jwt.DecodeUserClaims(string(c.JWT))
	if err != nil {
		t.Fatal(err)
	}
	vr := jwt.CreateValidationResults()
	uc.Validate(vr)
	if !vr.IsEmpty() || uc.Issuer != signer || uc.IssuerAccount != o.Account || !uc.HasEmptyPermissions() || uc.Name != c.ID {
		t.Fatalf("the library reads %+v, %v", uc, vr.Issues)
	}
	pair, err := keys.UserFromSeed(c.Seed)
	if err != nil || pair.PublicKey() != uc.Subject {
		t.Fatalf("seed of %s: %v", c.ID, err)
	}
	if life := c.Expires - o.Now.Unix(); life > 3600 || life < 3060 {
		t.Fatalf("lives %d s", life)
	}
	want, err := jwt.FormatUserConfig(string(c.JWT), c.Seed)
	if got := AppendCreds(nil, &c); err != nil || string(want) != string(got) {
		t.Fatalf("credentials\n%s\nwant\n%s, %v", got, want, err)
	}
	if token, ok := CredsJWT(want); !ok || string(token) != string(c.JWT) {
		t.Fatalf("reads %s", token)
	}
	if c.Leaf != tlog.RecordHash(c.JWT) {
		t.Fatal("leaf")
	}
	read, ok := ReadJWT(c.JWT)
	is := Issued{Account: uc.IssuerAccount, Issuer: uc.Issuer, Subject: uc.Subject, Name: uc.Name, IssuedAt: uc.IssuedAt, Expires: uc.Expires, Tags: uc.Tags}
	if !ok || !reflect.DeepEqual(read, is) {
		t.Fatalf("reads %+v, %v; the library %+v", read, ok, is)
	}
}

// FuzzReadJWT: what is read of a payload of this form is what JSON says.
func FuzzReadJWT(f *testing.F) {
	f.Add(`{"exp":2,"iat":1,"iss":"A","jti":"J","name":"d","nats":{"issuer_account":"B","pub":{},"sub":{},"type":"user","version":2},"sub":"U"}`)
	f.Add(`{"exp":2,"iat":1,"iss":"A","jti":"J","name":"d","nats":{"issuer_account":"B","pub":{},"sub":{},"tags":["x","<"],"type":"user","version":2},"sub":"U"}`)
	f.Fuzz(func(t *testing.T, payload string) {
		token := header + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".x"
		is, ok := ReadJWT([]byte(token))
		var want struct {
			Exp, Iat       int64
			Iss, Name, Sub string
			NATS           struct {
				Account string `json:"issuer_account"`
				Tags    []string
			} `json:"nats"`
		}
		if !ok || json.Unmarshal([]byte(payload), &want) != nil {
			return
		}
		if is.Expires != want.Exp || is.IssuedAt != want.Iat || is.Issuer != want.Iss || is.Name != want.Name || is.Subject != want.Sub ||
			is.Account != want.NATS.Account || !slices.Equal(is.Tags, want.NATS.Tags) {
			t.Fatalf("%s: %+v", payload, is)
		}
	})
}

// TestNoKeyTwice: keys differ, and lifetimes are spread.
func TestNoKeyTwice(t *testing.T) {
	t.Parallel()
	is, _ := issuer(t, nil)
	seen, lives := map[string]bool{}, map[int64]bool{}
	for _, c := range issue(t, is, &Counted{Next: 0, After: 5000}, 2) {
		if seen[string(c.Public)] {
			t.Fatal("a key came twice")
		}
		seen[string(c.Public)], lives[c.Expires] = true, true
	}
	if len(lives) < 400 {
		t.Errorf("%d lifetimes of 540", len(lives))
	}
}

func TestKeysOfTheirOwn(t *testing.T) {
	t.Parallel()
	is, o := issuer(t, func(o *Options) { o.Signers = o.Signers[:1] })
	a, err := keys.NewUser()
	b, err2 := keys.NewUser()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	list := "# ours\n\nfirst, " + a.PublicKey() + "\r\n" + b.PublicKey()
	got := issue(t, is, NewList(strings.NewReader(list), true), 1)
	if len(got) != 2 || got[0].ID != "first" || got[1].ID != b.PublicKey() || string(got[0].Public) != a.PublicKey() || len(got[0].Seed) != 0 {
		t.Fatalf("%+v", got)
	}
	doc, err := claims.Decode(string(got[1].JWT))
	if err != nil || doc.Issuer != o.Signers[0].PublicKey() || doc.Subject != b.PublicKey() {
		t.Fatalf("%+v, %v", doc, err)
	}
	line := AppendLine(nil, &got[0])
	if strings.Contains(string(line), "seed") {
		t.Fatalf("%s", line)
	}
	if back, ok := ParseLine(line); !ok || back.ID != "first" || len(back.Seed) != 0 {
		t.Fatalf("%+v", back)
	}
	if token, ok := CredsJWT(AppendCreds(nil, &got[0])); !ok || string(token) != string(got[0].JWT) {
		t.Fatalf("reads %s", token)
	}
}

func TestListsAreCheckedBeforehand(t *testing.T) {
	t.Parallel()
	user, err := keys.NewUser()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"a\nb\n# x\n\n c \n":            "",
		"a\nb\na":                       `the id "a" is listed twice`,
		"a b":                           "line 1: 2 words",
		"a\n*":                          "line 2:",
		"a.b":                           "is no id",
		strings.Repeat("a", 2000):       "longer than",
		"x\n" + user.PublicKey():        "is a public key",
		"ok\n" + string(user.Seed()):    "a seed is not the id",
		strings.Repeat("a", 129) + "\n": "1 to 128 characters",
	} {
		open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
		found, err := Check(open, false, nil)
		if want == "" && (err != nil || found.Count != 3) || want != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.40q: %+v, %v", text, found, err)
		}
		if err != nil && strings.Contains(err.Error(), string(user.Seed())) {
			t.Error("the error shows a seed")
		}
	}
}

// TestTreeIsTheLogs: the root is the one that a transparency log computes.
func TestTreeIsTheLogs(t *testing.T) {
	t.Parallel()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, n := range at {
			out[i] = stored[n]
		}
		return out, nil
	})
	var tree Tree
	for n := int64(0); n < 300; n++ {
		data := []byte(fmt.Sprint(n))
		hashes, err := tlog.StoredHashes(n, data, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		tree.Add(tlog.RecordHash(data))
		want, err := tlog.TreeHash(n+1, reader)
		if err != nil || tree.Root() != want || tree.Size() != n+1 {
			t.Fatalf("root of %d leaves: %s, want %s, %v", n+1, tree.Root(), want, err)
		}
	}
}

// TestErrorsEndTheRun: whoever fails, the run ends with that error, and what
// was written is a beginning of the whole.
func TestErrorsEndTheRun(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	is, _ := issuer(t, nil)
	for name, change := range map[string]func(*Run){
		"source": func(r *Run) { r.Source = failing{after: 3000, Source: r.Source, err: boom} },
		"known":  func(r *Run) { r.Known = func(d Device, _ *Credential) (bool, error) { return false, at(d.ID, boom) } },
		"each":   func(r *Run) { r.Each = func(c *Credential) error { return at(c.ID, boom) } },
		"write": func(r *Run) {
			write := r.Write
			r.Write = func(batch []Credential, text []byte) error {
				return errors.Join(write(batch, text), at(batch[len(batch)-1].ID, boom))
			}
		},
	} {
		var ids []string
		r := Run{Issuer: is, Source: &Counted{Next: 0, After: 10000}, Workers: 2, Write: func(batch []Credential, _ []byte) error {
			for _, c := range batch {
				ids = append(ids, c.ID)
			}
			return nil
		}}
		change(&r)
		if err := r.Do(context.Background()); !errors.Is(err, boom) {
			t.Errorf("%s: %v", name, err)
		}
		for i, id := range ids {
			if id != fmt.Sprint(i) {
				t.Fatalf("%s: device %d is %s", name, i, id)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := Run{Issuer: is, Source: &Counted{Next: 0, After: 1 << 40}, Workers: 2, Write: func([]Credential, []byte) error { return nil }}
	if err := r.Do(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func at(id string, err error) error {
	if id >= "3000" && len(id) >= 4 {
		return err
	}
	return nil
}

type failing struct {
	Source
	after int
	err   error
}

func (f failing) Read(dst []Device) (int, error) {
	if f.Source.(*Counted).Next >= f.after {
		return 0, f.err
	}
	return f.Source.Read(dst)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, o := issuer(t, nil)
	for _, ttl := range []time.Duration{time.Second, 2 * time.Hour, -1} {
		o.TTL = ttl
		if _, err := New(o); fault.RuleOf(err) != "ttl" {
			t.Errorf("%s: %v", ttl, err)
		}
	}
	o.TTL, o.Signers = 0, o.Signers[:2]
	if _, err := New(o); err == nil {
		t.Error("two signers for three cohorts")
	}
}

// TestSkip: a source goes on where it was.
func TestSkip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		total := rapid.IntRange(1, 700).Draw(rt, "total")
		n := rapid.IntRange(0, total).Draw(rt, "n")
		var list strings.Builder
		for i := range total {
			fmt.Fprintln(&list, i)
		}
		for _, src := range []Source{&Counted{Next: 0, After: total}, NewList(strings.NewReader(list.String()), false)} {
			if err := Skip(src, n); err != nil {
				rt.Fatal(err)
			}
			buf := make([]Device, 1)
			got, err := src.Read(buf)
			if n == total && (got != 0 || !errors.Is(err, io.EOF)) || n < total && buf[0].ID != fmt.Sprint(n) {
				rt.Fatalf("after %d of %d: %d, %+v, %v", n, total, got, buf, err)
			}
		}
	})
	if err := Skip(NewList(strings.NewReader("a\n"), false), 2); err == nil {
		t.Error("skipped past the end")
	}
}

// FuzzParseLine: what is read is what was written, or nothing.
func FuzzParseLine(f *testing.F) {
	is, _ := issuer(f, nil)
	for _, c := range issue(f, is, &Counted{Next: 0, After: 2}, 1) {
		line := AppendLine(nil, &c)
		f.Add(line)
		f.Add(line[:len(line)-1])
		f.Add([]byte(strings.Replace(string(line), "0", "*", 1)))
	}
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		c, ok := ParseLine(line)
		if ok && string(AppendLine(nil, &c)) != string(line) {
			t.Fatalf("%q was read as %+v", line, c)
		}
	})
}

// FuzzParseDevice: an id that is taken is one, and so is a key.
func FuzzParseDevice(f *testing.F) {
	f.Add([]byte("line4-1"), false)
	f.Add([]byte("line4-1,UB3NCZXWP7DUZZQ"), true)
	f.Fuzz(func(t *testing.T, text []byte, keyed bool) {
		d, err := parseDevice(text, keyed)
		if err == nil && (fleet.CheckID(d.ID) != nil || keyed != nkeys.IsValidPublicUserKey(d.Key)) {
			t.Errorf("%q is %+v", text, d)
		}
	})
}
