package operator

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/accountd/accountd/fault"
)

// NewIdentity makes an age identity (X25519) and returns its secret text.
func NewIdentity() (string, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", fmt.Errorf("generate identity: %w", err)
	}
	return id.String(), nil
}

// Seal encrypts plain so that only the holder of identity can open it.
func Seal(plain []byte, identity string) ([]byte, error) {
	id, err := parseIdentity(identity)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, id.Recipient())
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return out.Bytes(), nil
}

// maxSealed bounds what Open reads: seeds and creds are far smaller.
const maxSealed = 1 << 20

// Open decrypts what Seal made. It fails with fault.Invalid if identity is not
// the right one or the data were changed.
func Open(sealed []byte, identity string) ([]byte, error) {
	id, err := parseIdentity(identity)
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the sealed data cannot be opened with this identity")
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxSealed))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the sealed data were changed")
	}
	return plain, nil
}

func parseIdentity(text string) (*age.X25519Identity, error) {
	id, err := age.ParseX25519Identity(strings.TrimSpace(text))
	if err != nil { // the library's error may quote the secret
		return nil, fault.New(fault.Invalid, "not an age identity (AGE-SECRET-KEY-1…)")
	}
	return id, nil
}
