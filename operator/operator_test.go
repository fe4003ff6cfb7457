package operator

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

func TestTrust(t *testing.T) {
	t.Parallel()
	root, _ := keys.NewOperator()
	sk, _ := keys.NewOperator()
	other, _ := keys.NewOperator()
	for _, strict := range []bool{false, true} {
		oc := jwt.NewOperatorClaims(root.PublicKey())
		oc.SigningKeys.Add(sk.PublicKey())
		oc.StrictSigningKeyUsage = strict
		draft, err := claims.New(oc)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := draft.Sign(root, 1)
		if err != nil {
			t.Fatal(err)
		}
		trust, err := TrustOf(doc)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]bool{root.PublicKey(): !strict, sk.PublicKey(): true, other.PublicKey(): false} {
			ac := jwt.NewAccountClaims("ACCOUNT")
			ac.Issuer = key
			if trust.Signs(key) != want || oc.DidSign(ac) != want {
				t.Errorf("strict %v: Signs is %v, the library says %v", strict, trust.Signs(key), oc.DidSign(ac))
			}
			if err := trust.CheckIssuer(key); (err == nil) != want || err != nil && !fault.Is(err, fault.Untrusted) {
				t.Errorf("strict %v: %v", strict, err)
			}
		}
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	other, _ := NewIdentity()
	secret := []byte("SOABC secret")
	sealed, err := Seal(secret, id+"\n")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, secret) {
		t.Fatal("the secret shows")
	}
	plain, err := Open(sealed, id)
	if err != nil || !bytes.Equal(plain, secret) {
		t.Fatalf("%q %v", plain, err)
	}
	if _, err := Open(sealed, other); !fault.Is(err, fault.Invalid) {
		t.Errorf("other identity: %v", err)
	}
	for at := range sealed {
		bad := bytes.Clone(sealed)
		bad[at] ^= 1
		if p, err := Open(bad, id); err == nil && !bytes.Equal(p, secret) {
			t.Fatalf("a change at %d opens to something else", at)
		}
	}
	if _, err := Open(sealed[:len(sealed)-1], id); !fault.Is(err, fault.Invalid) {
		t.Errorf("truncated: %v", err)
	}
	if _, err := Seal(secret, "AGE-SECRET-KEY-1NONSENSE"); err == nil || strings.Contains(err.Error(), "NONSENSE") {
		t.Errorf("bad identity: %v", err)
	}
}

func TestSealToRecipients(t *testing.T) {
	t.Parallel()
	one, _ := NewIdentity()
	two, _ := NewIdentity()
	list, err := ParseIdentities("# a comment\n\n" + one + "\r\n" + two)
	if err != nil || !slices.Equal(list, []string{one, two}) {
		t.Fatalf("identities %v %v", len(list), err)
	}
	for _, text := range []string{"", "# none\n", "age1notsecret", one + "x"} {
		if _, err := ParseIdentities(text); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), one) {
			t.Errorf("identities of %q: %v", text, err)
		}
	}
	to, err := Recipient(two)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := SealTo([]byte("x"), to)
	if err != nil || !IsSealed(sealed) || IsSealed([]byte("SOABC")) {
		t.Fatalf("sealed %q %v", sealed, err)
	}
	if plain, err := Open(sealed, list...); string(plain) != "x" {
		t.Errorf("opened %q %v", plain, err)
	}
	if _, err := Open(sealed); !fault.Is(err, fault.Invalid) {
		t.Errorf("without an identity: %v", err)
	}
	if _, err := SealTo(nil, one); !fault.Is(err, fault.Invalid) {
		t.Errorf("sealed to a secret: %v", err)
	}
	if _, err := SealWithPassphrase(nil, nil, 0); !fault.Is(err, fault.Invalid) {
		t.Errorf("an empty passphrase: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	id, err := NewIdentity()
	if err != nil {
		f.Fatal(err)
	}
	sealed, _ := Seal([]byte("x"), id)
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := Open(data, id); err == nil && string(p) != "x" {
			t.Fatalf("opened %q", p)
		}
	})
}

// FuzzParseIdentities: what is taken for identities is in the text, and seals.
func FuzzParseIdentities(f *testing.F) {
	id, err := NewIdentity()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("# made today\n" + id + "\n\n" + id)
	f.Add("AGE-SECRET-KEY-1")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseIdentities(text)
		if err == nil && len(list) == 0 {
			t.Fatal("no identity, and no error")
		}
		for _, id := range list {
			if !strings.Contains(text, id) {
				t.Fatal("an identity that is not in the text")
			}
			if _, err := Seal([]byte("x"), id); err != nil {
				t.Fatal(err)
			}
		}
	})
}
