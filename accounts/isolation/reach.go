package isolation

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/nats-io/jwt/v2"
)

// Kinds of reaching.
const (
	ByStream  = "stream"  // the other account imports what is published
	ByService = "service" // a request comes to the other account, and its answer goes back
	ByMetric  = "metric"  // servers tell the other account who asks a service

	ByJetStream = "jetstream" // JetStream of an account in between stores it, and is shared
)

// Reach is one way by which messages of an account's users come to another
// account.
type Reach struct {
	From     string   `json:"from"` // name of the account, its key if it has none
	To       string   `json:"to"`
	How      string   `json:"how"`
	Subject  string   `json:"subject"`  // what From's users publish, a pattern
	Arrives  string   `json:"arrives"`  // as what it arrives
	Possible bool     `json:"possible"` // servers leave it to chance, order, time or placement
	Path     []string `json:"path"`     // step by step, in words
}

// place is a set of messages in an account, and how it came there.
type place struct {
	at     *tenant
	names  set
	was    set // names before the account's mapping, if it has one for them
	before *place
	link   *link // the import that leads here, nil at the start
	how    string
	note   string // what happens on the way besides
	maybe  bool
	anew   bool // published anew, by a server: what came before does not count for loops
}

// services returns the service imports on the way.
func (p *place) services() []*link {
	var out []*link
	for ; p != nil; p = p.before {
		if p.link != nil && p.link.kind == jwt.Service {
			out = append(out, p.link)
		}
		if p.anew {
			break
		}
	}
	return out
}

// maxImports bounds a way; claims that lead further form loops.
const maxImports = 16

// explorer finds all accounts that messages of one account come to.
type explorer struct {
	w     *World
	goal  *endpoint // a user for whom it counts what he may receive; nil for none
	todo  []*place
	all   []*place // every place that messages come to
	seen  map[string]bool
	found map[*tenant]*place
}

// explore searches breadth first, so that the first way to an account is a
// shortest one. A way that is certain replaces one that is only possible.
func (w *World) explore(who endpoint, goal *endpoint) map[*tenant]*place {
	return w.explorer(who, goal).found
}

func (w *World) explorer(who endpoint, goal *endpoint) *explorer {
	x := &explorer{w: w, goal: goal, seen: map[string]bool{}, found: map[*tenant]*place{}}
	if who.refused != "" || who.tenant.dead != "" {
		return x
	}
	if !who.leaf || who.client {
		x.renamed(place{at: who.tenant, names: everything()}, who.perms)
	}
	if who.leaf { // judged by the names on the wire, with the ways of answers open
		for _, names := range append(who.perms.publishable(everything()), set{pattern: split("_R_.>")}, set{pattern: split("$JS.ACK.>")}) {
			x.renamed(place{at: who.tenant, names: names}, nil)
		}
	}
	for len(x.todo) > 0 {
		p := x.todo[0]
		x.todo = x.todo[1:]
		x.spread(p)
	}
	if goal == nil || goal.tenant != who.tenant || goal.label == who.label {
		delete(x.found, who.tenant) // which is not reached by being there
	}
	return x
}

// renamed adds a place for each name that the account's mappings give to the
// messages, as far as the publisher may publish them.
func (x *explorer) renamed(p place, who *perms) {
	rest := p.names
	for i, m := range p.at.mappings {
		part, ok := p.names.and(m.src)
		if !ok {
			continue
		}
		rest = rest.without(m.src)
		unsure := len(m.dests) > 1 || m.lossy || slices.ContainsFunc(p.at.mappings, func(o mapping) bool {
			return o.src.String() != p.at.mappings[i].src.String() && o.src.meets(part.pattern)
		})
		for _, d := range m.dests {
			next := p
			next.names, next.was, next.maybe = part.through(d), part, p.maybe || unsure
			next.note = fmt.Sprintf("the mapping of %s in %s makes it %s", m.src, p.at.label(), next.names.pattern)
			x.add(next, who)
		}
	}
	p.names = rest
	x.add(p, who)
}

func (x *explorer) add(p place, who *perms) {
	for _, names := range who.publishable(p.names) {
		next := p
		next.names = names
		if names.empty() {
			continue
		}
		key := fmt.Sprint(p.at.claims.Subject, names.pattern, len(p.services()) > 0, p.maybe)
		if x.seen[key] && len(names.minus) > 0 {
			key += fmt.Sprint(names.minus)
		}
		if x.seen[key] || len(p.services()) > maxImports {
			continue
		}
		x.seen[key] = true
		x.reached(&next)
		x.todo = append(x.todo, &next)
	}
}

