package isolation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/accounts/isolation"
)

// fact is one thing that servers do and an analysis easily gets wrong.
type fact struct {
	name     string
	tenants  []*tenantKeys
	others   []*tenantKeys // neither publish nor subscribe
	from, to *user         // users of the first tenants that have them
	subject  string
	reply    string
	pattern  string
	queue    string
	fromLeaf bool // the publisher is a leaf node
	toLeaf   bool // the subscriber is
	apart    bool // subscriber and publisher are on different servers
	want     isolation.Result
	subjects []string
	rule     string
}

func (a *tenantKeys) exports(kind jwt.ExportType, subjects ...string) *tenantKeys {
	for _, s := range subjects {
		a.claims.Exports.Add(&jwt.Export{Subject: jwt.Subject(s), Type: kind})
	}
	return a
}

func (a *tenantKeys) importing(kind jwt.ExportType, from *tenantKeys, subject, local string) *tenantKeys {
	a.claims.Imports.Add(&jwt.Import{Account: from.pub, Subject: jwt.Subject(subject), LocalSubject: jwt.RenamingSubject(local), Type: kind})
	return a
}

func (a *tenantKeys) mapping(src string, dests ...string) *tenantKeys {
	var list []jwt.WeightedMapping
	for _, d := range dests {
		list = append(list, jwt.WeightedMapping{Subject: jwt.Subject(d), Weight: uint8(100 / len(dests))})
	}
	a.claims.Mappings[jwt.Subject(src)] = list
	return a
}

// may adds a user with permissions.
func (a *tenantKeys) may(p jwt.Permissions) *user {
	u := a.newUser("limited")
	u.claims.Permissions = p
	a.sign(u, a.pair)
	return u
}

func pub(allow ...string) jwt.Permissions {
	return jwt.Permissions{Pub: jwt.Permission{Allow: allow}}
}

func sub(allow, deny []string) jwt.Permissions {
	return jwt.Permissions{Sub: jwt.Permission{Allow: allow, Deny: deny}}
}

// streamed are an exporter and an importer of one stream.
func streamed(subject, local string) []*tenantKeys {
	a := newTenant("a").exports(jwt.Stream, subject)
	return []*tenantKeys{a, newTenant("b").importing(jwt.Stream, a, subject, local)}
}

