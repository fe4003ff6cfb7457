package nscstore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// FormatCreds makes the content of a credentials file, in the official form,
// of a user's JWT and seed. It is fault.Invalid if they do not belong together.
// The caller wipes the result.
func FormatCreds(token string, seed []byte) ([]byte, error) {
	data, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		return nil, fault.New(fault.Invalid, "format credentials: %w", err).ByRule("creds-malformed")
	}
	return data, nil
}

// ParseCreds takes the JWT and the seed of a user out of a credentials file,
// with lines ending in LF or CRLF. It is fault.Invalid, and shows nothing of
// the content, when either is missing or they do not belong together. The
// caller wipes the seed.
func ParseCreds(data []byte) (token string, seed []byte, err error) {
	token, seed, err = splitCreds(data)
	if err == nil {
		err = matchCreds(token, seed)
	}
	if err != nil {
		Wipe(seed)
		return "", nil, fault.New(fault.Invalid, "credentials: %w", err).ByRule("creds-malformed")
	}
	return token, seed, nil
}

// splitCreds finds the two armoured blocks.
func splitCreds(data []byte) (token string, seed []byte, err error) {
	if len(data) > maxFile {
		return "", nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	raw, err := armoured(data, "NATS USER JWT")
	if err != nil {
		return "", nil, err
	}
	secret, err := armoured(data, "USER NKEY SEED")
	return string(raw), bytes.Clone(secret), err
}

// armoured returns the one line between the BEGIN and END lines of a block.
func armoured(data []byte, kind string) ([]byte, error) {
	var body []byte
	inside := false
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		switch {
		case isMarker(line, "BEGIN "+kind):
			inside = true
		case inside && isMarker(line, "END "+kind):
			if body == nil {
				return nil, fmt.Errorf("the block %s is empty", kind)
			}
			return body, nil
		case inside && len(line) > 0 && body != nil:
			return nil, fmt.Errorf("the block %s has more than one line", kind)
		case inside && len(line) > 0:
			body = line
		}
	}
	return nil, fmt.Errorf("no block %s", kind)
}

// isMarker reports whether line is text between at least three dashes.
func isMarker(line []byte, text string) bool {
	return bytes.HasPrefix(line, []byte("---")) && bytes.HasSuffix(line, []byte("---")) &&
		string(bytes.Trim(line, "-")) == text
}

// matchCreds checks that the JWT is a user's and the seed is of its key.
func matchCreds(token string, seed []byte) error {
	id, _, err := checkToken("user", token)
	if err != nil {
		return fmt.Errorf("JWT: %w", err)
	}
	pub, err := publicKey(seed)
	if err != nil {
		return err
	}
	if pub != id.Subject {
		return errors.New("the seed is not of the key of the JWT")
	}
	return nil
}

// publicKey returns the public key of a seed, curve seeds included.
func publicKey(seed []byte) (string, error) {
	kp, err := nkeys.FromSeed(seed)
	if bytes.HasPrefix(seed, []byte("SX")) {
		kp, err = nkeys.FromCurveSeed(seed)
	}
	if err != nil {
		return "", errors.New("not a seed") // whatever it is stays out of the error
	}
	defer kp.Wipe()
	pub, err := kp.PublicKey()
	if err != nil {
		return "", errors.New("not a seed")
	}
	return pub, nil
}

// PublicKey returns the public key of a seed, curve seeds included;
// fault.Invalid, which shows nothing of the text, if it is none.
func PublicKey(seed []byte) (string, error) {
	pub, _, err := placeSeed(seed)
	return pub, err
}

// Wipe overwrites a secret that is no longer needed.
func Wipe(secret []byte) { clear(secret) }
