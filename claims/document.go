// Package claims treats signed claims as documents: a token is decoded with
// hard limits, edited through the typed views of the jwt library without
// losing fields that neither the library nor we know, and signed anew with a
// chosen issue time.
package claims

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// Limits on a token. Servers refuse JWTs above MaxToken (jwt.MaxTokenSize).
const (
	MaxToken = 1 << 20
	maxDepth = 32
)

// Types of claims, as in the field nats.type.
const (
	TypeOperator   = "operator"
	TypeAccount    = "account"
	TypeUser       = "user"
	TypeActivation = "activation"
)

const (
	headerAlg = "ed25519-nkey"
	header    = `{"typ":"JWT","alg":"` + headerAlg + `"}`
	version   = 2
)

// headerPart is the header as it stands in tokens.
var headerPart = base64.RawURLEncoding.EncodeToString([]byte(header))

// Document is one decoded token whose signature matches its issuer. Whether the
// issuer is trusted is another question. It is immutable.
type Document struct {
	Token string

	ID       string // jti
	Issuer   string // public key that signed it
	Subject  string
	Name     string
	Audience string
	Type     string // nats.type
	IssuedAt int64  // Unix seconds
	Expires  int64  // Unix seconds, 0 for never
	Starts   int64  // nbf, Unix seconds, 0 for always

	body map[string]any
}

// Decode reads a token and checks its form, its limits and its signature.
func Decode(token string) (*Document, error) {
	if len(token) > MaxToken {
		return nil, malformed("token has %d bytes, %d are allowed", len(token), MaxToken)
	}
	if strings.ContainsAny(token, "\r\n") { // base64 decoders skip them
		return nil, malformed("the token has line breaks")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, malformed("expected 3 parts separated by dots, found %d", len(parts))
	}
	if err := checkHeader(parts[0]); err != nil {
		return nil, err
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return nil, malformed("the payload is not base64url")
	}
	body, err := parseObject(payload)
	if err != nil {
		return nil, err
	}
	d := &Document{Token: token, body: body}
	if err := d.readFields(); err != nil {
		return nil, err
	}
	sig, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return nil, malformed("the signature is not base64url")
	}
	if err := keys.Verify(d.Issuer, []byte(token[:len(parts[0])+1+len(parts[1])]), sig); err != nil {
		return nil, fault.New(fault.Untrusted, "the token is not signed by its issuer %s", keys.Short(d.Issuer)).ByRule("signature")
	}
	return d, nil
}

// Peek reads the payload of a token into a value, without any check of its own:
// for tokens that others have checked.
func Peek(token string, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return malformed("expected 3 parts separated by dots, found %d", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return malformed("the payload is not base64url")
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return malformed("the payload does not have the expected form: %v", err)
	}
	return nil
}

// Digest returns the SHA-256 of a token in hex.
func Digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func checkHeader(part string) error {
	if part == headerPart {
		return nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return malformed("the header is not base64url")
	}
	var h struct {
		Typ string `json:"typ"`
		Alg string `json:"alg"`
	}
	if err := json.Unmarshal(raw, &h); err != nil {
		return malformed("the header is not JSON")
	}
	if h.Alg == "ed25519" {
		return versionOne()
	}
	if !strings.EqualFold(h.Typ, "jwt") || h.Alg != headerAlg {
		return malformed("the header names type %q and algorithm %q, expected JWT and %s", h.Typ, h.Alg, headerAlg)
	}
	return nil
}

// readFields fills the fields of d from its body and checks their types.
func (d *Document) readFields() error {
	for name, to := range map[string]*string{
		"jti": &d.ID, "iss": &d.Issuer, "sub": &d.Subject, "name": &d.Name, "aud": &d.Audience,
	} {
		if err := readString(d.body, name, to); err != nil {
			return err
		}
	}
	for name, to := range map[string]*int64{"iat": &d.IssuedAt, "exp": &d.Expires, "nbf": &d.Starts} {
		if err := readInt(d.body, name, to); err != nil {
			return err
		}
	}
	if _, old := d.body["type"]; old {
		return versionOne()
	}
	nats, ok := d.body["nats"].(map[string]any)
	if !ok {
		return malformed("the field nats is missing or not an object")
	}
	if err := readString(nats, "type", &d.Type); err != nil {
		return err
	}
	var v int64
	if err := readInt(nats, "version", &v); err != nil {
		return err
	}
	if v != version {
		return malformed("unexpected version %d, expected %d", v, version)
	}
	if d.Subject == "" || d.Issuer == "" {
		return malformed("the token has no subject or no issuer")
	}
	return nil
}

func readString(m map[string]any, name string, to *string) error {
	switch v := m[name].(type) {
	case nil:
		return nil
	case string:
		*to = v
		return nil
	}
	return malformed("the field %s is not a string", name)
}

func readInt(m map[string]any, name string, to *int64) error {
	switch v := m[name].(type) {
	case nil:
		return nil
	case json.Number:
		n, err := v.Int64()
		if err != nil || n < 0 {
			return malformed("the field %s is not a whole number of seconds", name)
		}
		*to = n
		return nil
	}
	return malformed("the field %s is not a number", name)
}

// versionOne refuses a token as tools made them before 2021.
func versionOne() *fault.Error {
	return malformed("the token is of version 1, and version 2 is needed").ByRule("version-1").
		WithHint("upgrade the store with the official tool: nsc upgrade-jwt")
}

func malformed(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, format, args...).ByRule("malformed")
}
