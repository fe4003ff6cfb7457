package cli_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestRevocationIsAsLateAsTheLiveCredential: the store does not know the JWT
// with which the user is connected.
func TestRevocationIsAsLateAsTheLiveCredential(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "ahead")
	real := p.now
	p.now = func() time.Time { return real().Add(90 * time.Second) }
	p.ok("add", "user", "u1", "-a", "ahead")
	p.now = real
	doc, _ := p.user("ahead", "u1")
	creds, _ := p.store().Keystore().CredsPath("dev", "ahead", "u1")
	nc, err := nats.Connect(p.serverURL(), nats.UserCredentials(creds), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p.ok("delete", "user", "u1", "-a", "ahead", "--revoke=false")
	p.ok("revoke", "user", doc.Subject, "-a", "ahead").says("closed 1 connection")
	if _, ac := p.account("ahead"); ac.Revocations[doc.Subject] != doc.IssuedAt {
		t.Errorf("revoked at %d, the credential is of %d", ac.Revocations[doc.Subject], doc.IssuedAt)
	}
}
