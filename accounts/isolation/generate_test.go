package isolation_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/accounts"
)

// tenantKeys is an account that can sign.
type tenantKeys struct {
	pair
	claims *jwt.AccountClaims
	signer pair // a signing key without a role
	roles  []pair
	users  []*user
}

type user struct {
	pair
	claims *jwt.UserClaims
	token  string
}

func newTenant(name string) *tenantKeys {
	a := &tenantKeys{pair: newPair(nkeys.PrefixByteAccount), signer: newPair(nkeys.PrefixByteAccount)}
	a.claims = jwt.NewAccountClaims(a.pub)
	a.claims.Name = name
	a.claims.SigningKeys.Add(a.signer.pub)
	return a
}

// newUser adds a user without permissions, signed by the account's key.
func (a *tenantKeys) newUser(name string) *user {
	u := &user{pair: newPair(nkeys.PrefixByteUser)}
	u.claims = jwt.NewUserClaims(u.pub)
	u.claims.Name = name
	a.sign(u, a.pair)
	a.users = append(a.users, u)
	return u
}

func (a *tenantKeys) sign(u *user, by pair) {
	u.claims.IssuerAccount = ""
	if by.pub != a.pub {
		u.claims.IssuerAccount = a.pub
	}
	token, err := u.claims.Encode(by.kp)
	if err != nil {
		panic(fmt.Sprintf("sign user %s: %v", u.claims.Name, err))
	}
	u.token = token
	if u.claims, err = jwt.DecodeUserClaims(token); err != nil {
		panic(err)
	}
}

