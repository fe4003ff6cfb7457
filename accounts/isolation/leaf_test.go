package isolation_test

import (
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/isolation"
)

// leafFacts: what a leaf node may send and receive, if it does what it can.
func leafFacts() []fact {
	one := func(a *tenantKeys) []*tenantKeys { return []*tenantKeys{a} }
	plain, mapped, holes, queues := newTenant("t"), newTenant("t").mapping("in", "out"), newTenant("t"), newTenant("t")
	queued := jwt.Permissions{Sub: jwt.Permission{Allow: jwt.StringList{"foo q"}}}
	kept := jwt.Permissions{Sub: jwt.Permission{Deny: jwt.StringList{"foo q"}}}
	none, limited := newTenant("t"), newTenant("t")
	none.claims.Limits.LeafNodeConn = 0
	clients := limited.newUser("clients")
	clients.claims.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard}
	limited.sign(clients, limited.pair)
	streams := streamed("s.*", "in.$1")
	ask := newTenant("a").exports(jwt.Service, "x")
	asks := []*tenantKeys{newTenant("b").importing(jwt.Service, ask, "x", ""), ask}
	c := newCrew("coke", false)
	leaf, other := c.member("leaf", "l"), newTenant("pepsi")
	twice := newTenant("a").exports(jwt.Stream, "o.*")
	both := newTenant("b").importing(jwt.Stream, twice, "o.*", "").importing(jwt.Stream, twice, "o.a", "")
	list := []fact{
		{name: "overlapping imports deliver once to a leaf node", tenants: []*tenantKeys{twice, both}, toLeaf: true, subject: "o.a", pattern: ">",
			want: isolation.Delivered, subjects: []string{"o.a"}},
		{name: "what it may send", tenants: one(plain), from: plain.may(pub("foo")), fromLeaf: true, subject: "foo", pattern: ">", want: isolation.Delivered, subjects: []string{"foo"}},
		{name: "what it may not", tenants: one(plain), from: plain.may(pub("foo")), fromLeaf: true, subject: "bar", pattern: ">", want: isolation.PublishDenied},
		{name: "the name on the wire decides, not that of the mapping", tenants: one(mapped), from: mapped.may(pub("in")), fromLeaf: true, subject: "in", pattern: "out",
			want: isolation.Delivered, subjects: []string{"out"}},
		{name: "nor does the mapping help", tenants: one(mapped), from: mapped.may(pub("out")), fromLeaf: true, subject: "in", pattern: "out", want: isolation.PublishDenied},
		{name: "the way of an answer is open to it", tenants: one(plain), from: plain.may(pub("foo")), fromLeaf: true, subject: "_R_.a.b", pattern: "_R_.>",
			want: isolation.Delivered, subjects: []string{"_R_.a.b"}},
		{name: "a star lets no tail pass", tenants: one(holes), to: holes.may(sub([]string{"foo.*"}, nil)), toLeaf: true, subject: "foo.a.b", pattern: "foo.>", want: isolation.None,
			rule: isolation.RuleFilter},
		{name: "a literal star is judged as any other name", tenants: one(holes), to: holes.may(sub([]string{"foo.*"}, nil)), toLeaf: true, subject: "bar.*", pattern: "bar.*",
			want: isolation.None, rule: isolation.RuleFilter},
		{name: "but what it matches", tenants: one(holes), to: holes.may(sub([]string{"foo.*"}, nil)), toLeaf: true, subject: "foo.a", pattern: "foo.>",
			want: isolation.Delivered, subjects: []string{"foo.a"}},
		{name: "a literal subject that is not allowed", tenants: one(holes), to: holes.may(sub([]string{"foo.*"}, nil)), toLeaf: true, subject: "bar", pattern: "bar",
			want: isolation.SubscribeDenied},
		{name: "a denied subject in a wider pattern", tenants: one(holes), to: holes.may(sub(nil, []string{"foo.a"})), toLeaf: true, subject: "foo.a", pattern: "foo.>", want: isolation.None},
		{name: "an entry for a queue allows nothing", tenants: one(queues), to: queues.may(queued), toLeaf: true, subject: "foo", pattern: "foo", queue: "q", want: isolation.SubscribeDenied},
		{name: "and denies the queue", tenants: one(queues), to: queues.may(kept), toLeaf: true, subject: "foo", pattern: "foo", queue: "q", want: isolation.None},
		{name: "no leaf nodes", tenants: one(none), toLeaf: true, subject: "foo", pattern: "foo", want: isolation.LoginRefused},
		{name: "clients only", tenants: one(limited), to: clients, toLeaf: true, subject: "foo", pattern: "foo", want: isolation.LoginRefused},
		{name: "an imported stream goes by its name here", tenants: streams, to: streams[1].may(sub([]string{"in.*"}, nil)), toLeaf: true, subject: "s.a", pattern: "in.>",
			want: isolation.Delivered, subjects: []string{"in.a"}},
		{name: "and not by that of its exporter", tenants: streams, to: streams[1].may(sub([]string{"s.*"}, nil)), toLeaf: true, subject: "s.a", pattern: "in.>", want: isolation.None},
		{name: "a service is asked", tenants: asks, fromLeaf: true, subject: "x", pattern: "x", want: isolation.Delivered, subjects: []string{"x"}},
		{name: "another tenant's leaf node", tenants: []*tenantKeys{c.tenantKeys, other}, from: leaf, fromLeaf: true, subject: "coke.x", pattern: ">", want: isolation.None},
	}
	for subject, want := range map[string]isolation.Result{
		"coke.d1.x": isolation.Delivered, "_INBOX.a.b": isolation.Delivered, "pepsi.x": isolation.PublishDenied, "$JS.API.STREAM.NAMES": isolation.PublishDenied,
		"$KV.b.k": isolation.PublishDenied, "$SYS.REQ.USER.INFO": isolation.PublishDenied,
	} {
		f := fact{name: "role leaf sends " + subject, tenants: one(c.tenantKeys), from: leaf, fromLeaf: true, subject: subject, pattern: ">", want: want}
		if want == isolation.Delivered {
			f.subjects = []string{subject}
		}
		list = append(list, f)
	}
	return list
}
