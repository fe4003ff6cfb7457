package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/accountd/accountd/internal/natstest"
)

// TestStory tells the acts that exist, one after the other on one cluster: an
// operator comes into being, devices enrol themselves, are asked, configured and
// commanded, a laptop joins as a leaf node with copies of the data, is revoked and
// un-revoked, and the devices in the cloud notice nothing; then a tenant keeps its
// data on a leaf node of its own.
func TestStory(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	s := &story{cloud: c}
	for _, act := range []struct {
		name string
		play func()
	}{
		{"bootstrap", s.bootstrap},
		{"provision", s.provisions},
		{"provision over MQTT", s.mqttProvisions},
		{"live query", s.liveQuery},
		{"configuration", s.configuration},
		{"remote command", s.command},
		{"devices", s.devices},
		{"leaf", s.joins},
		{"mirrors", s.mirrors},
		{"revoke", s.revoked},
		{"unrevoke", s.returns},
		{"physical isolation", s.physical},
	} {
		t.Log(act.name)
		act.play()
	}
}

// story is what the acts share.
type story struct {
	*cloud
	leafCreds string
	laptop    *natstest.Server
	local     *nats.Conn // a client on the laptop
	crowd     []*device
	moved     *device    // on the laptop
	cloudAsk  *nats.Conn // a client in the cloud
	admin     jetstream.JetStream
	answers   int // stored in the cloud's stream
	stored    int // in the laptop's stream
}

func (s *story) bootstrap() {
	t := s.t
	out := s.nsc("add", "account", "qcon").out
	for _, want := range []string{
		`(?m)^account qcon  A\S+  revision 1$`,
		`(?m)^  nats-0  in force`, `(?m)^  nats-1  in force`, `(?m)^  nats-2  in force`,
		`(?m)^in force on 3 of 3 nodes, `,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the receipt lacks %s:\n%s", want, out)
		}
	}
	s.jetStream("qcon")
	s.leafCreds = s.user("qcon", "leaf1")
	s.acceptedEverywhere(s.leafCreds)
	if found, err := os.ReadDir(s.home); err != nil || len(found) > 0 {
		t.Errorf("the home folder is not empty: %v, %v", found, err)
	}
}

// devices connects a phone over WebSocket, a board over TCP and a
// microcontroller over MQTT, each on another node.
func (s *story) devices() {
	t := s.t
	phone := s.dial(s.ready.Nodes[1].WS, s.user("qcon", "phone"))
	board := s.dial(s.ready.Nodes[0].URL, s.user("qcon", "board"))
	chip := s.mqtt(s.ready.Nodes[2].MQTT, s.user("qcon", "chip", "--bearer"))
	s.crowd = []*device{natsDevice("phone", phone), natsDevice("board", board), mqttDevice("chip", chip)}
	for _, d := range s.crowd {
		if err := d.serve(); err != nil {
			t.Fatal(err)
		}
	}
	s.everyDeviceAnswers(s.dial(s.ready.Nodes[2].URL, s.user("qcon", "operator")))
}

func (s *story) everyDeviceAnswers(at *nats.Conn) {
	t := s.t
	t.Helper()
	for _, d := range s.crowd {
		natstest.Eventually(t, patience, func() error { return d.answers(at) })
		select {
		case <-d.gone:
			t.Errorf("%s was cut", d.name)
		default:
		}
	}
}

// joins starts the laptop: a stock server with JetStream of its own. Devices of
// the cloud answer over the link; its stream is filled locally.
func (s *story) joins() {
	t := s.t
	s.laptop = natstest.StartLeaf(s.t, natstest.LeafOptions{
		Name: "laptop", Remotes: s.leafs(), Creds: s.leafCreds, Domain: "leaf",
	})
	natstest.Eventually(t, patience, s.laptop.Linked)
	var err error
	if s.local, err = nats.Connect(s.laptop.URL); err != nil {
		t.Fatal(err)
	}
	s.t.Cleanup(s.local.Close)
	s.moves()
	s.everyDeviceAnswers(s.local)
	js, err := s.local.JetStream(nats.Domain("leaf"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "metrics", Subjects: []string{"metrics.>"}}); err != nil {
		t.Fatal(err)
	}
	s.store(10)
}

// moves has a device leave the cloud for the laptop; it goes on answering both.
func (s *story) moves() {
	nc, err := nats.Connect(s.laptop.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	s.moved = natsDevice("moved", nc)
	if err := s.moved.serve(); err != nil {
		s.t.Fatal(err)
	}
	s.cloudAsk = s.dial(s.ready.Nodes[2].URL, s.creds("qcon", "operator"))
	natstest.Eventually(s.t, patience, func() error { return s.moved.answers(s.local) })
	natstest.Eventually(s.t, patience, func() error { return s.moved.answers(s.cloudAsk) })
}

// store publishes n messages on the laptop, whose stream must hold all.
func (s *story) store(n int) {
	t := s.t
	t.Helper()
	js, err := s.local.JetStream(nats.Domain("leaf"))
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		s.stored++
		if _, err := js.Publish("metrics.load", fmt.Append(nil, s.stored)); err != nil {
			t.Fatalf("publish to the laptop's stream: %v", err)
		}
	}
	info, err := js.StreamInfo("metrics")
	if err != nil || info.State.Msgs != uint64(s.stored) {
		t.Fatalf("the laptop's stream holds %+v, %v; expected %d messages", info, err, s.stored)
	}
}

