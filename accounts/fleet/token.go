package fleet

import (
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// Token lets its holder enrol devices. It is a user of the account, signed by
// the key of its group, and as such a credential that can do nothing else.
type Token struct {
	ID      string // jti
	Account string // public key
	Key     string // public key of the holder, which is the device's own if Bound
	Expires int64  // Unix seconds
	Terms
}

// Terms are what a token allows, and where.
type Terms struct {
	Uses    int      `json:"uses"`           // devices
	Bound   bool     `json:"bound,omitzero"` // to the device whose key it names
	Tags    []string `json:"tags,omitempty"` // of the devices
	Pattern string   `json:"ids,omitempty"`  // of ids, * for any characters; "" for any id
	Servers []string `json:"urls"`           // where to ask, nats, tls, https or http on one machine
	Pin     string   `json:"pin,omitempty"`  // SHA-256 of the key of a certificate that the servers show, base64url
}

// Limits of tokens.
const (
	MaxUses     = 1_000_000
	MaxTokenTTL = 90 * 24 * time.Hour
	termsField  = "enroll"
)

// Check is fault.Invalid for terms that no token may have.
func (t Terms) Check() error {
	switch {
	case t.Uses < 1 || t.Uses > MaxUses:
		return invalid("uses", "a token is for 1 to %d devices, not %d", MaxUses, t.Uses)
	case t.Bound && t.Uses > 1:
		return invalid("uses", "a token for one key is for one device, not for %d", t.Uses)
	case t.Pattern != "" && CheckID(strings.ReplaceAll(t.Pattern, "*", "x")) != nil:
		return invalid("id-pattern", "%q is no pattern of ids: letters, digits and - _ : @ + = ~, and * for any of them", t.Pattern)
	case len(t.Servers) == 0:
		return invalid("server", "a token names where to ask, and there is no URL")
	}
	return nil
}

// Issue signs a token of g for the holder of key, which lives from now to
// expires, Unix seconds.
func (g Group) Issue(ac *jwt.AccountClaims, s claims.Signer, key string, t Terms, now, expires int64) (*claims.Document, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if err := CheckUser(ac, "the token", now, expires); err != nil {
		return nil, err
	}
	if life := time.Duration(expires-now) * time.Second; life < MinTTL || life > MaxTokenTTL {
		return nil, invalid("ttl", "a token lives between %s and %s, not %s", Span(MinTTL), Span(MaxTokenTTL), life)
	}
	draft, err := g.user(ac, key, expires)
	if err != nil {
		return nil, err
	}
	if err := draft.Set(termsField, t); err != nil {
		return nil, err
	}
	return draft.Sign(s, now)
}

// Pass signs what lets the holder of key ask for credentials, and do nothing else:
// not enrol either, since it is no token.
func (g Group) Pass(ac *jwt.AccountClaims, s claims.Signer, key string, now, expires int64) (*claims.Document, error) {
	draft, err := g.user(ac, key, expires)
	if err != nil {
		return nil, err
	}
	return draft.Sign(s, now)
}

// user is a user of g: its key decides what that may do.
func (g Group) user(ac *jwt.AccountClaims, key string, expires int64) (*claims.Draft, error) {
	uc := jwt.NewUserClaims(key)
	uc.Name, uc.IssuerAccount, uc.Expires = "enroll-"+g.Name, ac.Subject, expires
	uc.UserPermissionLimits = jwt.UserPermissionLimits{}
	return claims.New(uc)
}

// ReadToken returns the token that d is, by its own words: who signed it is to
// be looked at. ok is false for any other document.
func ReadToken(d *claims.Document) (t Token, ok bool) {
	var body struct {
		NATS struct {
			Enroll *Terms `json:"enroll"`
		} `json:"nats"`
	}
	if d.Type != claims.TypeUser || claims.Peek(d.Token, &body) != nil || body.NATS.Enroll == nil {
		return t, false
	}
	return Token{ID: d.ID, Account: d.Field("issuer_account"), Key: d.Subject, Expires: d.Expires, Terms: *body.NATS.Enroll}, true
}

// Name returns the id that a device gets which asks for id and has the public
// key: what the token says, if that is one id; else what it asks for; else its
// key. It is fault.Denied for an id that the token is not for.
func (t Token) Name(id, key string) (string, error) {
	switch {
	case id == "" && t.Pattern != "" && !strings.Contains(t.Pattern, "*"):
		id = t.Pattern
	case id == "":
		id = key
	}
	if err := CheckID(id); err != nil {
		return "", err
	}
	if t.Pattern != "" && !matches(t.Pattern, id) {
		return "", fault.New(fault.Denied, "the token is for devices %q, not for %q", t.Pattern, id).ByRule("id-pattern").About("device", id)
	}
	return id, nil
}

// matches reports whether a pattern with * for any characters fits s.
func matches(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[last])
}

// FormatToken writes a token as one line: the JWT and, unless it is bound to a
// key of the device's own, the seed of its key behind a dot.
func FormatToken(d *claims.Document, seed []byte) []byte {
	out := []byte(d.Token)
	if len(seed) > 0 {
		out = append(append(out, '.'), seed...)
	}
	return out
}

// ParseToken reads what FormatToken wrote. Errors show nothing of the text.
func ParseToken(text string) (t Token, d *claims.Document, pair keys.UserPair, err error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 3 && len(parts) != 4 {
		return t, nil, pair, invalid("token", "this is no enrolment token")
	}
	if d, err = claims.Decode(strings.Join(parts[:3], ".")); err != nil {
		return t, nil, pair, err
	}
	t, ok := ReadToken(d)
	if !ok || t.Bound != (len(parts) == 3) {
		return t, nil, pair, invalid("token", "this is no enrolment token")
	}
	if t.Bound {
		return t, d, pair, nil
	}
	pair, err = keys.UserFromSeed([]byte(parts[3]))
	if err != nil || pair.PublicKey() != t.Key {
		return t, d, pair, invalid("token", "the secret part of the token is damaged")
	}
	return t, d, pair, nil
}
