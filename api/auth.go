package api

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// Audience names the one service that a signed request is for.
func Audience(operator, server string) string { return operator + "/" + server }

// SignRequest returns the value of AuthHeader that authorises body: a token
// signed by s, for this audience alone, valid for RequestLife from now.
func SignRequest(s claims.Signer, operator, server string, body []byte, now time.Time) (string, error) {
	sum := sha256.Sum256(body)
	draft := claims.Request(RequestType, s.PublicKey(), Audience(operator, server), keys.Nonce(),
		now.Add(RequestLife).Unix(), map[string]any{DigestField: hex.EncodeToString(sum[:])})
	doc, err := draft.Sign(s, now.Unix())
	if err != nil {
		return "", err
	}
	return doc.Token, nil
}
