package api

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// answers is a link on which somebody answers SealerRequests.
type answers func(nonce string) string

func (a answers) send(_ context.Context, _, _ string, body []byte) ([]byte, error) {
	var req SealerRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	return json.Marshal(SealerReply{Schema: Schema, Token: a(req.Nonce)})
}

func (answers) close() {}

// TestRecipientIsProven: secrets are sealed to who has a key of the operator
// and was asked just now, and to nobody else who answers.
func TestRecipientIsProven(t *testing.T) {
	t.Parallel()
	pair := func() keys.OperatorPair {
		p, err := keys.NewOperator()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ours, forger, now := pair(), pair(), time.Unix(1_800_000_000, 0)
	sign := func(by keys.OperatorPair, operator, server, nonce string) string {
		token, err := SignRecipient(by, operator, server, nonce, "age1x", now)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for name, c := range map[string]struct {
		answer answers
		good   bool
	}{
		"accountd":              {func(nonce string) string { return sign(ours, "O", "N", nonce) }, true},
		"a forger":              {func(nonce string) string { return sign(forger, "O", "N", nonce) }, false},
		"an answer of before":   {func(string) string { return sign(ours, "O", "N", keys.Nonce()) }, false},
		"another accountd":      {func(nonce string) string { return sign(ours, "O", "N2", nonce) }, false},
		"another operator's":    {func(nonce string) string { return sign(ours, "O2", "N", nonce) }, false},
		"a signed request":      {func(string) string { token, _ := SignRequest(ours, "O", "N", nil, now); return token }, false},
		"something else":        {func(string) string { return "age1x" }, false},
		"a token cut in halves": {func(nonce string) string { return sign(ours, "O", "N", nonce)[:100] }, false},
	} {
		client := &Client{Operator: "O", Server: "N", link: c.answer, now: func() time.Time { return now }}
		got, err := client.Recipient(context.Background(), func(key string) bool { return key == ours.PublicKey() })
		if c.good != (err == nil) || c.good && got != "age1x" || !c.good && !fault.Is(err, fault.Untrusted) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
