package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/accountd/accountd/internal/natstest"
)

// mayUseData are the flags of a fleet whose devices answer questions to all of
// them, read the bucket config and take commands. None of them lets a device
// make a consumer, whose messages could be delivered on any subject.
var mayUseData = []string{
	"--allow-sub", "qcon.all.>", "--allow-pub-response",
	"--allow-pub", "$JS.API.DIRECT.GET.KV_config.$KV.config.>",
	"--allow-pub", "$JS.API.CONSUMER.MSG.NEXT.commands.{{name()}}",
	"--allow-pub", "$JS.ACK.commands.{{name()}}.>",
}

// seat connects a device that has enrolled itself, to the node i.
func (s *story) seat(i int, name string) *nats.Conn {
	return s.scoped(s.ready.Nodes[i].URL, filepath.Join(s.dir, name, "device.creds"))
}

// scoped connects a user whose inbox is its own.
func (s *story) scoped(url, creds string) *nats.Conn {
	user, err := jwt.DecodeUserClaims(token(s.t, creds))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.dial(url, creds, nats.CustomInboxPrefix("_INBOX."+user.Subject))
}

// liveQuery is act 3: a service asks all devices at once, and those answer that
// it concerns. A neighbour listens to everything that it may and hears nothing.
func (s *story) liveQuery() {
	t := s.t
	s.nsc("add", "account", "neighbour")
	neighbour := s.dial(s.ready.Nodes[1].URL, s.user("neighbour", "spy"))
	spied, err := neighbour.SubscribeSync(">")
	if err := errors.Join(err, neighbour.Flush()); err != nil {
		t.Fatal(err)
	}
	for i, system := range []string{"Android", "iOS"} {
		nc := s.seat(i+1, fmt.Sprintf("seat-%d", i+1))
		_, err := nc.Subscribe("qcon.all.query", func(m *nats.Msg) {
			if string(m.Data) == "os.name == "+system {
				_ = m.Respond([]byte(system))
			}
		})
		if err := errors.Join(err, nc.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	s.nsc("add", "role", "service", "-a", "qcon", "--template", "service")
	asker := s.scoped(s.ready.Nodes[0].URL, s.user("qcon", "asker", "--role", "service"))
	for _, system := range []string{"Android", "iOS"} {
		natstest.Eventually(t, patience, func() error { // routes learn of the subscriptions
			m, err := asker.Request("qcon.all.query", []byte("os.name == "+system), time.Second)
			if err == nil && string(m.Data) != system {
				t.Errorf("%s answers whether it is %s", m.Data, system)
			}
			return err
		})
	}
	if err := neighbour.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := spied.Pending(); n > 0 || err != nil {
		t.Errorf("the neighbour heard %d messages, %v", n, err)
	}
}

// people connects whoever looks after the tenant's data.
func (s *story) people() jetstream.JetStream {
	t := s.t
	s.nsc("add", "role", "staff", "-a", "qcon", "--template", "operator")
	nc := s.scoped(s.ready.Nodes[0].URL, s.user("qcon", "admin", "--role", "staff"))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// configuration is act 4: a change of a bucket reaches the connected at once and
// the others when they return; what was there before can be read and put back.
func (s *story) configuration() {
	t := s.t
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.admin = s.people()
	var bucket jetstream.KeyValue
	natstest.Eventually(t, patience, func() (err error) { // a server may be enabling JetStream for the account
		bucket, err = s.admin.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: "config", History: 5,
			RePublish: &jetstream.RePublish{Source: "$KV.config.>", Destination: "qcon.all.config.>"},
		})
		return err
	})
	online := s.seat(1, "seat-1")
	heard, err := online.SubscribeSync("qcon.all.config.>")
	if err := errors.Join(err, online.Flush()); err != nil {
		t.Fatal(err)
	}
	watched := s.watches(ctx, "rate")
	put := func(value string) {
		t.Helper()
		if _, err := bucket.PutString(ctx, "rate", value); err != nil {
			t.Fatal(err)
		}
		if m, err := heard.NextMsg(patience); err != nil || string(m.Data) != value {
			t.Errorf("the device heard %+v, %v; expected %s", m, err, value)
		}
		if e := <-watched; string(e.Value()) != value {
			t.Errorf("who watches the bucket saw %+v, expected %s", e, value)
		}
	}
	natstest.Eventually(t, patience, func() error { // until the interest of the device has spread
		if _, err := bucket.PutString(ctx, "ready", ""); err != nil {
			t.Fatal(err)
		}
		_, err := heard.NextMsg(time.Second)
		return err
	})
	put("10")
	put("20")
	returned := s.seat(2, "seat-2")
	if m, err := returned.Request("$JS.API.DIRECT.GET.KV_config.$KV.config.rate", nil, patience); err != nil || string(m.Data) != "20" {
		t.Errorf("a device that returns reads %+v, %v", m, err)
	}
	past, err := bucket.History(ctx, "rate")
	if err != nil || len(past) != 2 {
		t.Fatalf("the history is %v, %v", past, err)
	}
	put(string(past[0].Value()))
	denied(t, returned, "$KV.config.rate")
}

// watches gives the changes of a key to one of the tenant's people, over
// WebSocket.
func (s *story) watches(ctx context.Context, key string) <-chan jetstream.KeyValueEntry {
	t := s.t
	js, err := jetstream.New(s.scoped(s.ready.Nodes[2].WS, s.user("qcon", "viewer", "--role", "staff")))
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(ctx, "config")
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := bucket.Watch(ctx, key, jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = watcher.Stop() })
	return watcher.Updates()
}

