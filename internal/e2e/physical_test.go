package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/operator/nscstore"
)

// physical is act 11: Pepsi runs a leaf node of its own and keeps its data there;
// what its contracts say crosses, and nothing else, whatever runs at the edge.
func (s *story) physical() {
	t := s.t
	s.nsc("add", "account", "coke")
	s.nsc("add", "account", "pepsi")
	s.jetStream("pepsi")
	for _, offer := range [][]string{
		{"--from", "coke", "--to", "pepsi", "--subject", "orders.*"},
		{"--from", "coke", "--to", "pepsi", "--subject", "price.get", "--service"},
		{"--from", "pepsi", "--to", "coke", "--subject", "stock.*"},
		{"--from", "pepsi", "--to", "coke", "--subject", "taste", "--service"},
	} {
		s.nsc(append([]string{"offer"}, offer...)...)
	}
	for _, id := range strings.Fields(s.nsc("contracts", "list", "-o", "name").out) {
		s.nsc("accept", id)
	}
	config := []string{"generate", "config", "--leaf", strings.Join(s.leafs(), ","), "-a", "pepsi", "-u", "edge", "--shared-only", "--domain", "pepsi"}
	s.user("pepsi", "edge")
	if r := s.nscExits(4, config...); !strings.Contains(r.err, "nsc add role edge -a pepsi --template edge") {
		t.Errorf("%s", r)
	}
	s.nsc("delete", "user", "edge", "-a", "pepsi", "--yes")
	s.nsc("add", "role", "edge", "-a", "pepsi", "--template", "edge")
	edge := s.user("pepsi", "edge", "-K", "edge")
	text := s.nsc(config...).out
	for _, other := range []string{"coke"} {
		if strings.Contains(text, s.accountOnDisk(other).Subject+":") {
			t.Errorf("the leaf node holds account %s", other)
		}
	}
	leaf := natstest.StartServer(t, strings.Replace(text, `"./jetstream"`, fmt.Sprintf("%q", t.TempDir()), 1)+"server_name: pepsi-edge\n")
	natstest.Eventually(t, patience, leaf.Linked)
	s.keepsData(leaf.URL, s.user("pepsi", "till"))
	s.crosses(leaf.URL, s.user("pepsi", "hq"), s.user("coke", "till"))
	s.hostileLeaf(edge, s.creds("pepsi", "hq"), s.creds("coke", "till"))
}

// keepsData fills a stream on the leaf node, of which the hub has nothing.
func (s *story) keepsData(leafURL, creds string) {
	t := s.t
	js, err := s.dial(leafURL, creds).JetStream(nats.Domain("pepsi"))
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() error {
		_, err := js.AddStream(&nats.StreamConfig{Name: "sales", Subjects: []string{"sales.>"}})
		return err
	})
	if _, err := js.Publish("sales.1", []byte("secret recipe")); err != nil {
		t.Fatal(err)
	}
	hub := s.dial(s.ready.Nodes[0].URL, creds)
	for _, opts := range [][]nats.JSOpt{nil, {nats.Domain("pepsi")}} {
		js, err := hub.JetStream(append(opts, nats.MaxWait(time.Second))...)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := js.StreamInfo("sales"); err == nil {
			t.Errorf("the hub reaches the stream of the leaf node: %+v", info.Config)
		}
	}
}

// crosses tries what is shared and what is not, between the leaf node, the
// tenant's client at the hub, and the other tenant.
func (s *story) crosses(leafURL, hq, coke string) {
	t := s.t
	edge, hub, other := s.dial(leafURL, hq), s.dial(s.ready.Nodes[1].URL, hq), s.dial(s.ready.Nodes[2].URL, coke)
	all := func(nc *nats.Conn, pattern string) *nats.Subscription {
		sub, err := nc.SubscribeSync(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return sub
	}
	answer := func(nc *nats.Conn, subject string) {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(subject)) }); err != nil {
			t.Fatal(err)
		}
	}
	atEdge, atHub, atCoke := all(edge, ">"), all(hub, ">"), all(other, ">")
	answer(other, "price.get")
	answer(edge, "taste")
	for _, ask := range []struct {
		by      *nats.Conn
		subject string
	}{{edge, "coke.price.get"}, {other, "pepsi.taste"}} {
		natstest.Eventually(t, patience, func() error { _, err := ask.by.Request(ask.subject, nil, time.Second); return err })
	}
	send := func(nc *nats.Conn, subject, text string) {
		if err := nc.Publish(subject, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, subject := range []string{"secret", "sales.2", "orders.1", "coke.orders.1", "$KV.recipes.cola"} {
		send(edge, subject, "edge only")
		send(hub, subject, "hub only")
	}
	send(edge, "stock.7", "stock")
	send(other, "orders.7", "orders")
	arrives := func(sub *nats.Subscription, subject, never string) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; {
			m, err := sub.NextMsg(time.Until(deadline))
			if err != nil {
				t.Fatalf("%s does not arrive: %v", subject, err)
			}
			if string(m.Data) == never && m.Subject != "coke.orders.1" { // a name that the contract has
				t.Errorf("%s crosses", m.Subject)
			}
			if m.Subject == subject {
				return
			}
		}
	}
	arrives(atEdge, "coke.orders.7", "hub only")
	arrives(atHub, "stock.7", "edge only")
	arrives(atCoke, "pepsi.stock.7", "edge only")
}

