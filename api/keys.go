package api

import (
	"context"
	"time"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// What the token in a SealerReply is.
const (
	SealerType     = "accountd_recipient" // nats.type
	RecipientField = "recipient"          // an age recipient
)

// SealerRequest asks to whom secrets for accountd are sealed.
type SealerRequest struct {
	Nonce string `json:"nonce"` // 16 to 64 characters
}

// SealerReply answers SealerRequest with a token that the signing key delegated
// to accountd has signed, over the nonce: answers over NATS can be forged, and
// secrets sealed to a forger would be his.
type SealerReply struct {
	Schema int    `json:"schema"`
	Token  string `json:"token,omitempty"`
	Error  *Error `json:"error,omitempty"`
}

// KeysRequest gives accountd keys that sign devices of an account.
type KeysRequest struct {
	Account string `json:"account"` // public key
	Sealed  []byte `json:"sealed"`  // a KeyBundle in JSON, encrypted with age
	Host    string `json:"host,omitempty"`
	Request string `json:"request,omitempty"`
}

// KeyBundle is the secret part of a KeysRequest, and how accountd keeps it.
type KeyBundle struct {
	Account string   `json:"account"` // public key
	Seeds   [][]byte `json:"seeds"`
}

// SignRecipient returns the token of a SealerReply.
func SignRecipient(s claims.Signer, operator, server, nonce, recipient string, now time.Time) (string, error) {
	doc, err := claims.Request(SealerType, s.PublicKey(), Audience(operator, server), nonce,
		now.Add(RequestLife).Unix(), map[string]any{RecipientField: recipient}).Sign(s, now.Unix())
	if err != nil {
		return "", err
	}
	return doc.Token, nil
}

// Recipient asks to whom secrets for accountd are sealed. trusted says which
// keys speak for the operator: an answer by another one is fault.Untrusted.
func (c *Client) Recipient(ctx context.Context, trusted func(key string) bool) (string, error) {
	nonce := keys.Nonce()
	reply, err := call[SealerReply](ctx, c, SubjectSealer, SealerRequest{Nonce: nonce})
	if err == nil {
		err = reply.Error.Fault()
	}
	if err != nil {
		return "", err
	}
	d, err := claims.Decode(reply.Token)
	if err != nil {
		return "", fault.New(fault.Untrusted, "accountd does not say properly to whom its secrets are sealed: %w", err).ByRule("recipient")
	}
	if d.Type != SealerType || d.Subject != d.Issuer || d.Nonce() != nonce || d.Audience != Audience(c.Operator, c.Server) || !trusted(d.Issuer) {
		return "", fault.New(fault.Untrusted, "who answers for accountd is not trusted by the operator: it was signed by %s", keys.Short(d.Issuer)).ByRule("recipient").
			WithHint("look at who may answer on the system account; see docs/custody.md")
	}
	return d.Field(RecipientField), nil
}
