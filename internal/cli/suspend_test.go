package cli_test

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/accountd/accountd/internal/natstest"
)

// TestSuspendCutsAndKeeps: a suspended account has no connection and accepts
// none; resumed, it has its messages, and says what it said before.
func TestSuspendCutsAndKeeps(t *testing.T) {
	t.Parallel()
	p := shared.get(t).person(t)
	p.ok("add", "account", "paused")
	p.ok("edit", "account", "paused", "--js-enable", "0", "--conns", "9", "--tag", "z")
	p.ok("add", "user", "u", "-a", "paused")
	creds := nats.UserCredentials(filepath.Join(p.dir, "keys", "creds", "dev", "paused", "u.creds"))
	closed := make(chan struct{})
	nc, err := nats.Connect(p.serverURL(), creds, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, 10*time.Second, func() error { // another server may be trying the folder, and removes it
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}})
		return err
	})
	if _, err := js.Publish(t.Context(), "kept", nil); err != nil {
		t.Fatal(err)
	}
	_, before := p.account("paused")

	p.unchanged(func() {
		p.ok("suspend", "account", "paused", "--dry-run").says("nothing was changed", "users: 1: u", "streams: 1: KEPT", "imported by: none")
		p.ok("delete", "account", "paused", "--dry-run").says("users: 1: u", "streams: 1: KEPT", "imported by: none")
	})
	p.ok("suspend", "account", "paused").says("suspended account paused", "closed 1", "refused everywhere, sweep clean", "undo: nsc resume account paused")
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("the client is still connected")
	}
	if nc, err := nats.Connect(p.serverURL(), creds); err == nil {
		nc.Close()
		t.Fatal("a suspended account accepts a connection")
	}
	p.ok("suspend", "account", "paused").says("nothing to change")
	p.ok("describe", "account", "paused").says("nsc resume account paused")
	p.unchanged(func() {
		p.run("edit", "account", "paused", "--conns", "5").exits(4).complains("is suspended")
		p.run("suspend", "account", "SYS").exits(4)
	})

	p.ok("resume", "account", "paused").says("resumed account paused")
	_, after := p.account("paused")
	before.ClaimsData.ID, before.ClaimsData.IssuedAt = after.ID, after.IssuedAt
	if !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	again, err := nats.Connect(p.serverURL(), creds)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if js, err = jetstream.New(again); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KEPT")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("%d messages are left", n)
	}
	p.ok("resume", "account", "paused").says("nothing to change")
}