// command is act 5: a device that was away takes what was meant for it when it
// returns, each command once; those that have become stale are gone, and other
// devices cannot take them.
func (s *story) command() {
	t := s.t
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream := s.stream(s.admin, jetstream.StreamConfig{
		Name: "commands", Subjects: []string{"qcon.commands.*"}, AllowMsgTTL: true,
	})
	durable, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "seat-2", FilterSubject: "qcon.commands.seat-2", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func(text string, opts ...jetstream.PublishOpt) {
		t.Helper()
		if _, err := s.admin.Publish(ctx, "qcon.commands.seat-2", []byte(text), append(opts, jetstream.WithMsgID(text))...); err != nil {
			t.Fatal(err)
		}
	}
	send("reboot at noon", jetstream.WithMsgTTL(time.Second))
	send("update")
	send("update") // whoever sends does not know whether the first has arrived
	natstest.Eventually(t, patience, func() error {
		info, err := stream.Info(ctx)
		if err == nil && info.State.Msgs != 1 {
			err = fmt.Errorf("%d commands wait", info.State.Msgs)
		}
		return err
	})
	denied(t, s.seat(1, "seat-1"), "$JS.API.CONSUMER.MSG.NEXT.commands.seat-2")
	back := s.seat(1, "seat-2")
	m, err := back.Request("$JS.API.CONSUMER.MSG.NEXT.commands.seat-2", nil, patience)
	if err != nil || string(m.Data) != "update" {
		t.Fatalf("the device took %+v, %v", m, err)
	}
	if err := m.AckSync(nats.Context(ctx)); err != nil {
		t.Fatal(err)
	}
	info, err := durable.Info(ctx)
	if err != nil || info.NumPending > 0 || info.NumAckPending > 0 || info.NumRedelivered > 0 {
		t.Errorf("after the only command was taken: %+v, %v", info, err)
	}
}

// denied requires that servers refuse a publication.
func denied(t testing.TB, nc *nats.Conn, subject string) {
	t.Helper()
	if err := errors.Join(nc.Publish(subject, nil), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := nc.LastError(); err == nil || !strings.Contains(err.Error(), "Permissions Violation") {
		t.Errorf("%s may be published: %v", subject, err)
	}
}

// mirrors gives the laptop copies of what the cloud has, and the cloud a stream
// of all that the laptop measures.
func (s *story) mirrors() {
	t := s.t
	s.stream(s.admin, jetstream.StreamConfig{Name: "survey", Subjects: []string{"qcon.survey.*"}})
	s.answerSurvey()
	local, err := jetstream.NewWithDomain(s.local, "leaf")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"survey", "KV_config"} {
		s.stream(local, jetstream.StreamConfig{
			Name: name, MirrorDirect: true, AllowDirect: true,
			Mirror: &jetstream.StreamSource{Name: name, Domain: "cloud"},
		})
	}
	s.stream(s.admin, jetstream.StreamConfig{
		Name: "global_metrics", Sources: []*jetstream.StreamSource{{Name: "metrics", Domain: "leaf"}},
	})
	s.caughtUp()
}

// stream makes a stream. It tries again, since a server that is enabling JetStream
// for an account loses what is made there at that moment.
func (s *story) stream(js jetstream.JetStream, config jetstream.StreamConfig) (made jetstream.Stream) {
	natstest.Eventually(s.t, patience, func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience/3)
		defer cancel()
		made, err = js.CreateStream(ctx, config)
		return err
	})
	return made
}

// answerSurvey stores ten answers in the cloud.
func (s *story) answerSurvey() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range 10 {
		s.answers++
		if _, err := s.admin.Publish(ctx, fmt.Sprintf("qcon.survey.%d", s.answers), fmt.Append(nil, s.answers)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// caughtUp requires that each side has all that the other stored, each message
// once and in order, and that the laptop reads the configuration of its own copy.
func (s *story) caughtUp() {
	t := s.t
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	local, err := jetstream.NewWithDomain(s.local, "leaf")
	if err != nil {
		t.Fatal(err)
	}
	holds(ctx, t, local, "survey", s.answers)
	holds(ctx, t, s.admin, "global_metrics", s.stored)
	natstest.Eventually(t, patience, func() error {
		m, err := s.local.Request("$JS.leaf.API.DIRECT.GET.KV_config.$KV.config.rate", nil, time.Second)
		if err == nil && string(m.Data) != "10" {
			err = fmt.Errorf("the laptop reads %q", m.Data)
		}
		return err
	})
}

// holds requires a stream with the messages 1 to n, in order and each once.
func holds(ctx context.Context, t testing.TB, js jetstream.JetStream, name string, n int) {
	t.Helper()
	stream, err := js.Stream(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() error {
		info, err := stream.Info(ctx)
		if err == nil && info.State.Msgs < uint64(n) {
			err = fmt.Errorf("%s has %d of %d messages", name, info.State.Msgs, n)
		}
		return err
	})
	for seq := range n {
		m, err := stream.GetMsg(ctx, uint64(seq+1))
		if err != nil || string(m.Data) != fmt.Sprint(seq+1) {
			t.Fatalf("message %d of %s is %+v, %v", seq+1, name, m, err)
		}
	}
	if info, err := stream.Info(ctx); err != nil || info.State.Msgs != uint64(n) {
		t.Errorf("%s has %+v, %v; expected %d messages", name, info, err, n)
	}
}
