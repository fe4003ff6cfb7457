package isolation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// Flow asks what becomes of one message for one subscription.
type Flow struct {
	From    string    `json:"from"` // account or account:user that publishes
	Subject string    `json:"subject"`
	Reply   string    `json:"reply,omitempty"` // reply subject of the message
	To      string    `json:"to"`              // account or account:user that subscribes
	Pattern string    `json:"pattern,omitempty"`
	Queue   string    `json:"queue,omitempty"` // queue group of the subscription, in which it is alone
	Place   Placement `json:"place,omitempty"`

	FromLeaf bool `json:"from_leaf,omitempty"` // From is the user of a leaf node, which sends what its own users publish
	ToLeaf   bool `json:"to_leaf,omitempty"`   // To is, and asks for what its own users subscribe to
}

// Placement says to which servers the two connect. It matters where a message
// came through a service import.
type Placement string

// Placements.
const (
	Anywhere Placement = ""      // any servers of the cluster
	Together Placement = "same"  // one server
	Apart    Placement = "apart" // two servers of a cluster
)

// Result is what happens, in the order in which servers judge: the logins, the
// subscription, the message.
type Result string

// Results.
const (
	Delivered       Result = "delivered"
	None            Result = "none"
	PublishDenied   Result = "publish_denied"
	SubscribeDenied Result = "subscribe_denied"
	LoginRefused    Result = "login_refused"
	Possible        Result = "possible" // servers leave it to chance, order or time
)

// Outcome is the answer to a Flow.
type Outcome struct {
	Result   Result   `json:"outcome"`
	Subjects []string `json:"subjects"` // one for each copy that arrives, sorted
	Rule     string   `json:"rule"`     // what decides, a short stable name
	Path     []string `json:"path"`     // step by step, in words
	Rules    []string `json:"-"`        // the rule of each step
}

// trial follows one message through one combination of choices.
type trial struct {
	*choices
	w     *World
	flow  Flow
	from  endpoint
	to    endpoint
	watch []interest

	got     []arrival
	path    []step // to where the message is now
	wire    tokens // what service imports take for its name, nil if that is its name
	routed  bool   // it came from another server, whose service imports it has passed
	blocked []step // of the first that did not
}

// step is one thing that happens to a message.
type step struct{ rule, text string }

// interest is what a subscription puts into an account.
type interest struct {
	at      *tenant
	pattern tokens
	link    *link // the stream import it goes through, nil in the own account
}

// maxRuns bounds the combinations of choices that are tried.
const maxRuns = 512

// Flow predicts what happens to a message.
func (w *World) Flow(f Flow) Outcome {
	return enumerate(func(c *choices) Outcome {
		t := w.trial(c, f)
		return t.run()
	})
}

// trial starts to follow a message.
func (w *World) trial(c *choices, f Flow) *trial {
	if f.Pattern == "" {
		f.Pattern = f.Subject
	}
	return &trial{choices: c, w: w, flow: f, from: c.one(w.login(f.From, f.FromLeaf)), to: c.one(w.login(f.To, f.ToLeaf))}
}

// enumerate tries every combination of choices. Answers that differ make one
// that is possible.
func enumerate(try func(*choices) Outcome) Outcome {
	c := &choices{why: map[string]bool{}, links: map[*link]bool{}}
	var first Outcome
	subjects := map[string]bool{}
	differ := false
	for range maxRuns {
		o := try(c)
		if c.void {
			if !c.next() {
				break
			}
			continue
		}
		if first.Result == "" {
			first = o
		}
		differ = differ || o.Result != first.Result || !slices.Equal(o.Subjects, first.Subjects)
		if o.Result == Delivered && first.Result != Delivered {
			first.Path, first.Rules = o.Path, o.Rules
		}
		for _, s := range o.Subjects {
			subjects[s] = true
		}
		if !c.next() {
			break
		}
	}
	if !differ {
		return first
	}
	return Outcome{
		Result: Possible, Rule: RuleChance, Subjects: slices.Sorted(maps.Keys(subjects)),
		Path: append(first.Path, slices.Sorted(maps.Keys(c.why))...), Rules: append(first.Rules, RuleChance),
	}
}

// run judges logins, subscription and message.
func (t *trial) run() Outcome {
	if o := t.admit(t.from, t.to); o != nil {
		return *o
	}
	return t.publish()
}

