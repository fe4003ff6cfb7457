package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// pair is a private key with its expanded form, so that signing does not
// derive the key again as nkeys does (32 µs a signature).
type pair struct {
	public string
	seed   []byte
	key    ed25519.PrivateKey
}

// The private sides by role. A zero value signs nothing.
type (
	OperatorPair struct{ *pair }
	AccountPair  struct{ *pair }
	UserPair     struct{ *pair }
	ServerPair   struct{ *pair }
)

// Key returns the public side.
func (p OperatorPair) Key() Operator { return Operator(p.public) }

// Key returns the public side.
func (p AccountPair) Key() Account { return Account(p.public) }

// Key returns the public side.
func (p UserPair) Key() User { return User(p.public) }

// Key returns the public side.
func (p ServerPair) Key() Server { return Server(p.public) }

// NewOperator makes an operator key.
func NewOperator() (OperatorPair, error) {
	p, err := generate(nkeys.PrefixByteOperator)
	return OperatorPair{p}, err
}

// NewAccount makes an account key.
func NewAccount() (AccountPair, error) {
	p, err := generate(nkeys.PrefixByteAccount)
	return AccountPair{p}, err
}

// NewUser makes a user key.
func NewUser() (UserPair, error) {
	p, err := generate(nkeys.PrefixByteUser)
	return UserPair{p}, err
}

// NewServer makes a server key.
func NewServer() (ServerPair, error) {
	p, err := generate(nkeys.PrefixByteServer)
	return ServerPair{p}, err
}

// OperatorFromSeed reads an operator's seed (SO…). It keeps a copy of it.
func OperatorFromSeed(seed []byte) (OperatorPair, error) {
	p, err := fromSeed(seed, nkeys.PrefixByteOperator, "operator")
	return OperatorPair{p}, err
}

// AccountFromSeed reads an account's seed (SA…). It keeps a copy of it.
func AccountFromSeed(seed []byte) (AccountPair, error) {
	p, err := fromSeed(seed, nkeys.PrefixByteAccount, "account")
	return AccountPair{p}, err
}

// UserFromSeed reads a user's seed (SU…). It keeps a copy of it.
func UserFromSeed(seed []byte) (UserPair, error) {
	p, err := fromSeed(seed, nkeys.PrefixByteUser, "user")
	return UserPair{p}, err
}

// ServerFromSeed reads a server's seed (SN…). It keeps a copy of it.
func ServerFromSeed(seed []byte) (ServerPair, error) {
	p, err := fromSeed(seed, nkeys.PrefixByteServer, "server")
	return ServerPair{p}, err
}

func generate(prefix nkeys.PrefixByte) (*pair, error) {
	raw := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand.Reader, raw); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	defer wipe(raw)
	seed, err := nkeys.EncodeSeed(prefix, raw)
	if err != nil {
		return nil, fmt.Errorf("encode seed: %w", err)
	}
	return expand(prefix, seed, raw)
}

func fromSeed(seed []byte, want nkeys.PrefixByte, role string) (*pair, error) {
	prefix, raw, err := nkeys.DecodeSeed(seed)
	if err != nil {
		// The library's error may not be wrapped: it must never show the seed.
		return nil, fault.New(fault.Invalid, "not a seed of %s %s", article(role), role)
	}
	defer wipe(raw)
	if prefix != want {
		return nil, fault.New(fault.Invalid, "the seed is that of %s, not of %s %s", prefix, article(role), role)
	}
	return expand(prefix, append([]byte(nil), seed...), raw)
}

func expand(prefix nkeys.PrefixByte, seed, raw []byte) (*pair, error) {
	key := ed25519.NewKeyFromSeed(raw)
	public, err := nkeys.Encode(prefix, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return &pair{public: string(public), seed: seed, key: key}, nil
}

// PublicKey returns the public key as text.
func (p *pair) PublicKey() string { return p.public }

// Sign returns the Ed25519 signature of msg, 64 bytes.
func (p *pair) Sign(msg []byte) ([]byte, error) {
	if p == nil || p.key == nil {
		return nil, fault.New(fault.Internal, "sign: the key was wiped or never set")
	}
	return ed25519.Sign(p.key, msg), nil
}

// Seed returns a copy of the seed. The caller wipes it.
func (p *pair) Seed() []byte { return append([]byte(nil), p.seed...) }

// Wipe overwrites the private key. The pair signs nothing afterwards.
func (p *pair) Wipe() {
	if p == nil {
		return
	}
	wipe(p.seed)
	wipe(p.key)
	p.key = nil
}

// String shows the public side only.
func (p *pair) String() string {
	if p == nil {
		return "no key"
	}
	return "private key of " + p.public
}

// Format shows the public side only, whatever the verb.
func (p *pair) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue shows the public side only.
func (p *pair) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalJSON refuses: private keys are never part of a document.
func (p *pair) MarshalJSON() ([]byte, error) {
	return nil, fault.New(fault.Internal, "a private key cannot be encoded as JSON")
}

// Verify checks sig over msg against a public key of any role.
func Verify(public string, msg, sig []byte) error {
	var raw [size * 5 / 8]byte // role, key, checksum
	if len(public) != size || !nkeys.IsValidPublicKey(public) {
		return fault.New(fault.Invalid, "%q is not a public key", clip(public))
	}
	if n, err := b32.Decode(raw[:], []byte(public)); err != nil || n != len(raw) {
		return fault.New(fault.Invalid, "%q is not a public key", clip(public))
	}
	if !ed25519.Verify(ed25519.PublicKey(raw[1:33]), msg, sig) {
		return fault.New(fault.Untrusted, "the signature does not match key %s", Short(public))
	}
	return nil
}

// Nonce returns 128 random bits as URL-safe text.
func Nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func wipe(b []byte) { clear(b) }
