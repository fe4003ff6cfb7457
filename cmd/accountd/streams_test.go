package main

import (
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
)

// TestDeletionOfJetStreamData: an account with streams on any node is deleted
// only by force, and the refusal names them.
func TestDeletionOfJetStreamData(t *testing.T) {
	t.Parallel()
	d := fresh(t, "--nodes", "3")
	account := d.putAccount(t, "qcon", func(ac *jwt.AccountClaims) {
		ac.Limits.DiskStorage, ac.Limits.MemoryStorage = -1, -1
		ac.Limits.Streams, ac.Limits.Consumer = -1, -1
	})
	// The stream may be put on any server: all must know the account.
	proof, err := d.client(t).Proof(t.Context(), api.ProofRequest{Key: account.PublicKey(), Revision: 1, WaitMs: 30_000})
	if err != nil || !proof.Proven {
		t.Fatalf("%+v %v", proof, err)
	}
	js, err := jetstream.New(d.userOf(t, account, 1))
	if err != nil {
		t.Fatal(err)
	}
	// A server that enables JetStream for an account at this very moment removes
	// the folder that it tries (nats-server 2.15, jetstream.go, EnableJetStream),
	// and with it a stream that is being made: clients try again.
	natstest.Eventually(t, readyWithin, func() error {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SURVEY", Subjects: []string{"survey.>"}})
		return err
	})
	client, op := d.client(t), signer(t, d.Dir)
	got, err := client.Get(t.Context(), api.GetRequest{Account: "qcon"})
	if err != nil || got.Version == nil {
		t.Fatalf("%+v %v", got, err)
	}
	item := api.Item{Delete: account.PublicKey(), Base: got.Version.ID}
	re, err := client.Put(t.Context(), op, api.PutRequest{Items: []api.Item{item}})
	if err != nil || re.Error != nil || re.Results[0].Error == nil || !strings.Contains(re.Results[0].Error.Message, "SURVEY") {
		t.Fatalf("%+v %v", re, err)
	}
	item.Force = true
	re, err = client.Put(t.Context(), op, api.PutRequest{Items: []api.Item{item}})
	if err != nil || re.Error != nil || re.Results[0].Error != nil {
		t.Fatalf("%+v %v", re, err)
	}
	d.ends(t)
}