// admit judges logins and the subscription, nil if all is well.
func (t *trial) admit(who ...endpoint) *Outcome {
	refuse := func(r Result, rule, format string, args ...any) *Outcome {
		o := t.stop(r, rule, format, args...)
		return &o
	}
	for _, e := range who {
		if e.refused != "" {
			return refuse(LoginRefused, RuleLogin, "%s cannot log in: %s", e.label, e.refused)
		}
		if e.maybe != "" && t.pick(2, e.maybe) == 1 {
			return refuse(LoginRefused, RuleLogin, "%s may not be able to log in: %s", e.label, e.maybe)
		}
	}
	pattern := split(t.flow.Pattern)
	switch {
	case !valid(t.flow.Pattern):
		return refuse(SubscribeDenied, RuleSubject, "%s is not a subject that one can subscribe to", t.flow.Pattern)
	case t.to.leaf && !t.to.perms.mayAskFor(pattern):
		return refuse(SubscribeDenied, RuleSubscribe, "%s may not subscribe to %s, and is cut", t.to.label, pattern)
	case !t.to.leaf && (t.flow.Queue == "_sys_" || !t.to.perms.maySubscribe(pattern, t.flow.Queue)):
		return refuse(SubscribeDenied, RuleSubscribe, "%s may not subscribe to %s%s", t.to.label, pattern, queueText(t.flow.Queue))
	}
	streams, _ := t.w.links(t.to.tenant)
	if i := slices.IndexFunc(streams, func(l *link) bool { _, narrow := l.narrow(pattern); return narrow && l.deadly() }); i >= 0 {
		return refuse(Possible, RuleChance, "servers crash at the subscription: they cannot turn back the name that %s gives to the stream %s of %s",
			t.to.label, streams[i].remote, streams[i].exporter.label())
	}
	t.watch = t.interests(t.to.tenant, pattern)
	return nil
}

func queueText(queue string) string {
	if queue == "" {
		return ""
	}
	return " in the queue group " + queue
}

func (t *trial) stop(r Result, rule, format string, args ...any) Outcome {
	t.step(rule, format, args...)
	return answer(r, nil, t.path)
}

// answer is decided by the rule of the last step.
func answer(r Result, subjects []string, path []step) Outcome {
	slices.Sort(subjects)
	o := Outcome{Result: r, Subjects: append([]string{}, subjects...), Rule: path[len(path)-1].rule}
	for _, s := range path {
		o.Path, o.Rules = append(o.Path, s.text), append(o.Rules, s.rule)
	}
	return o
}

// step notes what happens to the message.
func (t *trial) step(rule, format string, args ...any) {
	t.path = append(slices.Clip(t.path), step{rule, fmt.Sprintf(format, args...)})
}

// block notes why a copy of the message ends here.
func (t *trial) block(rule, format string, args ...any) {
	if t.blocked == nil {
		t.blocked = append(slices.Clip(t.path), step{rule, fmt.Sprintf(format, args...)})
	}
}

// publish judges the message as servers do: renamed first, permitted second.
func (t *trial) publish() Outcome {
	at := t.from.tenant
	t.step(RulePublish, "%s publishes %s", t.from.label, t.flow.Subject)
	if t.from.leaf {
		return t.publishFromLeaf()
	}
	subject, _ := t.rename(at, split(t.flow.Subject))
	name := subject.String()
	switch {
	case t.from.maxPayload == 0:
		return t.stop(PublishDenied, RulePayload, "%s may publish empty messages only", t.from.label)
	case begins(name, "_GR_.") || begins(name, "$GR."):
		return t.stop(PublishDenied, RuleReserved, "servers keep %s for themselves", subject)
	case !t.from.perms.mayPublish(subject):
		return t.stop(PublishDenied, RulePublishPermission, "%s may not publish %s", t.from.label, subject)
	case strings.HasPrefix(name, "$NRG.") && at.claims.Subject != t.w.cfg.System:
		return t.stop(PublishDenied, RuleReserved, "servers keep %s for themselves", subject)
	case strings.HasPrefix(t.flow.Reply, "_R_.") || begins(t.flow.Reply, "$JS.ACK.") || begins(t.flow.Reply, "_GR_.") || begins(t.flow.Reply, "$GR."):
		return t.stop(PublishDenied, RuleReply, "servers keep the reply subject %s for themselves", t.flow.Reply)
	}
	t.deliver(at, subject, nil)
	return t.conclude(subject)
}

