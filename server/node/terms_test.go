package node

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
)

// contract is one import with an activation.
type contract struct {
	kind          jwt.ExportType
	remote, local string
	activation    string // what the activation is for
	publish, on   string // by whom sends, and where it arrives
}

// contracts are imports whose end servers notice by themselves, and imports
// whose end they do not.
var contracts = []contract{
	{jwt.Stream, "s.plain", "s.plain", "s.plain", "s.plain", "s.plain"},
	{jwt.Stream, "s.named", "in.named", "s.named", "s.named", "in.named"},
	{jwt.Stream, "s.wide.*", "in.wide.$1", "s.wide.>", "s.wide.a", "in.wide.a"},
	{jwt.Service, "q.plain", "q.plain", "q.plain", "q.plain", "q.plain"},
	{jwt.Service, "q.named", "ask.named", "q.named", "ask.named", "q.named"},
	{jwt.Service, "q.wide.*", "ask.wide.$1", "q.wide.>", "ask.wide.a", "q.wide.a"},
	{jwt.Service, "q.swap.*.*", "ask.swap.$2.$1", "q.swap.*.*", "ask.swap.b.a", "q.swap.a.b"},
	{jwt.Service, "q.all.>", "q.all.>", "q.>", "q.all.a.b", "q.all.a.b"},
}

// sharing makes two accounts with all contracts until end.
func (w *world) sharing(end int64) (exporter, importer *tenant) {
	w.t.Helper()
	exporter = w.account("COKE", func(ac *jwt.AccountClaims) {
		ac.Exports.Add(&jwt.Export{Subject: "s.>", Type: jwt.Stream, TokenReq: true}, &jwt.Export{Subject: "q.>", Type: jwt.Service, TokenReq: true})
	})
	importer = w.unsaved("PEPSI")
	for _, c := range contracts {
		importer.claims.Imports.Add(exporter.lets(importer, c, end))
	}
	importer.put()
	return exporter, importer
}

func (a *tenant) lets(importer *tenant, c contract, end int64) *jwt.Import {
	a.w.t.Helper()
	act := jwt.NewActivationClaims(importer.key)
	act.ImportSubject, act.ImportType, act.Expires = jwt.Subject(c.activation), c.kind, end
	return &jwt.Import{
		Account: a.key, Subject: jwt.Subject(c.remote), LocalSubject: jwt.RenamingSubject(c.local), Type: c.kind, Token: must(a.w.t)(act.Encode(a.kp)),
	}
}

// trial is a live subscription for each contract.
type trial struct {
	t        *testing.T
	from, to []*nats.Conn
	subs     []*nats.Subscription
}

func newTrial(t *testing.T, exporter, importer *conn) trial {
	t.Helper()
	tr := trial{t: t}
	for _, c := range contracts {
		from, to := exporter.Conn, importer.Conn
		if c.kind == jwt.Service {
			from, to = to, from
		}
		sub, err := to.SubscribeSync(c.on)
		if err != nil {
			t.Fatal(err)
		}
		tr.from, tr.to, tr.subs = append(tr.from, from), append(tr.to, to), append(tr.subs, sub)
	}
	return tr
}

// flows tells of each contract whether a message came through, as a text of + and -.
func (tr trial) flows() string {
	tr.t.Helper()
	for _, c := range tr.to {
		tr.flush(c)
	}
	for i, c := range contracts {
		if err := tr.from[i].Publish(c.publish, nil); err != nil {
			tr.t.Fatal(err)
		}
	}
	for _, c := range append(tr.from, tr.to...) {
		tr.flush(c)
	}
	out := ""
	for _, sub := range tr.subs {
		n, _, err := sub.Pending()
		if err != nil {
			tr.t.Fatal(err)
		}
		mark := "-"
		for range n {
			mark = "+"
			if _, err := sub.NextMsg(patience); err != nil {
				tr.t.Fatal(err)
			}
		}
		out += mark
	}
	return out
}

func (tr trial) flush(c *nats.Conn) {
	tr.t.Helper()
	if err := c.FlushTimeout(patience); err != nil {
		tr.t.Fatal(err)
	}
}

// becomes waits until flows are so and returns when.
func (tr trial) becomes(want string) time.Time {
	tr.t.Helper()
	for begin := time.Now(); ; {
		got := tr.flows()
		if got == want {
			return time.Now()
		}
		if time.Since(begin) > patience {
			tr.t.Fatalf("flows are %s, want %s: of %v", got, want, contracts)
		}
	}
}

const all, none = "++++++++", "--------"