func (x *explorer) reached(p *place) {
	x.all = append(x.all, p)
	if g := x.goal; g != nil && g.tenant == p.at && (g.refused != "" || !g.perms.receives(p.names)) {
		return
	}
	if old := x.found[p.at]; old == nil || old.maybe && !p.maybe {
		x.found[p.at] = p
	}
}

// spread follows the imports of and from the account of a place.
func (x *explorer) spread(p *place) {
	via := p.services()
	for group := range x.w.importers(p.at).meeting(p.names.pattern) {
		part, ok := p.names.and(group.remote)
		if !ok {
			continue
		}
		for _, l := range group.links {
			next := &place{at: l.importer, names: l.image(part), before: p, link: l, how: ByStream, maybe: p.maybe || l.maybe != "" || len(via) > 0}
			if p.how == ByMetric {
				next.how = ByMetric
			}
			x.reached(next)
		}
	}
	x.w.links(p.at)
	for l := range p.at.asked.meeting(p.names.pattern) {
		part, ok := p.names.and(l.local)
		if !ok || slices.Contains(via, l) {
			continue
		}
		loop := slices.ContainsFunc(via, func(o *link) bool { return o.exporter == l.exporter && o.export == l.export })
		x.renamed(place{at: l.exporter, names: l.image(part), before: p, link: l, how: ByService, maybe: p.maybe || loop || l.maybe != ""}, nil)
		x.metric(p, l, part)
	}
	x.jetStream(p)
}

// metric follows what servers publish in the exporter about a request.
func (x *explorer) metric(p *place, l *link, part set) {
	for _, e := range l.exporter.exports {
		if e.Latency == nil || string(e.Subject) != l.export {
			continue
		}
		asked := &place{at: p.at, names: part, before: p.before, link: p.link, note: p.note, how: p.how, maybe: p.maybe}
		x.renamed(place{
			at: l.exporter, names: set{pattern: split(string(e.Latency.Results))}, before: asked, how: ByMetric, maybe: p.maybe || l.maybe != "",
			note: fmt.Sprintf("servers publish in %s on %s who asks the service %s and how long it takes", l.exporter.label(), e.Latency.Results, l.export),
		}, nil)
	}
}

// image is the set that a set within the import becomes on its other side.
func (l *link) image(s set) set {
	switch {
	case l.forth != nil:
		return s.through(l.forth)
	case l.same:
		return s
	case l.kind == jwt.Service:
		return set{pattern: l.remote}
	}
	return set{pattern: l.local}
}

// publishable returns the parts of a set that a user may publish.
func (p *perms) publishable(s set) []set {
	if p == nil {
		return []set{s}
	}
	for _, d := range p.pubDeny {
		s = s.without(d)
	}
	if !p.onlyPub {
		return []set{s}
	}
	var out []set
	for _, a := range p.pubAllow {
		if part, ok := s.and(a); ok {
			out = append(out, part)
		}
	}
	return out
}

// receives reports whether a user gets any message of a set.
func (p *perms) receives(s set) bool {
	if p == nil {
		return true
	}
	for _, g := range p.subDeny {
		if g.queue == "" {
			s = s.without(g.subject)
		}
	}
	if !p.onlySub {
		return !s.empty()
	}
	return slices.ContainsFunc(p.subAllow, func(g grant) bool {
		wide := g.subject
		if last := len(wide) - 1; wide[last] == anyToken {
			wide = append(slices.Clone(wide[:last]), anyTail) // it lets a subscription end in >
		}
		_, ok := s.and(wide)
		return ok
	})
}

// group are the stream imports of one subject of an account.
type group struct {
	remote tokens
	links  []*link
}

// importers returns who imports streams of an account.
func (w *World) importers(t *tenant) *table[*group] {
	if w.cfg.Source != nil {
		t.importsOnce.Do(func() {
			for _, key := range w.cfg.Source.Importers(t.claims.Subject) {
				if importer := w.compiled(key); importer != nil {
					w.note(w.linksTo(importer, t))
				}
			}
		})
		return &t.importing
	}
	w.importsOnce.Do(func() {
		w.linkAll()
		for _, ac := range w.cfg.Accounts {
			w.note(w.links(w.compiled(ac.Subject)))
		}
	})
	return &t.importing
}

