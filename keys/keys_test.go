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

// FuzzParse: a key is taken for one role alone, and only as servers take it.
func FuzzParse(f *testing.F) {
	f.Add("UA")
	f.Add(strings.Repeat("2", 58)) // decodes to more bytes than a key has
	if p, err := NewUser(); err == nil {
		f.Add(p.PublicKey())
		f.Add(p.PublicKey() + "\n") // decoders skip line breaks
		f.Add("\n" + p.PublicKey())
	}
	f.Fuzz(func(t *testing.T, s string) {
		roles := 0
		for _, r := range []struct {
			parse func(string) error
			valid func(string) bool
		}{
			{func(s string) error { _, err := ParseOperator(s); return err }, nkeys.IsValidPublicOperatorKey},
			{func(s string) error { _, err := ParseAccount(s); return err }, nkeys.IsValidPublicAccountKey},
			{func(s string) error { _, err := ParseUser(s); return err }, nkeys.IsValidPublicUserKey},
			{func(s string) error { _, err := ParseServer(s); return err }, nkeys.IsValidPublicServerKey},
			{func(s string) error { _, err := ParseCurve(s); return err }, nkeys.IsValidPublicCurveKey},
		} {
			if r.parse(s) != nil {
				continue
			}
			roles++
			if !r.valid(s) || strings.ContainsAny(s, "\r\n") {
				t.Fatalf("accepted %q", s)
			}
		}
		if roles > 1 {
			t.Fatalf("%q is of %d roles", s, roles)
		}
		_ = Verify(s, []byte("m"), make([]byte, 64))
		_ = Short(s)
	})
}

// FuzzSeed: a seed is taken for one role alone and as nkeys takes it, and the
// refusal does not show it.
func FuzzSeed(f *testing.F) {
	account, err := NewAccount()
	if err != nil {
		f.Fatal(err)
	}
	curve, err := NewCurve()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(account.Seed())
	f.Add(append(account.Seed(), '\n'))
	f.Add(curve.Seed())
	f.Fuzz(func(t *testing.T, seed []byte) {
		op, err1 := OperatorFromSeed(seed)
		ac, err2 := AccountFromSeed(seed)
		us, err3 := UserFromSeed(seed)
		sv, err4 := ServerFromSeed(seed)
		cv, err5 := CurveFromSeed(seed)
		taken := 0
		for _, r := range []struct {
			p   *pair
			err error
		}{{op.pair, err1}, {ac.pair, err2}, {us.pair, err3}, {sv.pair, err4}, {cv.pair, err5}} {
			p, err := r.p, r.err
			if err != nil {
				if len(seed) > 8 && strings.Contains(err.Error(), string(seed)) {
					t.Errorf("the error shows the seed: %v", err)
				}
				continue
			}
			taken++
			kp, err := nkeys.FromSeed(seed)
			if p == cv.pair {
				kp, err = nkeys.FromCurveSeed(seed)
			}
			if err != nil {
				t.Fatalf("nkeys refuses the seed of %s: %v", p.PublicKey(), err)
			}
			if pub, err := kp.PublicKey(); err != nil || pub != p.PublicKey() {
				t.Errorf("public key %s, nkeys says %s, %v", p.PublicKey(), pub, err)
			}
		}
		if taken > 1 {
			t.Errorf("a seed of %d roles", taken)
		}
	})
}