// hostileLeaf is no nats-server: it speaks the protocol by hand with the
// credentials of the leaf node, and tries what a server would not.
func (s *story) hostileLeaf(creds, hq, coke string) {
	t := s.t
	hub, other := s.dial(s.ready.Nodes[0].URL, hq), s.dial(s.ready.Nodes[0].URL, coke)
	heard := make(chan string, 100)
	for _, nc := range []*nats.Conn{hub, other} {
		if _, err := nc.Subscribe(">", func(m *nats.Msg) { heard <- m.Subject }); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	try := func(lines string) string { return dialLeaf(t, s.leafs()[0], creds).try(lines) }
	if answer := try("LS+ secret\r\n"); !strings.Contains(answer, "Permissions Violation") {
		t.Errorf("a hostile leaf node subscribes to secret: %s", answer)
	}
	// Servers let every leaf node publish and subscribe to some subjects of their
	// own, within its account.
	own := []string{"_R_.x", "$JS.ACK.x", "_GR_.x"}
	for _, subject := range append([]string{"secret", "coke.secret", "$JS.API.STREAM.DELETE.x", "$SYS.x", "$LDS.x", "stock.8"}, own...) {
		try(fmt.Sprintf("LMSG %s 2\r\nhi\r\n", subject))
	}
	got := map[string]bool{}
	for !got["stock.8"] || !got["pepsi.stock.8"] {
		select {
		case subject := <-heard:
			got[subject] = true
		case <-time.After(patience):
			t.Fatalf("only %v came", got)
		}
	}
	t.Logf("a hostile leaf node publishes, within its account: %v", slices.Sorted(maps.Keys(got)))
	for subject := range got {
		if !slices.Contains(append(own, "stock.8", "pepsi.stock.8"), subject) {
			t.Errorf("a hostile leaf node publishes %s", subject)
		}
	}
	raw := dialLeaf(t, s.leafs()[0], creds)
	// Wider subscriptions are taken, and looked at message by message.
	if answer := raw.try("LS+ >\r\nLS+ *.x\r\nLS+ _R_.>\r\nLS+ _GR_.>\r\nLS+ $JS.API.>\r\nLS+ coke.orders.*\r\n"); answer != "PONG" {
		t.Fatalf("%s", answer)
	}
	for _, subject := range []string{"secret", "secret.x", "_R_.x", "$JS.ACK.x", "$LDS.x", "$SYS.x", "$JS.API.INFO", "coke.orders.x.y"} {
		if err := hub.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(hub.Flush(), other.Publish("orders.9", nil)); err != nil {
		t.Fatal(err)
	}
	for subject := ""; subject != "coke.orders.9"; {
		line := raw.line()
		if !strings.HasPrefix(line, "LMSG ") {
			continue
		}
		if subject = strings.Fields(line)[1]; subject != "coke.orders.9" {
			t.Errorf("a hostile leaf node hears %s", subject)
		}
	}
}

// rawLeaf is a connection to a leaf-node listener without a server behind it.
type rawLeaf struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dialLeaf(t testing.TB, leafURL, creds string) *rawLeaf {
	t.Helper()
	u, err := url.Parse(leafURL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	raw := &rawLeaf{t, conn, bufio.NewReader(conn)}
	var info struct{ Nonce string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(raw.line(), "INFO ")), &info); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Clean(creds))
	if err != nil {
		t.Fatal(err)
	}
	token, seed, err := nscstore.ParseCreds(data)
	if err != nil {
		t.Fatal(err)
	}
	kp, err := nkeys.FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := kp.Sign([]byte(info.Nonce))
	if err != nil {
		t.Fatal(err)
	}
	raw.send("CONNECT %s\r\n", must(json.Marshal(map[string]any{
		"jwt": token, "sig": base64.RawURLEncoding.EncodeToString(sig), "name": "hostile", "server_id": "NHOSTILE", "version": "2.15.2", "headers": true,
	})))
	if answer := raw.try(""); answer != "PONG" {
		t.Fatalf("the hub does not take the leaf node: %s", answer)
	}
	return raw
}

// try sends lines and returns PONG, or the error of the hub.
func (r *rawLeaf) try(lines string) string {
	r.t.Helper()
	r.send("%sPING\r\n", lines)
	for {
		if line := r.line(); line == "PONG" || strings.HasPrefix(line, "-ERR") {
			return line
		}
	}
}

func (r *rawLeaf) send(format string, args ...any) {
	r.t.Helper()
	if _, err := fmt.Fprintf(r, format, args...); err != nil {
		r.t.Fatal(err)
	}
}

// line reads a line; a message's payload is one, too.
func (r *rawLeaf) line() string {
	r.t.Helper()
	_ = r.SetReadDeadline(time.Now().Add(patience))
	text, err := r.r.ReadString('\n')
	if err != nil {
		r.t.Fatalf("the hub ends the leaf node's connection: %v", err)
	}
	text = strings.TrimSpace(text)
	if text == "PING" {
		r.send("PONG\r\n")
	}
	return text
}