// facts returns the pinned cases. Their publisher is a user of the first
// tenant, their subscriber one of the last, unless they say otherwise.
func facts() []fact {
	relay := func() []*tenantKeys { // b asks a, which offers what it gets as a stream to c
		a := newTenant("a").exports(jwt.Service, "x").exports(jwt.Stream, "x")
		return []*tenantKeys{newTenant("b").importing(jwt.Service, a, "x", ""), a, newTenant("c").importing(jwt.Stream, a, "x", "")}
	}
	chain := func() []*tenantKeys {
		d := newTenant("d").exports(jwt.Service, "deep.*")
		a := newTenant("a").exports(jwt.Service, "mid.*").importing(jwt.Service, d, "deep.*", "mid.$1")
		return []*tenantKeys{newTenant("b").importing(jwt.Service, a, "mid.*", "ask.$1"), a, d}
	}
	one := func(a *tenantKeys) []*tenantKeys { return []*tenantKeys{a} }
	round := newTenant("a").exports(jwt.Service, "n.*")
	turn := newTenant("b").exports(jwt.Service, "n.c").importing(jwt.Service, round, "n.*", "")
	round.importing(jwt.Service, turn, "n.c", "")
	closed := newTenant("a").exports(jwt.Stream, "x")
	closed.claims.Exports[0].TokenReq = true
	open := newTenant("b").exports(jwt.Stream, "x").importing(jwt.Stream, closed, "x", "")
	closed.importing(jwt.Stream, open, "x", "")
	hole, mirror, filtered, mapped, widened := newTenant("t"), newTenant("t"), newTenant("t"), newTenant("t").mapping("in", "out"), newTenant("t")
	position := newTenant("a")
	position.claims.Exports.Add(&jwt.Export{Subject: "acc.*.x", Type: jwt.Stream, AccountTokenPosition: 2})
	twice := newTenant("a").exports(jwt.Stream, "o.*")
	both := newTenant("b").importing(jwt.Stream, twice, "o.*", "").importing(jwt.Stream, twice, "o.a", "")
	hop := newTenant("a").exports(jwt.Stream, "s")
	middle := newTenant("m").importing(jwt.Stream, hop, "s", "").exports(jwt.Stream, "s")
	kind := newTenant("a").exports(jwt.Service, "x")
	cross := newTenant("b").importing(jwt.Service, kind, "x", "").mapping("away", "x")
	pushed := newTenant("a").exports(jwt.Service, "open").mapping("open", "hidden")
	return []fact{
		{name: "a stream import renames", tenants: streamed("s.*.*", "in.$2.$1"), subject: "s.a.b", pattern: "in.>", want: isolation.Delivered, subjects: []string{"in.b.a"}},
		{name: "a narrower subscription to a rename of three wildcards is put on the wrong subject", tenants: streamed("q.*.*.*", "x.$2.$3.$1"),
			subject: "q.a.b.c", pattern: "x.c.a.b", want: isolation.Delivered, subjects: []string{"x.b.c.a"}},
		{name: "and on the right name gets nothing", tenants: streamed("q.*.*.*", "x.$2.$3.$1"), subject: "q.a.b.c", pattern: "x.b.c.a", want: isolation.None},
		{name: "streams are one hop", tenants: []*tenantKeys{hop, middle, newTenant("c").importing(jwt.Stream, middle, "s", "")}, subject: "s", pattern: ">",
			want: isolation.None, rule: isolation.RuleNoImport},
		{name: "overlapping imports deliver twice", tenants: []*tenantKeys{twice, both}, subject: "o.a", pattern: ">",
			want: isolation.Delivered, subjects: []string{"o.a", "o.a"}},
		{name: "services chain, with renames", tenants: chain(), subject: "ask.q", pattern: ">", want: isolation.Delivered, subjects: []string{"deep.q"}},
		{name: "on one server a service does not go on to a stream", tenants: relay(), subject: "x", pattern: "x", want: isolation.None, rule: isolation.RuleServiceStream},
		{name: "on two servers it does", tenants: relay(), subject: "x", pattern: "x", apart: true, want: isolation.Delivered, subjects: []string{"x"}},
		{name: "the importer's mapping leads into a service", tenants: []*tenantKeys{cross, kind}, subject: "away", pattern: "x", want: isolation.Delivered, subjects: []string{"x"}},
		{name: "the exporter's mapping leads to what is not exported", tenants: []*tenantKeys{newTenant("b").importing(jwt.Service, pushed, "open", ""), pushed},
			subject: "open", pattern: "hidden", want: isolation.Delivered, subjects: []string{"hidden"}},
		{name: "what is not exported is not reached", tenants: []*tenantKeys{newTenant("b").importing(jwt.Service, kind, "y", ""), kind}, subject: "y", pattern: ">",
			want: isolation.None, rule: isolation.RuleDropped},
		{name: "an account token cannot be imported verbatim", tenants: []*tenantKeys{position, newTenant("b").importing(jwt.Stream, position, "acc.*.x", "")},
			subject: "acc.me.x", pattern: ">", want: isolation.None, rule: isolation.RuleDropped},
		{name: "an allowed star lets a tail pass", tenants: one(hole), to: hole.may(sub([]string{"foo.*"}, nil)), subject: "foo.a.b", pattern: "foo.>",
			want: isolation.Delivered, subjects: []string{"foo.a.b"}},
		{name: "an allowed star lets everything pass", tenants: one(widened), to: widened.may(sub([]string{"*"}, nil)), subject: "foo.a.b", pattern: ">",
			want: isolation.Delivered, subjects: []string{"foo.a.b"}},
		{name: "a denied star refuses a tail", tenants: one(mirror), to: mirror.may(sub(nil, []string{"foo.*"})), subject: "foo.a.b", pattern: "foo.>",
			want: isolation.SubscribeDenied, rule: isolation.RuleSubscribe},
		{name: "a denied subject is held back from a wider subscription", tenants: one(filtered), to: filtered.may(sub(nil, []string{"foo.a"})), subject: "foo.a",
			pattern: "foo.*", want: isolation.None, rule: isolation.RuleFilter},
		{name: "permissions see the mapped subject", tenants: one(mapped), from: mapped.may(pub("in")), subject: "in", pattern: "out",
			want: isolation.PublishDenied, rule: isolation.RulePublishPermission},
		{name: "the reply of a service cannot be forged", tenants: one(newTenant("t")), subject: "x", reply: "_R_.a.b", pattern: "x",
			want: isolation.PublishDenied, rule: isolation.RuleReply},
		{name: "the inbox of another account is not heard", tenants: []*tenantKeys{newTenant("a"), newTenant("b")}, subject: "_INBOX.x", pattern: "_INBOX.>",
			want: isolation.None, rule: isolation.RuleNoImport},
		{name: "the JetStream API of another account is not reached", tenants: []*tenantKeys{newTenant("a"), newTenant("b")}, subject: "$JS.API.STREAM.NAMES",
			pattern: "$JS.API.>", want: isolation.None},
		{name: "one side of a cycle is left out, so that nothing goes round", tenants: one(round), others: one(turn), subject: "n.c", pattern: "n.*",
			want: isolation.Delivered, subjects: []string{"n.c"}},
		{name: "an import without authorisation closes no cycle", tenants: []*tenantKeys{open, closed}, subject: "x", pattern: "x",
			want: isolation.Delivered, subjects: []string{"x"}},
		{name: "literal wildcards are tokens", tenants: streamed("l.*", "q.$1"), subject: "l.*", pattern: "q.*", want: isolation.Delivered, subjects: []string{"q.*"}},
	}
}