// publishFromLeaf judges a message that a leaf node sends: permitted first, by the
// name that it has on the wire, and renamed second. The ways of answers are open
// to every leaf node of the account.
func (t *trial) publishFromLeaf() Outcome {
	wire := t.flow.Subject
	if t.from.maxPayload == 0 {
		return t.stop(PublishDenied, RulePayload, "%s may send empty messages only", t.from.label)
	}
	if !t.from.perms.mayPublish(split(wire)) && !strings.HasPrefix(wire, "_R_.") && !strings.HasPrefix(wire, "$JS.ACK.") {
		return t.stop(PublishDenied, RulePublishPermission, "%s may not send %s, and is cut", t.from.label, wire)
	}
	subject, _ := t.rename(t.from.tenant, split(wire))
	if t.flow.Queue != "" && t.pick(2, "a leaf node says itself which queue groups get what it sends") == 1 {
		return t.stop(None, RuleChance, "it leaves out the queue group %s", t.flow.Queue)
	}
	t.deliver(t.from.tenant, subject, nil)
	return t.conclude(subject)
}

// conclude says what arrived, or why nothing did.
func (t *trial) conclude(subject tokens) Outcome {
	if len(t.got) > 0 {
		var names []string
		for _, a := range t.got {
			names = append(names, a.subject.String())
		}
		return answer(Delivered, names, t.got[0].path)
	}
	if t.blocked == nil {
		t.explain(subject)
	}
	return answer(None, nil, t.blocked)
}

// explain says why nothing was in the way and yet nothing arrived.
func (t *trial) explain(subject tokens) {
	from, to := t.from.tenant, t.to.tenant
	if from == to {
		t.block(RuleNoMatch, "the subscription to %s does not match", t.flow.Pattern)
		return
	}
	for _, r := range to.dropped {
		if r.kind == jwt.Stream && r.from == from.claims.Subject {
			t.block(RuleDropped, "%s imports a stream from %s, but servers drop the import: %s", to.label(), from.label(), r.why)
		}
	}
	for _, r := range from.dropped {
		if r.kind == jwt.Service && r.from == to.claims.Subject {
			t.block(RuleDropped, "%s imports a service from %s, but servers drop the import: %s", from.label(), to.label(), r.why)
		}
	}
	t.block(RuleNoImport, "no import takes %s from %s to %s at %s", subject, from.label(), to.label(), t.flow.Pattern)
}

// begins reports whether s has the prefix and more.
func begins(s, prefix string) bool { return len(s) > len(prefix) && strings.HasPrefix(s, prefix) }

// deliver brings a message that is named subject in an account to the
// subscription. via are the services that it came through.
func (t *trial) deliver(at *tenant, subject tokens, via []*link) {
	var copies []arrival
	for _, in := range t.watch {
		if in.at == at && in.pattern.matches(subject) {
			copies = t.arrive(copies, in, subject, via)
		}
	}
	if (t.flow.Queue != "" || t.to.leaf) && len(copies) > 1 { // its ways into the account are one group, or one link
		copies = copies[t.pick(len(copies), "a queue subscription or a leaf node takes one copy of those that reach an account in several ways"):][:1]
	}
	t.got = append(t.got, copies...)
	if t.routed {
		return
	}
	_, services := t.w.links(at)
	for _, l := range services {
		if l.local.matches(subject) {
			t.follow(l, subject, via)
		}
	}
}

// arrival is a copy of the message that a subscription can get.
type arrival struct {
	subject tokens
	via     []*link // the services that it came through
	link    *link   // the stream import, if any
	path    []step
}

// arrive adds the copy that comes to the subscription by one way, through its
// stream import if there is one.
func (t *trial) arrive(copies []arrival, in interest, subject tokens, via []*link) []arrival {
	path := t.path
	defer func() { t.path = path }()
	rule := RuleOwn
	if len(via) > 0 {
		rule = RuleService
	}
	if in.link != nil {
		if len(via) > 0 && !t.crosses(in) {
			return copies
		}
		rule = RuleStream
		was := subject
		subject = in.link.rename(subject)
		t.step(rule, "%s imports %s from %s as a stream%s", in.link.importer.label(), was, in.at.label(), asText(was, subject))
	}
	if t.to.perms.filters(split(t.flow.Pattern), t.flow.Queue, subject) || t.to.leaf && !t.to.perms.mayReceive(subject) {
		t.block(RuleFilter, "%s may not receive %s", t.to.label, subject)
		return copies
	}
	if t.to.leaf && kept(subject.String()) && t.pick(2, "whether servers send a leaf node what is JetStream's own depends on their domains") == 1 {
		t.block(RuleReserved, "servers keep %s from leaf nodes", subject)
		return copies
	}
	t.step(rule, "%s receives it on %s", t.to.label, subject)
	return append(copies, arrival{subject, via, in.link, t.path})
}

