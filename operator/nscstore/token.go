package nscstore

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// maxToken is the largest JWT in bytes, the most that servers take.
const maxToken = 1 << 20

// identity is what the store needs to know of a JWT. It is not verified here:
// whoever puts or reads a JWT checks its signature.
type identity struct {
	Subject string
	Name    string
	Type    string // operator, account, user
}

// identify reads the payload of a JWT.
func identify(token string) (identity, error) {
	if token == "" {
		return identity{}, errors.New("it is empty")
	}
	if len(token) > maxToken {
		return identity{}, fmt.Errorf("%d bytes, the limit is %d", len(token), maxToken)
	}
	chunks := strings.Split(token, ".")
	if len(chunks) != 3 {
		return identity{}, fmt.Errorf("%d parts separated by dots, a JWT has 3", len(chunks))
	}
	payload, err := base64.RawURLEncoding.DecodeString(chunks[1])
	if err != nil {
		return identity{}, fmt.Errorf("payload: %w", err)
	}
	if _, err := base64.RawURLEncoding.DecodeString(chunks[2]); err != nil {
		return identity{}, fmt.Errorf("signature: %w", err)
	}
	var claims struct {
		Subject string `json:"sub"`
		Name    string `json:"name"`
		Type    string `json:"type"` // version 1
		Nats    struct {
			Type string `json:"type"`
		} `json:"nats"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return identity{}, fmt.Errorf("payload: %w", err)
	}
	return identity{
		Subject: claims.Subject,
		Name:    strings.TrimSpace(claims.Name),
		Type:    first(claims.Nats.Type, claims.Type),
	}, nil
}

// checkToken identifies token, which must be a JWT of the kind kind ("operator",
// "account" or "user") about a key of that kind. It returns the broken rule with
// the error.
func checkToken(kind, token string) (id identity, rule string, err error) {
	id, err = identify(token)
	switch {
	case err != nil:
		return id, "jwt-malformed", err
	case id.Type != kind:
		return id, "jwt-type", fmt.Errorf("its type is %q", id.Type)
	case !isKeyOf(kind, id.Subject):
		return id, "jwt-subject", fmt.Errorf("its subject %q is no %s key", id.Subject, kind)
	}
	return id, "", nil
}

// requireToken is checkToken for a JWT that is to be stored under name, which
// must be the name in it unless that is empty.
func requireToken(kind, name, token string) (identity, error) {
	id, rule, err := checkToken(kind, token)
	if err == nil && id.Name != "" && id.Name != name {
		rule, err = "jwt-name", fmt.Errorf("its name is %q", id.Name)
	}
	if err != nil {
		return id, fault.New(fault.Invalid, "JWT of %s %q: %w", kind, name, err).About(kind, name).ByRule(rule)
	}
	return id, nil
}

// isKeyOf reports whether key is a public key of a kind of entity.
func isKeyOf(kind, key string) bool {
	switch kind {
	case "operator":
		return nkeys.IsValidPublicOperatorKey(key)
	case "account":
		return nkeys.IsValidPublicAccountKey(key)
	case "user":
		return nkeys.IsValidPublicUserKey(key)
	}
	return false
}