func (s *story) revoked() {
	t := s.t
	rec := s.change(0, "revoke", "user", "leaf1", "-a", "qcon")
	s.inForce(rec)
	cut := 0
	for _, n := range rec.Nodes {
		if n.Loaded && !n.Swept {
			t.Errorf("%s is not swept", n.Server)
		}
		for _, closed := range n.Closed {
			if closed.Kind != "leaf" || closed.Name != "laptop" || closed.Ms > 1000 {
				t.Errorf("%s closed %+v", n.Server, closed)
			}
			cut++
		}
	}
	if cut != 1 {
		t.Errorf("the receipt names %d connections, expected the laptop's one: %+v", cut, rec.Nodes)
	}
	natstest.Eventually(t, patience, s.laptop.Unlinked)
	s.refusedEverywhere(s.leafCreds)
	s.store(10)
	s.answerSurvey()
	if err := s.moved.answers(s.local); err != nil {
		t.Errorf("on the laptop: %v", err)
	}
	if err := s.moved.answers(s.cloudAsk); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("the cloud still reaches the laptop: %v", err)
	}
	s.everyDeviceAnswers(s.cloudAsk)
	if err := s.laptop.Unlinked(); err != nil { // it tries every 100 ms
		t.Errorf("the laptop is back: %v", err)
	}
}

func (s *story) returns() {
	t := s.t
	out := s.nsc("unrevoke", "user", "leaf1", "-a", "qcon").out
	if !strings.Contains(out, "in force on 3 of 3 nodes") {
		t.Errorf("the receipt does not say that it is in force:\n%s", out)
	}
	natstest.Eventually(t, patience, s.laptop.Linked)
	s.everyDeviceAnswers(s.local)
	natstest.Eventually(t, patience, func() error { return s.moved.answers(s.cloudAsk) })
	s.store(10)
	s.caughtUp()
}

// device answers questions that are asked on its subject.
type device struct {
	name  string
	gone  <-chan struct{} // closed when its connection is
	serve func() error
	// answers asks it from another connection.
	answers func(*nats.Conn) error
}

func natsDevice(name string, nc *nats.Conn) *device {
	gone := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(gone) })
	return &device{
		name: name, gone: gone,
		serve: func() error {
			_, err := nc.Subscribe("ask."+name, func(m *nats.Msg) { _ = m.Respond([]byte(name)) })
			if err != nil {
				return err
			}
			return nc.Flush()
		},
		answers: func(at *nats.Conn) error {
			msg, err := at.Request("ask."+name, nil, time.Second)
			if err == nil && string(msg.Data) != name {
				err = fmt.Errorf("answer %q", msg.Data)
			}
			if err != nil {
				return fmt.Errorf("ask %s: %w", name, err)
			}
			return nil
		},
	}
}

// mqtt connects a bearer user.
func (c *cloud) mqtt(addr, creds string) *natstest.MQTT {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := natstest.DialMQTT(ctx, addr, natstest.MQTTOptions{
		ClientID: strings.TrimSuffix(filepath.Base(creds), ".creds"), User: "device", Password: token(c.t, creds),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(m.Close)
	return m
}

// mqttDevice answers on ask/<name>, which is ask.<name> to others, with a
// message on answer/<name>.
func mqttDevice(name string, m *natstest.MQTT) *device {
	var asked atomic.Int64
	return &device{
		name: name, gone: m.Closed(),
		serve: func() error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := m.Subscribe(ctx, "ask/"+name); err != nil {
				return err
			}
			go func() {
				for {
					msg, err := m.Receive(context.Background())
					if err != nil {
						return
					}
					_ = m.Publish("answer/"+name, msg.Payload)
				}
			}()
			return nil
		},
		answers: func(at *nats.Conn) error {
			sub, err := at.SubscribeSync("answer." + name)
			if err != nil {
				return err
			}
			defer func() { _ = sub.Unsubscribe() }()
			question := fmt.Sprint(asked.Add(1))
			if err := at.Publish("ask."+name, []byte(question)); err != nil {
				return err
			}
			msg, err := sub.NextMsg(time.Second)
			if err == nil && string(msg.Data) != question {
				err = fmt.Errorf("answer %q to %q", msg.Data, question)
			}
			if err != nil {
				return fmt.Errorf("ask %s: %w", name, err)
			}
			return nil
		},
	}
}
