package keys

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"
	"pgregory.net/rapid"
)

func TestPairAgreesWithNkeys(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		msg := rapid.SliceOf(rapid.Byte()).Draw(t, "msg")
		p, err := NewAccount()
		if err != nil {
			t.Fatal(err)
		}
		ref, err := nkeys.FromSeed(p.Seed())
		if err != nil {
			t.Fatal(err)
		}
		if pub, _ := ref.PublicKey(); pub != p.PublicKey() {
			t.Fatalf("public key %s, nkeys says %s", p.PublicKey(), pub)
		}
		sig, err := p.Sign(msg)
		if err != nil {
			t.Fatal(err)
		}
		if err := ref.Verify(msg, sig); err != nil {
			t.Fatalf("nkeys refuses our signature: %v", err)
		}
		if err := Verify(p.PublicKey(), msg, sig); err != nil {
			t.Fatal(err)
		}
		sig[0] ^= 1
		if err := Verify(p.PublicKey(), msg, sig); err == nil {
			t.Fatal("a changed signature verifies")
		}
	})
}

func TestSeedsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	p, err := NewUser()
	if err != nil {
		t.Fatal(err)
	}
	seed := string(p.Seed())
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "key", p)
	j, jerr := json.Marshal(map[string]any{"k": p})
	for name, out := range map[string]string{
		"v": fmt.Sprintf("%v", p), "+v": fmt.Sprintf("%+v", p), "#v": fmt.Sprintf("%#v", p),
		"s": fmt.Sprintf("%s", p), "x": fmt.Sprintf("%x", p), "log": logged.String(), "json": string(j),
		"err": fmt.Sprint(jerr),
	} {
		if strings.Contains(out, seed) || strings.Contains(out, fmt.Sprintf("%x", seed)) {
			t.Errorf("%s shows the seed", name)
		}
	}
	if jerr == nil {
		t.Error("a private key became JSON")
	}
	if _, err := AccountFromSeed([]byte(seed)); err == nil || strings.Contains(err.Error(), seed) {
		t.Errorf("wrong role: %v", err)
	}
	if _, err := ParseUser(seed); err == nil || strings.Contains(err.Error(), seed) {
		t.Errorf("seed for a public key: %v", err)
	}
}

func TestWipedKeySignsNothing(t *testing.T) {
	t.Parallel()
	p, err := NewOperator()
	if err != nil {
		t.Fatal(err)
	}
	p.Wipe()
	if _, err := p.Sign([]byte("x")); err == nil {
		t.Fatal("a wiped key signs")
	}
	var zero OperatorPair
	if _, err := zero.Sign([]byte("x")); err == nil {
		t.Fatal("a zero key signs")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("UA")
	f.Add(strings.Repeat("2", 58)) // decodes to more bytes than a key has
	if p, err := NewUser(); err == nil {
		f.Add(p.PublicKey())
		f.Add(p.PublicKey() + "\n") // decoders skip line breaks
		f.Add("\n" + p.PublicKey())
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseUser(s); err == nil && (!nkeys.IsValidPublicUserKey(string(k)) || strings.ContainsAny(s, "\r\n")) {
			t.Fatalf("accepted %q", s)
		}
		_ = Verify(s, []byte("m"), make([]byte, 64))
		_ = Short(s)
	})
}
