package e2e

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/natstest"
)

// TestCokeAndPepsi is act 10: two tenants on one cluster, and everything that
// one of them may try on the other. What becomes of each attempt is asked of
// nsc verify first, and then tried by real clients.
func TestCokeAndPepsi(t *testing.T) {
	t.Parallel()
	w := &war{cloud: newCloud(t)}
	for _, act := range []struct {
		name string
		play func()
	}{
		{"tenants", w.tenants},
		{"wildcards, inboxes, replies, mappings, queues", w.messages},
		{"JetStream", w.jetStreams},
		{"names, namespaces", w.names},
		{"services that are not exported, cycles", w.imports},
		{"leaf nodes", w.leaf},
		{"traces", w.traces},
		{"a contract, and a stolen one", w.contract},
	} {
		t.Log(act.name)
		act.play()
	}
}

// tenants makes both, with ready-made roles, and platform, which imports what
// they offer.
func (w *war) tenants() {
	for _, name := range []string{"coke", "pepsi", "platform"} {
		w.nsc("add", "account", name)
		w.jetStream(name)
		w.user(name, "all")
	}
	for _, name := range []string{"coke", "pepsi"} {
		for _, role := range []string{"device", "service", "leaf"} {
			w.nsc("add", "role", role, "-a", name, "--template", role)
		}
		w.user(name, "d1", "--role", "device")
		w.user(name, "d2", "--role", "device")
		w.user(name, "s1", "--role", "service")
		w.user(name, "edge", "--role", "leaf")
		w.nsc("add", "export", "-a", name, "-s", "orders.*")
		w.nsc("add", "import", "-a", "platform", "--src-account", name, "--all")
	}
	w.isolated(true)
}

// isolated requires what nsc verify says of coke and pepsi.
func (w *war) isolated(want bool) {
	w.t.Helper()
	code := 0
	if !want {
		code = 9
	}
	w.nscExits(code, "verify", "isolation", "coke", "pepsi")
}

// messages: nothing that is published, answered or renamed crosses.
func (w *war) messages() {
	w.all(
		attempt{name: "equal subjects", from: "coke:all", subject: "orders.new", to: "pepsi:all", want: "none"},
		attempt{name: "everything", from: "coke:all", subject: "orders.new", to: "pepsi:all", pattern: ">", want: "none"},
		attempt{name: "everything of the system's", from: "coke:all", subject: "$SYS.REQ.USER.INFO", to: "pepsi:all", pattern: "$SYS.>", want: "none"},
		attempt{name: "all inboxes", from: "coke:all", subject: "_INBOX.guess.1", to: "pepsi:all", pattern: "_INBOX.>", want: "none"},
		attempt{name: "an inbox in the same account", from: "coke:s1", subject: "_INBOX.guess.1", to: "coke:d1", pattern: "_INBOX.>", want: "subscribe_denied"},
		attempt{name: "another device", from: "coke:d1", subject: "coke.d2.temp", to: "coke:s1", pattern: "coke.>", want: "publish_denied"},
		attempt{name: "its own subject", from: "coke:d1", subject: "coke.d1.temp", to: "coke:s1", pattern: "coke.>", want: "delivered", on: "coke.d1.temp"},
		attempt{name: "the way of an answer", from: "pepsi:all", subject: "_R_.guess.1", to: "coke:all", pattern: ">", want: "none"},
		attempt{name: "a reply that servers make", from: "pepsi:all", subject: "x", reply: "_R_.guess.1", to: "coke:all", pattern: ">", want: "publish_denied"},
		attempt{name: "a reply that JetStream takes", from: "pepsi:all", subject: "x", reply: "$JS.ACK.orders.x.1.1.1.1.0", to: "coke:all", pattern: ">", want: "publish_denied"},
		attempt{name: "a literal wildcard", from: "pepsi:all", subject: "coke.>", to: "coke:all", pattern: ">", want: "none"},
		attempt{name: "coke at platform", from: "coke:all", subject: "orders.new", to: "platform:all", pattern: ">", want: "delivered", on: "coke.orders.new"},
		attempt{name: "pepsi at platform", from: "pepsi:all", subject: "orders.new", to: "platform:all", pattern: ">", want: "delivered", on: "pepsi.orders.new"},
		attempt{name: "platform to a tenant", from: "platform:all", subject: "coke.orders.new", to: "coke:all", pattern: ">", want: "none"},
	)
	w.nsc("add", "mapping", "-a", "pepsi", "--from", "to.*", "--to", "coke.orders.$1")
	w.all(
		attempt{name: "a mapping into the other's namespace", from: "pepsi:all", subject: "to.x", to: "coke:all", pattern: ">", want: "none"},
		attempt{name: "the same, at platform", from: "pepsi:all", subject: "to.x", to: "platform:all", pattern: "coke.>", want: "none"},
		attempt{name: "it stays in the account", from: "pepsi:all", subject: "to.x", to: "pepsi:all", pattern: ">", want: "delivered", on: "coke.orders.x"},
	)
	w.nsc("delete", "mapping", "-a", "pepsi", "--from", "to.*")
	w.queue()
}