// generator draws sets of tenants.
type generator struct {
	*rand.Rand
	serial int
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// literal draws a subject from few enough that they meet.
func (g *generator) literal() string {
	out := []string{pick(g, "s", "q", "x")}
	for range 1 + g.IntN(2) {
		out = append(out, pick(g, "a", "b", "c"))
	}
	return strings.Join(out, ".")
}

func (g *generator) pattern() string {
	if g.chance(4) {
		return ">"
	}
	toks := strings.Split(g.literal(), ".")
	for i := range toks {
		if i > 0 && g.chance(35) || g.chance(8) {
			toks[i] = "*"
		}
	}
	if g.chance(25) {
		toks[len(toks)-1] = ">"
	}
	return strings.Join(toks, ".")
}

// narrow draws a subset of a pattern; a literal one if all is true.
func (g *generator) narrow(pattern string, all bool) string {
	toks := strings.Split(pattern, ".")
	for i, tok := range toks {
		switch {
		case tok == "*" && (all || g.chance(40)):
			toks[i] = pick(g, "a", "b", "c")
		case tok == ">" && (all || g.chance(40)):
			toks[i] = pick(g, "a", "b", "a.b", "c.a")
		case strings.HasPrefix(tok, "$") && len(tok) == 2:
			toks[i] = "*"
			if all {
				toks[i] = pick(g, "a", "b", "c")
			}
		}
	}
	return strings.Join(toks, ".")
}

// scene is one set of tenants and what they try.
type scene struct {
	tenants []*tenantKeys
	subs    []subscriber
	pubs    []publisher
}

type subscriber struct {
	who     *tenantKeys
	user    *user
	node    int
	pattern string
	queue   string
	leaf    bool
}

type publisher struct {
	who  *tenantKeys
	user *user
	node int
	leaf bool
	message
}

// scene draws tenants; sys is the system account, which takes part.
func (g *generator) scene(sys *tenantKeys) *scene {
	s := &scene{}
	for i := range 3 + g.IntN(3) {
		g.serial++
		s.tenants = append(s.tenants, newTenant(fmt.Sprintf("t%d-%d", i, g.serial)))
	}
	for _, a := range s.tenants {
		g.roles(a)
	}
	for _, a := range s.tenants {
		g.repeat(a, 2+g.IntN(3), g.export)
	}
	for _, a := range s.tenants {
		g.repeat(a, 2+g.IntN(4), func(a *tenantKeys) { g.imports(a, pick(g, s.tenants...)) })
		g.repeat(a, g.IntN(3), g.mapping)
		if g.chance(15) {
			g.repeat(a, 1, func(a *tenantKeys) { a.claims.DefaultPermissions = g.permissions(a, false) })
		}
		g.limits(a)
		for range 3 {
			g.user(a)
		}
	}
	all := append(slices.Clone(s.tenants), sys)
	for i := range 6 {
		s.subs = append(s.subs, g.subscriber(pick(g, all...), i))
	}
	for range 8 {
		s.pubs = append(s.pubs, g.publisher(pick(g, all...)))
	}
	if g.chance(35) {
		pick(g, s.tenants...).claims.Limits.Payload = 0
	}
	if g.chance(60) {
		g.relay(s)
	}
	for range 40 {
		if len(s.subs) < 14 {
			g.meeting(s)
		}
	}
	g.leafs(s, sys)
	return s
}

// leafs makes leaf nodes of some.
func (g *generator) leafs(s *scene, sys *tenantKeys) {
	for i := range s.subs {
		s.subs[i].leaf = s.subs[i].who != sys && g.chance(12)
	}
	for i := range s.pubs {
		s.pubs[i].leaf = s.pubs[i].who != sys && g.chance(12)
	}
}

// meeting adds a publisher and a subscriber at the two ends of an import.
func (g *generator) meeting(s *scene) {
	a := pick(g, s.tenants...)
	if len(a.claims.Imports) == 0 {
		return
	}
	im := pick(g, a.claims.Imports...)
	i := slices.IndexFunc(s.tenants, func(o *tenantKeys) bool { return o.pub == im.Account })
	if i < 0 {
		return
	}
	local := string(im.Subject)
	if im.LocalSubject != "" {
		local = string(im.LocalSubject.ToSubject())
	}
	pub, sub := g.publisher(a), g.subscriber(s.tenants[i], len(s.subs))
	pub.subject, sub.pattern = g.narrow(local, true), string(im.Subject)
	if im.IsStream() {
		pub, sub = g.publisher(s.tenants[i]), g.subscriber(a, len(s.subs))
		pub.subject, sub.pattern = g.narrow(string(im.Subject), true), local
	}
	wide := strings.Join(append(strings.Split(sub.pattern, ".")[:1], ">"), ".")
	switch {
	case g.chance(15): // a subscription that is wider than what its user may have
		sub.user, sub.pattern = sub.who.newUser("denied"), wide
		sub.user.claims.Sub.Deny.Add(g.narrow(string(im.Subject), true), g.narrow(local, true), g.narrow(local, false))
		sub.who.sign(sub.user, sub.who.pair)
	case g.chance(40):
		sub.pattern = pick(g, ">", g.narrow(sub.pattern, false), "*."+strings.Join(strings.Split(sub.pattern, ".")[1:], "."))
	}
	s.pubs, s.subs = append(s.pubs, pub), append(s.subs, sub)
}

// relay lets an account offer what it gets by a service as a stream, which
// another one imports.
func (g *generator) relay(s *scene) {
	a, b, c := pick(g, s.tenants...), pick(g, s.tenants...), pick(g, s.tenants...)
	name := jwt.Subject(fmt.Sprintf("relay.%s", pick(g, "a", "*", ">")))
	g.repeat(a, 1, func(a *tenantKeys) {
		a.claims.Exports.Add(&jwt.Export{Subject: name, Type: jwt.Service}, &jwt.Export{Subject: name, Type: jwt.Stream})
	})
	g.repeat(b, 1, func(b *tenantKeys) {
		b.claims.Imports.Add(&jwt.Import{Account: a.pub, Subject: name, Type: jwt.Service})
	})
	g.repeat(c, 1, func(c *tenantKeys) {
		c.claims.Imports.Add(&jwt.Import{Account: a.pub, Subject: name, Type: jwt.Stream})
	})
	asker, listener := b.newUser("asker"), c.newUser("listener")
	for i := range 2 {
		sub, pub := g.subscriber(c, len(s.subs)), g.publisher(b)
		sub.user, pub.user = listener, asker
		sub.node, sub.pattern, pub.subject = i, pick(g, "relay.>", string(name)), g.narrow(string(name), true)
		s.subs, s.pubs = append(s.subs, sub), append(s.pubs, pub)
	}
}

// repeat makes n changes to an account, and takes most of those back for which
// servers would refuse it.
func (g *generator) repeat(a *tenantKeys, n int, change func(*tenantKeys)) {
	for range n {
		before := *a.claims
		before.Exports, before.Imports = slices.Clone(a.claims.Exports), slices.Clone(a.claims.Imports)
		before.Mappings = jwt.Mapping{}
		for k, v := range a.claims.Mappings {
			before.Mappings[k] = v
		}
		change(a)
		vr := jwt.CreateValidationResults()
		a.claims.Validate(vr)
		if vr.IsBlocking(true) && !g.chance(1) || accounts.CheckRenames(a.claims) != nil { // which would end this process
			*a.claims = before
		}
	}
}

func (g *generator) export(a *tenantKeys) {
	e := &jwt.Export{Subject: jwt.Subject(g.pattern()), Type: pick(g, jwt.Stream, jwt.Service)}
	e.TokenReq = g.chance(30)
	if g.chance(12) {
		e.AccountTokenPosition = uint(slices.Index(strings.Split(string(e.Subject), "."), "*") + 1)
	}
	if e.IsService() {
		e.ResponseType = pick(g, jwt.ResponseType(""), jwt.ResponseTypeStream, jwt.ResponseTypeChunked)
	}
	a.claims.Exports.Add(e)
}

// imports draws an import of something that from exports, most often one that
// servers honour.
func (g *generator) imports(a, from *tenantKeys) {
	if len(from.claims.Exports) == 0 {
		return
	}
	e := pick(g, from.claims.Exports...)
	subject := g.narrow(string(e.Subject), false)
	switch {
	case g.chance(6):
		subject = g.pattern()
	case e.AccountTokenPosition > 0 && g.chance(85):
		toks := strings.Split(subject, ".")
		toks[e.AccountTokenPosition-1] = a.pub
		subject = strings.Join(toks, ".")
	}
	im := &jwt.Import{Account: from.pub, Subject: jwt.Subject(subject), Type: e.Type}
	switch {
	case g.chance(50):
		im.LocalSubject = jwt.RenamingSubject(g.rename(subject))
	case g.chance(12):
		//lint:ignore SA1019 servers still honour it
		im.To = jwt.Subject(pick(g, "pre", "pre.x", "pre.", subject, g.pattern()))
	}
	if e.TokenReq && g.chance(92) {
		im.Token = g.activation(a, from, e, im)
	}
	a.claims.Imports.Add(im)
}

// rename draws a local subject for an import.
func (g *generator) rename(subject string) string {
	var refs []string
	for i := range strings.Count("."+subject+".", ".*.") + strings.Count("."+subject+".", ".*.*.") {
		if i < strings.Count(subject, "*") {
			refs = append(refs, fmt.Sprintf("$%d", i+1))
		}
	}
	g.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
	if len(refs) > 0 && g.chance(10) {
		refs[g.IntN(len(refs))] = pick(g, "*", "$1", "$0")
	}
	out := []string{pick(g, "in", "s", "q", "y")}
	for _, ref := range refs {
		if g.chance(30) {
			out = append(out, pick(g, "a", "z"))
		}
		out = append(out, ref)
	}
	if strings.HasSuffix(subject, ">") {
		out = append(out, ">")
	}
	return strings.Join(out, ".")
}

// activation draws a token for an import, some of them bad.
func (g *generator) activation(a, from *tenantKeys, e *jwt.Export, im *jwt.Import) string {
	act := jwt.NewActivationClaims(a.pub)
	act.ImportType = e.Type
	act.ImportSubject = pick(g, e.Subject, im.Subject, ">")
	now := time.Now()
	switch g.IntN(12) {
	case 0:
		act.Expires = now.Add(-time.Hour).Unix()
	case 1:
		act.NotBefore = now.Add(time.Hour).Unix()
	case 2:
		act.Expires = now.Add(time.Hour).Unix()
	case 3:
		e.Revocations = jwt.RevocationList{pick(g, a.pub, jwt.All): now.Add(pick(g, time.Hour, -time.Hour)).Unix()}
	}
	by := pick(g, from.pair, from.signer)
	if len(from.roles) > 0 && g.chance(20) {
		by = from.roles[0]
	}
	if by.pub != from.pub {
		act.IssuerAccount = from.pub
	}
	if g.chance(3) {
		by, act.IssuerAccount = a.pair, ""
	}
	token, err := act.Encode(by.kp)
	if err != nil {
		panic(err)
	}
	return token
}

func (g *generator) mapping(a *tenantKeys) {
	src := g.pattern()
	if len(a.claims.Exports) > 0 && g.chance(30) {
		src = g.narrow(string(pick(g, a.claims.Exports...).Subject), false)
	}
	dest := func() string {
		if g.chance(40) && !strings.Contains(src, ">") {
			return g.literal()
		}
		toks := strings.Split(g.rename(src), ".")
		for i, tok := range toks {
			if strings.HasPrefix(tok, "$") && g.chance(25) {
				n := tok[1:]
				toks[i] = pick(g, "{{wildcard("+n+")}}", "{{partition(2,"+n+")}}", "{{split("+n+",-)}}", "{{Left("+n+",1)}}",
					"{{SplitFromLeft("+n+",1)}}", "{{sliceFromRight("+n+",2)}}", "{{right("+n+",1)}}", "{{partition(3)}}")
			}
		}
		return strings.Join(toks, ".")
	}
	list := []jwt.WeightedMapping{{Subject: jwt.Subject(dest())}}
	switch g.IntN(10) {
	case 0:
		list = append(list, jwt.WeightedMapping{Subject: jwt.Subject(dest()), Weight: 40})
		list[0].Weight = pick(g, uint8(60), 30)
	case 1:
		list = append(list, jwt.WeightedMapping{Subject: jwt.Subject(dest()), Cluster: pick(g, clusterName, "elsewhere")})
	case 2:
		list = []jwt.WeightedMapping{{Subject: jwt.Subject(src), Weight: pick(g, uint8(50), 100)}}
	case 3:
		list = []jwt.WeightedMapping{{Subject: jwt.Subject(dest()), Cluster: "elsewhere"}}
	}
	a.claims.Mappings[jwt.Subject(src)] = list
}

// subjectOf draws a pattern from what an account has to do with.
func (g *generator) subjectOf(a *tenantKeys) string {
	var known []string
	for _, e := range a.claims.Exports {
		known = append(known, string(e.Subject))
	}
	for _, im := range a.claims.Imports {
		known = append(known, string(im.Subject), "pre."+string(im.Subject))
		if im.LocalSubject != "" {
			known = append(known, string(im.LocalSubject), string(im.LocalSubject))
		}
	}
	for src := range a.claims.Mappings {
		known = append(known, string(src))
	}
	slices.Sort(known)
	if len(known) == 0 || g.chance(20) {
		return g.pattern()
	}
	return pick(g, known...)
}

func (g *generator) subscriber(a *tenantKeys, i int) subscriber {
	s := subscriber{who: a, user: pick(g, a.users...), node: g.IntN(2), pattern: g.narrow(g.subjectOf(a), false)}
	switch {
	case g.chance(12):
		s.pattern = pick(g, ">", "*.>", "*.*", "*.*.*", "$SYS.>", "$JS.API.>", "s.a.>", "*.a.*")
	case g.chance(12):
		s.pattern = g.narrow(s.pattern, true)
	case g.chance(2):
		s.pattern = pick(g, "s..a", "s.>.a", ".s")
	}
	if g.chance(25) {
		s.queue = fmt.Sprintf("q.%d", i)
	}
	return s
}

func (g *generator) publisher(a *tenantKeys) publisher {
	g.serial++
	p := publisher{who: a, user: pick(g, a.users...), node: g.IntN(2)}
	p.id = fmt.Sprintf("m%d", g.serial)
	p.subject = g.narrow(g.subjectOf(a), true)
	switch {
	case g.chance(10):
		p.subject = pick(g, "$SYS.REQ.USER.INFO", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "_R_.x", "_GR_.x.y", "$NRG.x", "$GR.x",
			"$SYS.REQ.ACCOUNT.PING.CONNZ", "_INBOX.a", "$KV.b.k")
	case g.chance(4):
		p.subject = g.narrow(g.subjectOf(a), false) // wildcards are ordinary tokens here
	}
	if g.chance(25) {
		p.reply = pick(g, "r."+p.id, "_INBOX."+p.id, g.literal(), g.literal(), g.narrow(g.subjectOf(a), true), "_R_.x", "$JS.ACK.x", "_GR_.x")
	}
	return p
}
