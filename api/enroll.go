package api

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// PathEnroll is where devices ask for credentials over HTTP; over NATS it is
// fleet.EnrollSubject.
const PathEnroll = "/v1/enroll"

// EnrollRequest asks for credentials of a device: by a token, or by those that
// it has. Without a nonce it asks for one, to prove its keys by, and needs no
// more than the key; with Issuer and over NATS, it asks instead when the key goes
// that signed its credentials.
type EnrollRequest struct {
	JWT   string `json:"jwt,omitempty"` // of a token, or that of the device, which may have expired
	Key   string `json:"key"`           // public key of the device
	ID    string `json:"id,omitempty"`  // that it asks for, by a token that leaves it open
	Nonce string `json:"nonce,omitempty"`
	// Pass asks for a way back, too, which needs no HTTP: see EnrollReply.
	Pass   bool   `json:"pass,omitempty"`
	Issuer string `json:"issuer,omitempty"`
	// Signatures over Text by the device's key and, by a token with a seed of
	// its own, by that.
	Proof      []byte `json:"proof,omitempty"`
	TokenProof []byte `json:"token_proof,omitempty"`
}

// EnrollReply answers EnrollRequest: with a nonce, with credentials, or with what
// there is to know of a key.
type EnrollReply struct {
	Schema  int    `json:"schema"`
	Nonce   string `json:"nonce,omitempty"` // to be signed within a minute
	Now     int64  `json:"now,omitempty"`   // of accountd, Unix seconds
	JWT     string `json:"jwt,omitempty"`
	Expires int64  `json:"expires,omitempty"`     // Unix seconds
	Renew   int64  `json:"renew,omitempty"`       // when to ask again, Unix seconds
	Pass    string `json:"pass,omitempty"`        // a JWT by which the device's key may ask here, and nothing else
	Retires int64  `json:"retires,omitempty"`     // when servers will refuse what the key signed, Unix seconds
	Look    int    `json:"look,omitempty"`        // in how many seconds to ask that again
	Next    string `json:"next_nonce,omitempty"`  // for the renewal of JWT, so that it need not ask for one
	Wait    int    `json:"retry_after,omitempty"` // seconds, with an error that passes
	// Types are how servers let the device connect, as claims name them; none for
	// any way.
	Types []string `json:"connection_types,omitempty"`
	Error *Error   `json:"error,omitempty"`
}

// Text is what the proofs of a request sign. It names everything that the
// request says, so that a proof serves no other one.
func (r EnrollRequest) Text() []byte {
	sum := sha256.Sum256([]byte(r.JWT))
	said := []string{"accountd enroll 1", r.Nonce, hex.EncodeToString(sum[:]), r.Key, r.ID}
	if r.Pass {
		said = append(said, "pass")
	}
	return []byte(strings.Join(said, "\n"))
}