// note tells exporters who imports from them.
func (w *World) note(streams, services []*link) {
	for _, l := range services {
		if w.reads(l) {
			l.exporter.reading = append(l.exporter.reading, l)
		}
	}
	for _, l := range streams {
		ex := l.exporter
		if ex.byRemote == nil {
			ex.byRemote = map[string]*group{}
		}
		name := l.remote.String()
		g := ex.byRemote[name]
		if g == nil {
			g = &group{remote: l.remote}
			ex.byRemote[name] = g
			ex.importing.add(g.remote, g)
		}
		g.links = append(g.links, l)
	}
}

// linkAll compiles every account, on all processors: to check the signatures of
// activations takes nearly all of the time.
func (w *World) linkAll() {
	var wg sync.WaitGroup
	for part := range slices.Chunk(w.cfg.Accounts, 1+len(w.cfg.Accounts)/runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for _, ac := range part {
				w.links(w.compiled(ac.Subject))
			}
		})
	}
	wg.Wait()
}

// reach describes a place that was found.
func (p *place) reach(from endpoint) Reach {
	r := Reach{From: from.label, To: p.at.label(), How: p.how, Arrives: p.names.pattern.String(), Possible: p.maybe}
	var way []*place
	for q := p; q != nil; q = q.before {
		way = append(way, q)
	}
	slices.Reverse(way)
	r.Subject = firstNames(way).String()
	r.Path = append(r.Path, fmt.Sprintf("a user of %s publishes %s", from.label, r.Subject))
	for i, q := range way {
		if l := q.link; l != nil && (i == 0 || way[i-1].link != l) {
			what := "the service"
			if l.kind == jwt.Stream {
				what = "the stream"
			}
			r.Path = append(r.Path, fmt.Sprintf("%s imports %s %s of %s%s", l.importer.label(), what, l.remote, l.exporter.label(), asText(l.remote, l.local)))
			if l.kind == jwt.Stream && i > 0 && len(way[i-1].services()) > 0 {
				r.Path = append(r.Path, "what came through a service import reaches importers of a stream on other servers than the publisher's")
			}
			if l.maybe != "" {
				r.Path = append(r.Path, "the import may be missing: "+l.maybe)
			}
		}
		if q.note != "" {
			r.Path = append(r.Path, q.note)
		}
	}
	r.Path = append(r.Path, fmt.Sprintf("users of %s receive it on %s", r.To, r.Arrives))
	return r
}

// firstNames are what users publish for a way: the part of the first place that
// the next import takes, or what the account's mapping makes that part of.
func firstNames(way []*place) tokens {
	first := way[0]
	if first.was.pattern != nil {
		return first.was.pattern
	}
	if len(way) > 1 && way[1].link != nil {
		side := way[1].link.local
		if way[1].link.kind == jwt.Stream {
			side = way[1].link.remote
		}
		if p, ok := first.names.pattern.and(side); ok {
			return p
		}
	}
	return first.names.pattern
}

// Isolated answers whether messages of users of a and b can come to each other,
// with a shortest way for each direction that is open; none means isolated.
// Both are an account, account:user, or account:@role for whoever has that role.
// Without a user they stand for every user that the account may ever have.
func (w *World) Isolated(a, b string) []Reach {
	var out []Reach
	from, to := w.anyone(a), w.anyone(b)
	for _, pair := range [][2]endpoint{{from, to}, {to, from}} {
		if p := w.explore(pair[0], &pair[1])[pair[1].tenant]; p != nil {
			r := p.reach(pair[0])
			r.To = pair[1].label
			out = append(out, r)
		}
	}
	return out
}

// anyone is an endpoint with the rights of a named user, with the most that users
// of a role may have, or with all rights; it connects however it may.
func (w *World) anyone(who string) endpoint {
	t, user := w.endpoint(who)
	if t == nil || user != "" {
		e, leaf := w.login(who, false), w.login(who, true)
		if leaf.refused == "" {
			leaf.client = e.refused == ""
			return leaf
		}
		return e
	}
	return endpoint{label: t.label(), tenant: w.compiled(t.claims.Subject)}
}

// Reaches returns a shortest way from every account to every other one that its
// messages come to, sorted by their names. The system account is left out:
// every account can ask it.
func (w *World) Reaches() []Reach {
	var out []Reach
	for _, ac := range w.cfg.Accounts {
		if ac.Subject == w.cfg.System {
			continue
		}
		from := w.anyone(ac.Subject)
		for _, p := range w.explore(from, nil) {
			if p.at.claims.Subject != w.cfg.System {
				out = append(out, p.reach(from))
			}
		}
	}
	slices.SortFunc(out, func(a, b Reach) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}
