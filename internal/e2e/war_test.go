package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
)

// war is what the acts share.
type war struct {
	*cloud
	tries int
}

// attempt is one message that somebody tries to get across. User all of an
// account has no permissions of its own.
type attempt struct {
	name, from, subject, reply, to, pattern, queue string

	leaf bool // a leaf node publishes

	want string // what both the analysis and the servers say
	on   string // the subject on which it is delivered
}

// all compares what is predicted of attempts with what servers do.
func (w *war) all(list ...attempt) {
	w.t.Helper()
	for i, said := range w.predicted(list) {
		a := list[i]
		got, on := w.tried(a)
		if said.Outcome != a.want || got != a.want || a.on != "" && (!slices.Equal(on, []string{a.on}) || !slices.Equal(said.Subjects, on)) {
			w.t.Errorf("%s: expected %s %s, predicted %s %v, tried %s %v", a.name, a.want, a.on, said.Outcome, said.Subjects, got, on)
		}
	}
}

// prediction is what nsc verify flow says of an attempt.
type prediction struct {
	Outcome  string
	Subjects []string
}

func (w *war) predicted(list []attempt) []prediction {
	t := w.t
	t.Helper()
	var lines bytes.Buffer
	for i, a := range list {
		list[i].pattern = cmp.Or(a.pattern, a.subject)
		flow := map[string]any{"from": a.from, "subject": a.subject, "reply": a.reply, "to": a.to, "pattern": list[i].pattern, "queue": a.queue, "from_leaf": a.leaf}
		if err := json.NewEncoder(&lines).Encode(flow); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "flows.ndjson")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	answers := json.NewDecoder(strings.NewReader(w.nsc("verify", "flow", "--servers", "same", "--file", file).out))
	out := make([]prediction, len(list))
	for i := range out {
		if err := answers.Decode(&out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// as connects to one node as account:user.
func (w *war) as(who string) (*nats.Conn, error) {
	account, user, _ := strings.Cut(who, ":")
	return tryDial(w.ready.Nodes[0].URL, w.creds(account, user))
}

// tried has real clients do what a says. Both are on one node, which has
// delivered what it delivers before it answers the publisher's ping.
func (w *war) tried(a attempt) (outcome string, on []string) {
	t := w.t
	t.Helper()
	from, err := w.as(a.from)
	if err != nil {
		return "login_refused", nil
	}
	defer from.Close()
	to, err := w.as(a.to)
	if err != nil {
		return "login_refused", nil
	}
	defer to.Close()
	sub, err := to.QueueSubscribeSync(a.pattern, a.queue)
	if err == nil {
		err = to.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	if to.LastError() != nil {
		return "subscribe_denied", nil
	}
	w.tries++
	id := fmt.Sprintf("try %d", w.tries)
	if err := from.PublishMsg(&nats.Msg{Subject: a.subject, Reply: a.reply, Data: []byte(id)}); err != nil {
		t.Fatal(err)
	}
	if err := from.Flush(); err != nil {
		t.Fatal(err)
	}
	if from.LastError() != nil {
		return "publish_denied", nil
	}
	for _, msg := range heard(t, to, sub) {
		if string(msg.Data) == id {
			on = append(on, msg.Subject)
		}
	}
	if len(on) == 0 {
		return "none", nil
	}
	return "delivered", on
}

// heard returns what a node has delivered to sub by now.
func heard(t testing.TB, nc *nats.Conn, sub *nats.Subscription) []*nats.Msg {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	pending, _, err := sub.Pending()
	if err != nil {
		t.Fatal(err)
	}
	var out []*nats.Msg
	for range pending {
		msg, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, msg)
	}
	return out
}

// client is as for what must be let in.
func (w *war) client(who string) *nats.Conn {
	w.t.Helper()
	nc, err := w.as(who)
	if err != nil {
		w.t.Fatalf("%s: %v", who, err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// across publishes subject until sub hears it, over a link that keeps the order,
// and returns the subjects of what it heard before with the data that is named.
func (w *war) across(from *nats.Conn, sub *nats.Subscription, subject, data string) (before []string) {
	w.t.Helper()
	natstest.Eventually(w.t, patience, func() error {
		if err := from.Publish(subject, nil); err != nil {
			return err
		}
		for {
			msg, err := sub.NextMsg(100 * time.Millisecond)
			if err != nil || msg.Subject == subject {
				return err
			}
			if data != "" && string(msg.Data) == data {
				before = append(before, msg.Subject)
			}
		}
	})
	return before
}