// Fact 38: servers end some imports with their activations, and not others. A
// node ends all, for live subscriptions, and shows it.
func TestContractsEndByThemselves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	end := time.Now().Unix() + 6
	exporter, importer := w.sharing(end)
	inForce(t, n, importer.rec)
	from, to := connect(t, n, exporter.user("from", nil)), connect(t, n, importer.user("to", nil))
	tr := newTrial(t, from, to)
	if at := tr.becomes(all); at.Unix() >= end {
		t.Fatalf("it took until %s for the contracts to be in force", at)
	}
	took := tr.becomes(none).Sub(time.Unix(end, 0))
	if took < 0 {
		t.Errorf("ended %s after the time", took)
	}
	t.Logf("nothing flows any more %s after the end", took)
	z, err := n.srv.Accountz(&server.AccountzOptions{Account: importer.key})
	if err != nil {
		t.Fatal(err)
	}
	for _, im := range z.Account.Imports {
		if im.Account == exporter.key && !im.Invalid {
			t.Errorf("the server still honours %s", im.Subject)
		}
	}
	to.alive(t)
	if p := n.Proof(importer.key); p.State != api.InForce {
		t.Errorf("%+v", p)
	}
	// It goes on when it is renewed, and another version does not revive the rest.
	for i, im := range importer.claims.Imports { // which are sorted when they are signed
		if string(im.LocalSubject) == contracts[4].local {
			importer.claims.Imports[i] = exporter.lets(importer, contracts[4], end+3600)
		}
	}
	inForce(t, n, importer.put())
	tr.becomes("----+---")
	exporter.claims.Exports.Add(&jwt.Export{Subject: "other", Type: jwt.Stream})
	inForce(t, n, exporter.put())
	tr.becomes("----+---")
}

// What has ended while a node was down does not come back with it.
func TestContractsEndWhileANodeIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	end := time.Now().Unix() + 2
	exporter, importer := w.sharing(end)
	n := w.start(Config{Dir: dir})
	to := connect(t, n, importer.user("to", nil))
	stop(t, n, Now)
	to.gone(t)
	<-time.After(time.Until(time.Unix(end, 0)))
	n = w.start(Config{Dir: dir})
	tr := newTrial(t, connect(t, n, exporter.user("from", nil)), connect(t, n, importer.user("to", nil)))
	if got := tr.flows(); got != none {
		t.Errorf("flows are %s", got)
	}
	if p := n.Proof(importer.key); p.State != api.InForce || !p.Loaded {
		t.Errorf("%+v", p)
	}
}

// A clock that is set forward is noticed.
func TestContractsEndWhenTheClockIsSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var behind atomic.Int64
	behind.Store(int64(time.Hour))
	n := w.start(Config{Now: func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }})
	end := time.Now().Unix() + 2
	exporter, importer := w.sharing(end)
	inForce(t, n, importer.rec)
	tr := newTrial(t, connect(t, n, exporter.user("from", nil)), connect(t, n, importer.user("to", nil)))
	tr.becomes(all)
	tr.becomes("--+-++++") // what the server itself ends
	behind.Store(0)
	tr.becomes(none)
}

// The queue holds one time an account, the earliest.
func TestTerms(t *testing.T) {
	t.Parallel()
	q := newTerms()
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for i := range int64(100) {
		q.set(fmt.Sprint("a", i%10), at(1000-i))
	}
	q.look("a3")
	if key, _ := q.due(at(0)); key != "a3" {
		t.Errorf("first %q", key)
	}
	if key, next := q.due(at(0)); key != "" || !next.Equal(at(901)) {
		t.Errorf("%q, next at %s", key, next)
	}
	q.set("a9", at(2000)) // later than what is there
	for i := int64(9); i >= 0; i-- {
		if i == 3 {
			continue
		}
		if key, _ := q.due(at(3000)); key != fmt.Sprint("a", i) {
			t.Errorf("got %q, want a%d", key, i)
		}
	}
	if key, next := q.due(at(3000)); key != "" || !next.IsZero() || len(q.queue)+len(q.at) != 0 {
		t.Errorf("%q, %s, %d left", key, next, len(q.queue))
	}
}

// An activation that is not valid yet: servers drop the import when they read the
// account, and look at it never again. A node opens it at its second, for live
// subscriptions, whatever else the account lacks.
func TestContractsStartByThemselves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.start(Config{})
	exporter, importer := w.sharing(time.Now().Unix() + 3600)
	start := time.Now().Unix() + 6
	for i, im := range importer.claims.Imports {
		act, err := jwt.DecodeActivationClaims(im.Token)
		if err != nil {
			t.Fatal(err)
		}
		act.NotBefore = start
		importer.claims.Imports[i].Token = must(t)(act.Encode(exporter.kp))
	}
	inForce(t, n, importer.put()) // nobody has loaded it yet
	from, to := connect(t, n, exporter.user("from", nil)), connect(t, n, importer.user("to", nil))
	tr := newTrial(t, from, to)
	if got := tr.flows(); got != none || time.Now().Unix() >= start {
		t.Fatalf("flows are %s before the start", got)
	}
	took := tr.becomes(all).Sub(time.Unix(start, 0))
	if took < 0 {
		t.Errorf("open %s after the time", took)
	}
	to.alive(t)
	if p := n.Proof(importer.key); p.State != api.InForce {
		t.Errorf("%+v", p)
	}
}