// TestFacts pins what the predictions rest on, each on real servers.
func TestFacts(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for _, f := range slices.Concat(facts(), roleFacts(), readyFacts(), leafFacts()) {
		s := f.scene()
		r := c.run(t, s)
		for _, m := range newTally().compare(r, f.name) {
			t.Error(m.text)
		}
		got, subjects := r.observed(0, 0)
		out := r.world.Flow(r.flow(0, 0))
		if got != f.want || !slices.Equal(subjects, f.subjects) || f.rule != "" && out.Rule != f.rule {
			t.Errorf("%s: %s %v by %q", f.name, got, subjects, out.Rule)
		}
	}
}

func (f fact) scene() *scene {
	first, last := f.tenants[0], f.tenants[len(f.tenants)-1]
	if f.from == nil {
		f.from = first.newUser("from")
	}
	if f.to == nil {
		f.to = last.newUser("to")
	}
	s := &scene{tenants: slices.Concat(f.tenants, f.others)}
	s.subs = []subscriber{{who: last, user: f.to, pattern: f.pattern, queue: f.queue, leaf: f.toLeaf}}
	s.pubs = []publisher{{who: first, user: f.from, leaf: f.fromLeaf, message: message{f.subject, f.reply, f.name}}}
	if f.apart {
		s.pubs[0].node = 1
	}
	return s
}