// queue: a queue group of the same name in another account takes nothing away.
func (w *war) queue() {
	t := w.t
	w.all(attempt{name: "a queue group", from: "coke:all", subject: "orders.new", to: "pepsi:all", pattern: "orders.*", queue: "workers", want: "none"})
	thief, worker := w.client("pepsi:all"), w.client("coke:all")
	stolen, err := thief.QueueSubscribeSync(">", "workers")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := worker.QueueSubscribeSync("orders.*", "workers")
	if err != nil {
		t.Fatal(err)
	}
	from := w.client("coke:all")
	for _, nc := range []*nats.Conn{thief, worker, from} {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	const all = 50
	for range all {
		if err := from.Publish("orders.new", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := from.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, m := len(heard(t, worker, kept)), len(heard(t, thief, stolen)); n != all || m != 0 {
		t.Errorf("of %d messages coke's worker has %d, pepsi's %d", all, n, m)
	}
}

// jetStreams: the API of JetStream answers each account about its own streams,
// whatever is asked.
func (w *war) jetStreams() {
	t := w.t
	own, err := jetstream.New(w.client("pepsi:all"))
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() error { // another server may be trying the folder, and removes it
		_, err := own.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SECRET", Subjects: []string{"secret.>"}})
		return err
	})
	if _, err := own.Publish(t.Context(), "secret.1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	w.all(
		attempt{name: "the API of another account", from: "coke:all", subject: "$JS.API.STREAM.DELETE.SECRET", to: "pepsi:all", pattern: ">", want: "none"},
		attempt{name: "a message of a stream", from: "coke:all", subject: "$JS.API.DIRECT.GET.SECRET", to: "pepsi:all", pattern: "$JS.API.>", want: "none"},
		attempt{name: "a bucket", from: "coke:all", subject: "$KV.config.a", to: "pepsi:all", pattern: "$KV.>", want: "none"},
		attempt{name: "a device and the API", from: "pepsi:d1", subject: "$JS.API.STREAM.DELETE.SECRET", to: "pepsi:all", pattern: "$JS.API.>", want: "publish_denied"},
	)
	evil := w.client("coke:all")
	for subject, body := range map[string]string{
		"$JS.API.STREAM.INFO.SECRET": "", "$JS.API.STREAM.MSG.GET.SECRET": `{"seq":1}`, "$JS.API.STREAM.DELETE.SECRET": "", "$JS.API.STREAM.PURGE.SECRET": "",
	} {
		answer, err := evil.Request(subject, []byte(body), patience)
		if err != nil || !strings.Contains(string(answer.Data), "stream not found") {
			t.Errorf("%s: %s, %v", subject, answer.Data, err)
		}
	}
	s, err := own.Stream(t.Context(), "SECRET")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := s.Info(t.Context()); err != nil || info.State.Msgs != 1 {
		t.Errorf("pepsi's stream: %+v, %v", info, err)
	}
}

// names: nobody gets a name or a namespace that reaches into another's.
func (w *war) names() {
	refused := func(rule string, code int, args ...string) {
		w.t.Helper()
		if rec := w.change(code, args...); rec.Error == nil || rec.Error.Rule != rule {
			w.t.Errorf("%v: %+v", args, rec)
		}
	}
	says := func(text string, code int, args ...string) {
		w.t.Helper()
		if r := w.nscExits(code, args...); !strings.Contains(r.err, text) {
			w.t.Errorf("the refusal does not say %s:\n%s", text, r)
		}
	}
	refused("namespace", 4, "add", "account", "coke.eu")
	refused("namespace", 4, "edit", "account", "pepsi", "--namespace", "coke.pepsi")
	says("(namespace)", 7, "edit", "account", "pepsi", "--namespace", "_INBOX.x")
	for _, name := range []string{">", "a.b"} {
		w.nscExits(7, "add", "user", name, "-a", "pepsi", "--role", "device")
	}
	w.isolated(true)
	w.nsc("add", "export", "-a", "pepsi", "-s", "coke.orders.*")
	w.nsc("add", "import", "-a", "platform", "--src-account", "pepsi", "--all")
	w.all(
		attempt{name: "a squatted subject", from: "pepsi:all", subject: "coke.orders.x", to: "platform:all", pattern: "coke.>", want: "none"},
		attempt{name: "where it is", from: "pepsi:all", subject: "coke.orders.x", to: "platform:all", pattern: ">", want: "delivered", on: "pepsi.coke.orders.x"},
	)
}

// imports: what is not exported is not imported, and what would form a circle is
// refused.
func (w *war) imports() {
	says := func(text string, args ...string) {
		w.t.Helper()
		if r := w.nscExits(4, args...); !strings.Contains(r.err, text) {
			w.t.Errorf("the refusal does not say %s:\n%s", text, r)
		}
	}
	theft := []string{"add", "import", "-a", "coke", "--src-account", "pepsi", "--remote-subject", "secret.get", "--service"}
	says("no service export covers it", theft...)
	w.nsc(append(theft, "--allow-incomplete")...)
	w.isolated(true)
	w.all(attempt{name: "a service that is not exported", from: "coke:all", subject: "secret.get", to: "pepsi:all", pattern: ">", want: "none"})
	w.nsc("delete", "import", "-a", "coke", "--subject", "secret.get")
	w.nsc("add", "export", "-a", "coke", "-s", "ring", "--service")
	w.nsc("add", "export", "-a", "pepsi", "-s", "ring", "--service")
	w.nsc("add", "import", "-a", "coke", "--src-account", "pepsi", "--remote-subject", "ring", "--service")
	says("cycle", "add", "import", "-a", "pepsi", "--src-account", "coke", "--remote-subject", "ring", "--service")
	w.isolated(false)
	w.all(
		attempt{name: "the service that is", from: "coke:all", subject: "ring", to: "pepsi:all", want: "delivered", on: "ring"},
		attempt{name: "not the other way round", from: "pepsi:all", subject: "ring", to: "coke:all", want: "none"},
	)
	w.nsc("delete", "import", "-a", "coke", "--subject", "ring")
	w.isolated(true)
}

// leaf: a leaf node is in the account of its credentials, whatever it says, and
// brings no more than its role grants.
func (w *war) leaf() {
	t := w.t
	w.all(attempt{name: "a leaf node's credentials as a client", from: "pepsi:edge", subject: "pepsi.x", to: "pepsi:all", want: "login_refused"})
	link := natstest.StartLeaf(t, natstest.LeafOptions{Name: "pepsi-edge", Remotes: w.leafs()[:1], Creds: w.creds("pepsi", "edge"), Domain: "edge"})
	natstest.Eventually(t, patience, link.Linked)
	edge, err := nats.Connect(link.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(edge.Close)
	coke, pepsi := w.client("coke:all"), w.client("pepsi:all")
	ears := map[*nats.Conn]*nats.Subscription{}
	for _, nc := range []*nats.Conn{edge, coke, pepsi} {
		if ears[nc], err = nc.SubscribeSync(">"); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	w.across(pepsi, ears[edge], "pepsi.ready", "")
	var sent []attempt
	for _, subject := range []string{"coke.orders.x", "orders.x", "$JS.API.STREAM.DELETE.SECRET", "$KV.config.a", "pepsi.x"} {
		sent = append(sent, attempt{from: "pepsi:edge", leaf: true, subject: subject, to: "pepsi:all", pattern: ">"})
		if err := errors.Join(edge.Publish(subject, []byte("edge")), coke.Publish(subject, []byte("coke")), coke.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	up := w.across(edge, ears[pepsi], "pepsi.up", "edge")
	for i, said := range w.predicted(sent) {
		subject := sent[i].subject
		if came := slices.Contains(up, subject); came != (subject == "pepsi.x") || came != (said.Outcome == "delivered") {
			t.Errorf("the leaf node's %s: %v, predicted %s", subject, came, said.Outcome)
		}
	}
	if down := w.across(pepsi, ears[edge], "pepsi.down", "coke"); len(down) > 0 {
		t.Errorf("coke's %v come to the leaf node", down)
	}
	for _, msg := range heard(t, coke, ears[coke]) {
		if string(msg.Data) == "edge" {
			t.Errorf("coke hears %s of the leaf node", msg.Subject)
		}
	}
	if log := link.Output(); strings.Contains(log, "Permissions Violation for Subscription") {
		t.Errorf("the role lacks what every leaf node subscribes to:\n%s", log)
	}
	if js, err := jetstream.New(pepsi); err != nil {
		t.Fatal(err)
	} else if _, err := js.Stream(t.Context(), "SECRET"); err != nil {
		t.Errorf("the leaf node deleted a stream: %v", err)
	}
}

// traces: what servers say of a message goes where its sender may publish, in its
// own account.
func (w *war) traces() {
	t := w.t
	w.all(attempt{name: "where a trace goes", from: "pepsi:all", subject: "coke.trace", to: "coke:all", pattern: ">", want: "none"})
	coke, pepsi := w.client("coke:all"), w.client("pepsi:all")
	others, err := coke.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	own, err := pepsi.SubscribeSync("coke.trace")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(coke.Flush(), pepsi.Flush()); err != nil {
		t.Fatal(err)
	}
	traced := nats.NewMsg("orders.new")
	traced.Header.Set("Nats-Trace-Dest", "coke.trace")
	if err := pepsi.PublishMsg(traced); err != nil {
		t.Fatal(err)
	}
	if _, err := own.NextMsg(patience); err != nil {
		t.Errorf("no trace: %v", err)
	}
	if list := heard(t, coke, others); len(list) > 0 {
		t.Errorf("coke hears %s", list[0].Subject)
	}
	device := w.client("pepsi:d1")
	traced.Subject = "pepsi.d1.x"
	if err := errors.Join(device.PublishMsg(traced), device.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := device.LastError(); err == nil || !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
		t.Errorf("a device has a trace sent where it may not publish: %v", err)
	}
}

// contract opens one subject from coke to pepsi, and nothing else; its
// activation is of no use to a third; closed, it ends on live subscriptions.
func (w *war) contract() {
	t := w.t
	var offered struct{ Contract struct{ ID string } }
	if r := w.nsc("offer", "--from", "coke", "--to", "pepsi", "--subject", "deals.*", "--json"); json.Unmarshal([]byte(r.out), &offered) != nil {
		t.Fatal(r)
	}
	w.isolated(true)
	w.nsc("accept", offered.Contract.ID)
	w.isolated(false)
	w.all(
		attempt{name: "what was agreed", from: "coke:all", subject: "deals.x", to: "pepsi:all", pattern: ">", want: "delivered", on: "coke.deals.x"},
		attempt{name: "something else", from: "coke:all", subject: "orders.x", to: "pepsi:all", pattern: ">", want: "none"},
		attempt{name: "backwards", from: "pepsi:all", subject: "coke.deals.x", to: "coke:all", pattern: ">", want: "none"},
		attempt{name: "to a third", from: "coke:all", subject: "deals.x", to: "platform:all", pattern: ">", want: "none"},
	)
	w.stolen()
	pepsi, coke := w.client("pepsi:all"), w.client("coke:all")
	live, err := pepsi.SubscribeSync("coke.deals.*")
	if err == nil {
		err = pepsi.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	w.nsc("contracts", "close", offered.Contract.ID, "--yes")
	if err := errors.Join(coke.Publish("deals.late", nil), coke.Flush()); err != nil {
		t.Fatal(err)
	}
	if list := heard(t, pepsi, live); len(list) > 0 {
		t.Errorf("a closed contract lets %s pass", list[0].Subject)
	}
	w.all(attempt{name: "what was agreed once", from: "coke:all", subject: "deals.x", to: "pepsi:all", pattern: ">", want: "none"})
	w.isolated(true)
}

// stolen: a third account that holds pepsi's activation is refused at the door,
// since servers would refuse the whole of it.
func (w *war) stolen() {
	t := w.t
	w.nsc("add", "account", "thief")
	decoded := func(name string) (*claims.Document, *jwt.AccountClaims) {
		doc, err := claims.Decode(strings.TrimSpace(w.nsc("describe", "account", name, "--raw").out))
		if err != nil {
			t.Fatal(err)
		}
		ac, err := claims.As[jwt.AccountClaims](doc)
		if err != nil {
			t.Fatal(err)
		}
		return doc, ac
	}
	_, pepsi := decoded("pepsi")
	i := slices.IndexFunc(pepsi.Imports, func(im *jwt.Import) bool { return im.Token != "" })
	own, _ := decoded("thief")
	hand := w.mustHand()
	draft, err := claims.Edit(own, func(c *jwt.AccountClaims) error {
		c.Imports.Add(pepsi.Imports[i])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	next, err := draft.Sign(hand.signer, time.Now().Unix())
	if err != nil {
		t.Fatal(err)
	}
	if res, err := hand.put(t.Context(), api.Item{JWT: next.Token, Base: own.ID}); fault.RuleOf(err) != "blocking" {
		t.Errorf("a stolen activation: %+v, %v", res, err)
	}
}
