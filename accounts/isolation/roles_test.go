package isolation_test

import (
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/isolation"
)

// crew is a tenant with every ready-made role.
type crew struct {
	*tenantKeys
	roles map[string]pair
}

func newCrew(name string, byKey bool) crew {
	c := crew{newTenant(name), map[string]pair{}}
	for _, r := range accounts.ReadyRoles() {
		key := newPair(nkeys.PrefixByteAccount)
		if err := (accounts.RoleEdit{Key: key.pub, Role: &r.Name, Ready: &r, ByKey: byKey}).Apply(c.claims); err != nil {
			panic(err)
		}
		c.roles[r.Name] = key
	}
	return c
}

// member is a user of a role.
func (c crew) member(role, name string) *user {
	u := c.newUser(name)
	u.claims.SetScoped(true)
	c.sign(u, c.roles[role])
	return u
}

// readyFacts: what the ready-made roles grant and what they do not, on the real
// servers as predicted.
func readyFacts() []fact {
	c := newCrew("coke", false)
	device, other := c.member("device", "d1"), c.member("device", "d2")
	service, wall, boss, leaf := c.member("service", "s"), c.member("dashboard", "w"), c.member("operator", "o"), c.member("leaf", "l")
	inbox := func(u *user) string { return "_INBOX." + u.pub + ".x" }
	k := newCrew("pepsi", true)
	keyed := k.member("device", "any")
	thief := k.member("device", ">")
	confined := newTenant("fanta")
	accounts.Confine(confined.claims, true)
	in := func(t *tenantKeys) []*tenantKeys { return []*tenantKeys{t} }
	got := func(name string, from, to *user, subject, pattern string) fact {
		return fact{name: name, tenants: in(c.tenantKeys), from: from, to: to, subject: subject, pattern: pattern, want: isolation.Delivered, subjects: []string{subject}}
	}
	not := func(name string, from, to *user, subject, pattern string, want isolation.Result) fact {
		return fact{name: name, tenants: in(c.tenantKeys), from: from, to: to, subject: subject, pattern: pattern, want: want}
	}
	return []fact{
		got("device: to a service", device, service, "coke.d1.temp", "coke.>"),
		got("device: from a service", service, device, "coke.d1.cmd", "coke.d1.>"),
		got("device: an answer to its inbox", service, device, inbox(device), "_INBOX."+device.pub+".>"),
		got("dashboard: hears", device, wall, "coke.d1.temp", "coke.*.temp"),
		got("operator: hears", device, boss, "coke.d1.temp", "coke.>"),
		got("operator: asks JetStream", boss, c.newUser("all"), "$JS.API.INFO", "$JS.API.>"),
		not("device: another's subject", device, service, "coke.d2.temp", "coke.>", isolation.PublishDenied),
		not("device: a name that its own begins with", c.member("device", "d"), service, "coke.d1.temp", "coke.>", isolation.PublishDenied),
		not("device: outside the namespace", device, c.newUser("all"), "d1.temp", ">", isolation.PublishDenied),
		not("device: hears another", other, device, "coke.d2.x", "coke.d2.x", isolation.SubscribeDenied),
		not("device: hears all", other, device, "coke.d2.x", "coke.*.x", isolation.SubscribeDenied),
		not("device: hears everything", other, device, "coke.d2.x", ">", isolation.SubscribeDenied),
		not("device: another's inbox", service, device, inbox(other), inbox(other), isolation.SubscribeDenied),
		not("device: all inboxes", service, device, inbox(other), "_INBOX.*.x", isolation.SubscribeDenied),
		not("device: forges an answer", device, other, inbox(other), "_INBOX."+other.pub+".>", isolation.PublishDenied),
		not("device: JetStream", device, c.newUser("all"), "$JS.API.STREAM.NAMES", ">", isolation.PublishDenied),
		not("service: another's inbox", device, service, inbox(other), "_INBOX.>", isolation.SubscribeDenied),
		not("service: outside the namespace", service, c.newUser("all"), "pepsi.x", ">", isolation.PublishDenied),
		not("service: JetStream", service, c.newUser("all"), "$JS.API.STREAM.DELETE.X", ">", isolation.PublishDenied),
		{name: "service: another tenant's messages", tenants: []*tenantKeys{c.tenantKeys, k.tenantKeys}, from: service, to: k.member("service", "s"),
			subject: "coke.x", pattern: "coke.x", want: isolation.SubscribeDenied},
		not("dashboard: publishes", wall, service, "coke.w.x", "coke.>", isolation.PublishDenied),
		not("dashboard: an inbox", service, wall, inbox(device), "_INBOX.>", isolation.SubscribeDenied),
		not("operator: outside the namespace", boss, c.newUser("all"), "x", ">", isolation.PublishDenied),
		not("leaf: as a client", leaf, service, "coke.x", "coke.>", isolation.LoginRefused),
		{name: "by key: its own subject", tenants: in(k.tenantKeys), from: keyed, to: k.member("service", "s"), subject: "pepsi." + keyed.pub + ".x", pattern: "pepsi.>",
			want: isolation.Delivered, subjects: []string{"pepsi." + keyed.pub + ".x"}},
		{name: "by key: a thief who calls himself > stays apart", tenants: in(k.tenantKeys), from: thief, to: k.member("service", "s"), subject: "pepsi." + keyed.pub + ".x",
			pattern: "pepsi.>", want: isolation.PublishDenied},
		{name: "by name: he does not", tenants: in(c.tenantKeys), from: c.member("device", "*"), to: service, subject: "coke.d1.x", pattern: "coke.>",
			want: isolation.Delivered, subjects: []string{"coke.d1.x"}},
		{name: "confined: publish", tenants: in(confined), subject: "x", pattern: "x", to: confined.may(sub([]string{"x"}, nil)), want: isolation.PublishDenied},
		{name: "confined: subscribe", tenants: in(confined), from: confined.may(pub("x")), subject: "x", pattern: "x", want: isolation.SubscribeDenied},
	}
}