// kept reports whether a subject is one that JetStream uses within a domain.
func kept(name string) bool {
	return strings.HasPrefix(name, "$JS.API.") || strings.HasPrefix(name, "$KV.") || strings.HasPrefix(name, "$OBJ.") || strings.HasPrefix(name, "$O.")
}

func asText(was, is tokens) string {
	if slices.Equal(was, is) {
		return ""
	}
	return ", as " + is.String()
}

// crosses reports whether a message that came through a service import goes on
// to importers of a stream. One server stops it; the route to another server
// does not say where the message came from, and the other server lets it pass.
func (t *trial) crosses(in interest) bool {
	if t.to.leaf {
		t.step(RuleServiceStream, "servers pass on to leaf nodes what came through a service import, too")
		return true
	}
	apart := t.flow.Place == Apart
	if t.flow.Place == Anywhere {
		apart = t.pick(2, "what came through a service import reaches importers of a stream on other servers than the publisher's") == 1
	}
	if !apart {
		t.block(RuleServiceStream, "on one server, what came through a service import is not passed on to %s, which imports it as a stream",
			in.link.importer.label())
	} else {
		t.step(RuleServiceStream, "the route to another server does not say that it came through a service import")
	}
	return apart
}

// follow takes a message through a service import.
func (t *trial) follow(l *link, subject tokens, via []*link) {
	path := t.path
	defer func() { t.path = path }()
	if t.loops(l, subject, via) {
		return
	}
	if t.withheld(subject, l) || !t.there(t.w, l) {
		return
	}
	to := l.rename(subject)
	if wire := t.wire; wire != nil {
		to = l.rename(wire)
		t.wire = nil
		defer func() { t.wire = wire }()
	}
	t.step(RuleService, "%s imports the service %s of %s%s", l.importer.label(), l.export, l.exporter.label(), asText(subject, to))
	if to, ok := t.rename(l.exporter, to); ok {
		t.deliver(l.exporter, to, append(slices.Clip(via), l))
	}
}

// loops reports whether servers see that the message went through the export
// before. They compare exports as they were when each import was made, and an
// account that was read anew since has new ones.
func (t *trial) loops(l *link, subject tokens, via []*link) bool {
	for _, before := range via {
		if before.exporter != l.exporter || before.export != l.export {
			continue
		}
		const late = "servers see a loop of services only if the exporter was not read anew after the importer"
		if before == l || t.pick(2, late) == 0 {
			t.block(RuleLoop, "%s was already passed by the service %s of %s", subject, l.export, l.exporter.label())
			return true
		}
	}
	return false
}

// withheld reports whether servers keep a JetStream request from the system
// account.
func (t *trial) withheld(subject tokens, l *link) bool {
	name := subject.String()
	return l.remote.String() == jsAPI && l.exporter.claims.Subject == t.w.cfg.System &&
		(strings.HasPrefix(name, "$JS.API.DIRECT.GET.") || strings.HasPrefix(name, "$JS.API.CONSUMER.MSG.NEXT."))
}

// rename gives a message the name that it has on the other side of an import.
func (l *link) rename(subject tokens) tokens {
	switch {
	case l.forth != nil:
		return l.forth.apply(subject, nil)
	case l.same:
		return subject
	case l.kind == jwt.Service:
		return l.remote
	}
	return l.local
}

// interests are what a subscription makes servers look for: its pattern in its
// own account, and for each stream import that it meets a pattern in the
// exporter.
func (t *trial) interests(at *tenant, pattern tokens) []interest {
	out := []interest{{at: at, pattern: pattern}}
	streams, _ := t.w.links(at)
	for _, l := range streams {
		remote, ok := l.shadow(pattern)
		if ok && t.there(t.w, l) {
			out = append(out, interest{at: l.exporter, pattern: remote, link: l})
		}
	}
	return out
}
