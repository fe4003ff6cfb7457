package claims

import (
	"crypto/sha512"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"maps"
	"sort"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/fault"
)

// Signer signs claims. The typed pairs of package keys are signers.
type Signer interface {
	PublicKey() string
	Sign(msg []byte) ([]byte, error)
}

// Typed is a typed view of the claims that the product edits.
type Typed interface {
	jwt.OperatorClaims | jwt.AccountClaims | jwt.UserClaims | jwt.ActivationClaims
}

// Draft is an unsigned document.
type Draft struct{ body map[string]any }

// As returns the typed view of d. Changes to it do not change d.
func As[T Typed](d *Document) (*T, error) {
	v := new(T)
	if want := typeOf(v); want != d.Type {
		return nil, fault.New(fault.Invalid, "the token is of type %q, expected %s", d.Type, want).ByRule("type")
	}
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(d.Token, ".")[1])
	if err != nil {
		return nil, fault.New(fault.Internal, "decode claims: %w", err)
	}
	if ac, ok := any(v).(*jwt.AccountClaims); ok {
		ac.SigningKeys = jwt.SigningKeys{}
	}
	if err := json.Unmarshal(data, v); err != nil {
		return nil, malformed("the claims do not have the form of %s claims: %v", d.Type, err)
	}
	if ac, ok := any(v).(*jwt.AccountClaims); ok && len(ac.Limits.JetStreamTieredLimits) > 0 {
		ac.Limits.JetStreamLimits = jwt.JetStreamLimits{} // as the library decodes it
	}
	return v, nil
}

func typeOf(v any) string {
	switch v.(type) {
	case *jwt.OperatorClaims:
		return TypeOperator
	case *jwt.AccountClaims:
		return TypeAccount
	case *jwt.UserClaims:
		return TypeUser
	}
	return TypeActivation
}

// New makes a draft of claims that were never signed before.
func New[T Typed](v *T) (*Draft, error) {
	body, err := normalTree(v)
	if err != nil {
		return nil, err
	}
	return &Draft{body}, nil
}

// Edit lets f change the typed view of d and returns the changed document as a
// draft. Fields that the view does not know stay as they are.
func Edit[T Typed](d *Document, f func(*T) error) (*Draft, error) {
	v, err := As[T](d)
	if err != nil {
		return nil, err
	}
	before, err := toTree(v)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode claims: %w", err)
	}
	if err := f(v); err != nil {
		return nil, err
	}
	after, err := normalTree(v)
	if err != nil {
		return nil, err
	}
	return &Draft{overlay(d.body, before, after).(map[string]any)}, nil
}

// normalTree returns the JSON of v with its lists in the order in which the
// library writes them.
func normalTree[T Typed](v *T) (map[string]any, error) {
	switch c := any(v).(type) {
	case *jwt.OperatorClaims:
		c.Type, c.Version = jwt.OperatorClaim, version
	case *jwt.UserClaims:
		c.Type, c.Version = jwt.UserClaim, version
	case *jwt.ActivationClaims:
		c.Type, c.Version = jwt.ActivationClaim, version
	case *jwt.AccountClaims:
		c.Type, c.Version = jwt.AccountClaim, version
		sort.Stable(c.Exports)
		sort.Stable(c.Imports)
	}
	tree, err := toTree(v)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode claims: %w", err)
	}
	return tree, nil
}

// Redo returns d as a draft, to be signed anew unchanged.
func Redo(d *Document) *Draft { return &Draft{d.body} }

// Request makes the draft of a token of a type of our own, for signed requests.
func Request(kind, subject, audience string, nonce string, expires int64, fields map[string]any) *Draft {
	nats := map[string]any{"type": kind, "version": version}
	maps.Copy(nats, fields)
	return &Draft{map[string]any{"sub": subject, "aud": audience, "nonce": nonce, "exp": expires, "nats": nats}}
}

// Set puts a field of our own into the draft's part nats, which the typed views
// do not know and servers pass by.
func (dr *Draft) Set(name string, value any) error {
	nats, ok := dr.body["nats"].(map[string]any)
	if !ok {
		return fault.New(fault.Internal, "set %s: the draft has no field nats", name)
	}
	tree, err := toTree(value)
	if err != nil {
		return fault.New(fault.Internal, "encode %s: %w", name, err)
	}
	nats = maps.Clone(nats)
	nats[name] = tree
	dr.body = maps.Clone(dr.body)
	dr.body["nats"] = nats
	return nil
}

// Field returns the string field of that name in the token's own part, nats, ""
// if it has none.
func (d *Document) Field(name string) string {
	nats, _ := d.body["nats"].(map[string]any)
	s, _ := nats[name].(string)
	return s
}

// Strings returns the field of that name in the token's own part, nats, as a
// list of strings; nil if it is not one.
func (d *Document) Strings(name string) []string {
	nats, _ := d.body["nats"].(map[string]any)
	list, _ := nats[name].([]any)
	var out []string
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			return nil
		}
		out = append(out, s)
	}
	return out
}

// Nonce returns the nonce of a Request token, "" if it has none.
func (d *Document) Nonce() string {
	s, _ := d.body["nonce"].(string)
	return s
}

// Sign signs the draft with s as of issuedAt, Unix seconds. Its jti is a hash
// of the whole payload: two versions of one second differ, unlike those of the
// library, whose jti hashes the standard fields alone.
func (dr *Draft) Sign(s Signer, issuedAt int64) (*Document, error) {
	body := maps.Clone(dr.body)
	body["iss"], body["iat"] = s.PublicKey(), issuedAt
	delete(body, "jti")
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode claims: %w", err)
	}
	sum := sha512.Sum512_256(data)
	body["jti"] = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
	if data, err = json.Marshal(body); err != nil {
		return nil, fault.New(fault.Internal, "encode claims: %w", err)
	}
	enc := base64.RawURLEncoding
	unsigned := headerPart + "." + enc.EncodeToString(data)
	if size := len(unsigned) + 87; size > MaxToken {
		return nil, fault.New(fault.Denied, "the signed claim would have %d bytes, servers accept %d", size, MaxToken).ByRule("size")
	}
	sig, err := s.Sign([]byte(unsigned))
	if err != nil {
		return nil, fault.New(fault.Internal, "sign claims: %w", err)
	}
	return Decode(unsigned + "." + enc.EncodeToString(sig))
}
