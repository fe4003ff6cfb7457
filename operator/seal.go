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

// sealedPrefix begins everything that age encrypts.
const sealedPrefix = "age-encryption.org/v1\n"

// IsSealed reports whether data is what Seal and its like make.
func IsSealed(data []byte) bool { return bytes.HasPrefix(data, []byte(sealedPrefix)) }

// Recipient returns the public side of an identity: who has it can seal, and
// only the identity opens.
func Recipient(identity string) (string, error) {
	id, err := parseIdentity(identity)
	if err != nil {
		return "", err
	}
	return id.Recipient().String(), nil
}

// ParseIdentities reads the text of an identity file: one a line, with empty
// lines and comments, as age-keygen writes it. It is fault.Invalid without any.
func ParseIdentities(text string) ([]string, error) {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := parseIdentity(line); err != nil {
			return nil, err
		}
		list = append(list, line)
	}
	if len(list) == 0 {
		return nil, fault.New(fault.Invalid, "there is no age identity (AGE-SECRET-KEY-1…)").ByRule("identity")
	}
	return list, nil
}

// Seal encrypts plain so that only the holder of identity can open it.
func Seal(plain []byte, identity string) ([]byte, error) {
	recipient, err := Recipient(identity)
	if err != nil {
		return nil, err
	}
	return SealTo(plain, recipient)
}

// SealTo encrypts plain so that only the identity of recipient can open it.
func SealTo(plain []byte, recipient string) ([]byte, error) {
	return seal(plain, func(out io.Writer) (io.WriteCloser, error) { return SealWriter(out, recipient) })
}

// SealWithPassphrase encrypts plain so that only who knows passphrase can open
// it. Sealing and opening take 2^work rounds of scrypt, so that guessing is
// expensive; 0 is the work that age thinks right, about a second.
func SealWithPassphrase(plain, passphrase []byte, work int) ([]byte, error) {
	return seal(plain, func(out io.Writer) (io.WriteCloser, error) { return PassphraseWriter(out, passphrase, work) })
}

func seal(plain []byte, to func(io.Writer) (io.WriteCloser, error)) ([]byte, error) {
	var out bytes.Buffer
	w, err := to(&out)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return out.Bytes(), nil
}

// SealWriter is SealTo for a stream: what is written to it is sealed into out
// until it is closed.
func SealWriter(out io.Writer, recipient string) (io.WriteCloser, error) {
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, fault.New(fault.Invalid, "not an age recipient (age1…)").ByRule("identity")
	}
	w, err := age.Encrypt(out, to)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return w, nil
}

// PassphraseWriter is SealWithPassphrase for a stream.
func PassphraseWriter(out io.Writer, passphrase []byte, work int) (io.WriteCloser, error) {
	to, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the passphrase is empty").ByRule("passphrase")
	}
	if work != 0 {
		to.SetWorkFactor(work)
	}
	w, err := age.Encrypt(out, to)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return w, nil
}

// maxSealed bounds what Open reads: seeds and creds are far smaller.
const maxSealed = 1 << 20

// Open decrypts what Seal made, with the one of the identities that fits. It
// fails with fault.Invalid if none does or the data were changed.
func Open(sealed []byte, identities ...string) ([]byte, error) {
	r, err := OpenReader(bytes.NewReader(sealed), identities...)
	if err != nil {
		return nil, err
	}
	return readSealed(r)
}

// OpenWithPassphrase decrypts what SealWithPassphrase made.
func OpenWithPassphrase(sealed, passphrase []byte) ([]byte, error) {
	r, err := OpenPassphraseReader(bytes.NewReader(sealed), passphrase)
	if err != nil {
		return nil, err
	}
	return readSealed(r)
}

func readSealed(r io.Reader) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(r, maxSealed))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the sealed data were changed").ByRule("sealed")
	}
	return plain, nil
}

// OpenReader is Open for a stream. What it yields is as it was sealed, up to an
// error: data that were changed end in one.
func OpenReader(sealed io.Reader, identities ...string) (io.Reader, error) {
	ids := make([]age.Identity, 0, len(identities))
	for _, text := range identities {
		id, err := parseIdentity(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	r, err := age.Decrypt(sealed, ids...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the sealed data cannot be opened with this identity").ByRule("sealed")
	}
	return r, nil
}

// OpenPassphraseReader is OpenWithPassphrase for a stream.
func OpenPassphraseReader(sealed io.Reader, passphrase []byte) (io.Reader, error) {
	id, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the passphrase is empty").ByRule("passphrase")
	}
	r, err := age.Decrypt(sealed, id)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the sealed data cannot be opened with this passphrase").ByRule("sealed")
	}
	return r, nil
}

func parseIdentity(text string) (*age.X25519Identity, error) {
	id, err := age.ParseX25519Identity(strings.TrimSpace(text))
	if err != nil { // the library's error may quote the secret
		return nil, fault.New(fault.Invalid, "not an age identity (AGE-SECRET-KEY-1…)").ByRule("identity")
	}
	return id, nil
}
