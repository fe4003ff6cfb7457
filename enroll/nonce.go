package enroll

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/accountd/accountd/fault"
)

// nonceLife is how long a device has to sign a nonce.
const nonceLife = time.Minute

// noncer makes nonces that need no memory: each carries when it was made and,
// authenticated by a secret, for which key. Every process with the identity
// makes and takes the same.
type noncer struct{ secret, next []byte }

const (
	nonceHead = 8 + 8 // time and randomness
	nonceSize = nonceHead + 16
)

func newNoncer(identity string) (noncer, error) {
	secret, err := hkdf.Key(sha256.New, []byte(identity), nil, "accountd enroll nonce", 32)
	next, err2 := hkdf.Key(sha256.New, []byte(identity), nil, "accountd enroll next nonce", 32)
	if err := errors.Join(err, err2); err != nil {
		return noncer{}, fault.New(fault.Internal, "derive a secret: %w", err)
	}
	return noncer{secret, next}, nil
}

func (n noncer) make(key string, now time.Time) (string, error) {
	raw := binary.BigEndian.AppendUint64(make([]byte, 0, nonceSize), uint64(now.Unix()))
	raw = raw[:nonceHead]
	if _, err := rand.Read(raw[8:]); err != nil {
		return "", fault.New(fault.Internal, "read randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(n.mac(raw, key)), nil
}

// mac appends to head what authenticates it.
func (n noncer) mac(head []byte, key string) []byte {
	m := hmac.New(sha256.New, n.secret)
	m.Write(head)
	m.Write([]byte(key))
	return append(head, m.Sum(nil)[:nonceSize-nonceHead]...)
}

// check refuses what this service has not made for that key within nonceLife.
func (n noncer) check(nonce, key string, now time.Time) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(raw) != nonceSize || !hmac.Equal(raw, n.mac(raw[:nonceHead:nonceHead], key)) {
		return fault.New(fault.Denied, "the nonce is not one of this accountd for that key").ByRule("nonce")
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(raw)), 0)
	if age := now.Sub(made); age > nonceLife || age < -nonceLife {
		return fault.New(fault.Expired, "the nonce was to be signed within %s", nonceLife).ByRule("nonce").WithHint("ask for another one")
	}
	return nil
}

// after returns the nonce that comes with a JWT that is issued to key, for its
// renewal. Who shows it shows a JWT that this accountd has signed.
func (n noncer) after(token, key string) string {
	m := hmac.New(sha256.New, n.next)
	m.Write([]byte(key))
	m.Write([]byte(token))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:nextSize])
}

const nextSize = 24 // bytes, unlike those of other nonces

// follows reports whether a nonce came with that JWT to that key.
func (n noncer) follows(nonce, token, key string) bool {
	return len(nonce) == nextSize*4/3 && hmac.Equal([]byte(nonce), []byte(n.after(token, key)))
}