// roleFacts are about roles, defaults and activations.
func roleFacts() []fact {
	role := func(name string, p jwt.Permissions) (*tenantKeys, *user) {
		a := newTenant("t")
		key := newPair(nkeys.PrefixByteAccount)
		scope := jwt.NewUserScope()
		scope.Key, scope.Template.Permissions = key.pub, p
		a.claims.SigningKeys.AddScopedSigner(scope)
		u := a.newUser(name)
		u.claims.SetScoped(true)
		a.sign(u, key)
		return a, u
	}
	wide, star := role(">", pub("p.{{name()}}"))
	dots, dotted := role("a.b", pub("p.{{name()}}.x"))
	none, untagged := role("u", pub("p.{{tag(x)}}"))
	broken, denied := role("u", jwt.Permissions{Pub: jwt.Permission{Deny: jwt.StringList{"p.{{tag(x)}}"}}})
	switched, defaults := newTenant("t"), newTenant("t")
	for _, a := range []*tenantKeys{switched, defaults} {
		a.claims.DefaultPermissions = pub("only.this")
	}
	token := func(change func(*jwt.ActivationClaims, *jwt.Export)) []*tenantKeys {
		a := newTenant("a")
		e := &jwt.Export{Subject: "p.*", Type: jwt.Stream, TokenReq: true}
		a.claims.Exports.Add(e)
		b := newTenant("b")
		act := jwt.NewActivationClaims(b.pub)
		act.ImportSubject, act.ImportType = "p.*", jwt.Stream
		change(act, e)
		text, err := act.Encode(a.kp)
		if err != nil {
			panic(err)
		}
		b.claims.Imports.Add(&jwt.Import{Account: a.pub, Subject: "p.*", Type: jwt.Stream, Token: text})
		return []*tenantKeys{a, b}
	}
	now := time.Now()
	thief := token(func(*jwt.ActivationClaims, *jwt.Export) {})
	stolen := newTenant("c")
	stolen.claims.Imports.Add(thief[1].claims.Imports[0])
	return []fact{
		{name: "a user named > widens a template", tenants: []*tenantKeys{wide}, from: star, subject: "p.x.y", pattern: "p.>", want: isolation.Delivered, subjects: []string{"p.x.y"}},
		{name: "a name with dots is several tokens", tenants: []*tenantKeys{dots}, from: dotted, subject: "p.a.b.x", pattern: "p.>", want: isolation.Delivered, subjects: []string{"p.a.b.x"}},
		{name: "an allow list that comes out empty allows nothing", tenants: []*tenantKeys{none}, from: untagged, subject: "x", pattern: "x", want: isolation.PublishDenied},
		{name: "a deny list without its tag refuses the login", tenants: []*tenantKeys{broken}, from: denied, subject: "x", pattern: "x", want: isolation.LoginRefused},
		{name: "one entry of any kind switches the defaults off", tenants: []*tenantKeys{switched}, from: switched.may(sub([]string{"z"}, nil)), subject: "x", pattern: "x",
			want: isolation.Delivered, subjects: []string{"x"}},
		{name: "defaults hold for users without any", tenants: []*tenantKeys{defaults}, subject: "x", pattern: "x", want: isolation.PublishDenied},
		{name: "an activation admits", tenants: token(func(*jwt.ActivationClaims, *jwt.Export) {}), subject: "p.a", pattern: "p.*", want: isolation.Delivered, subjects: []string{"p.a"}},
		{name: "an expired activation drops the import", tenants: token(func(a *jwt.ActivationClaims, _ *jwt.Export) { a.Expires = now.Add(-time.Hour).Unix() }),
			subject: "p.a", pattern: "p.*", want: isolation.None, rule: isolation.RuleDropped},
		{name: "a revoked activation drops the import", tenants: token(func(a *jwt.ActivationClaims, e *jwt.Export) {
			e.Revocations = jwt.RevocationList{a.Subject: now.Add(time.Hour).Unix()}
		}), subject: "p.a", pattern: "p.*", want: isolation.None, rule: isolation.RuleDropped},
		{name: "a stolen activation kills the thief's account", tenants: []*tenantKeys{thief[0], stolen}, subject: "p.a", pattern: "p.*", want: isolation.LoginRefused},
	}
}
