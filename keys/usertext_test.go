package keys

import (
	"testing"

	"github.com/nats-io/nkeys"
	"pgregory.net/rapid"
)

// TestUserTextAgreesWithNkeys: the text of a key is the one that the library
// makes of the same seed.
func TestUserTextAgreesWithNkeys(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "raw"))
		var text UserText
		text.Make(&raw)
		want, err := nkeys.EncodeSeed(nkeys.PrefixByteUser, raw[:])
		if err != nil || string(want) != string(text.Seed[:]) {
			t.Fatalf("seed %s, want %s, %v", text.Seed, want, err)
		}
		kp, err := nkeys.FromSeed(want)
		if err != nil {
			t.Fatal(err)
		}
		if pub, err := kp.PublicKey(); err != nil || pub != string(text.Public[:]) {
			t.Fatalf("public key %s, want %s, %v", text.Public, pub, err)
		}
		text.Wipe()
		if text.Seed != [seedSize]byte{} {
			t.Fatal("not wiped")
		}
	})
}
