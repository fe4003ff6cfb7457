package isolation

import (
	"maps"
	"slices"
	"strings"
)

// Guard holds changes of accounts against a policy. It remembers where messages
// of the accounts that the policy is about come to, so that a change costs what
// can come to the changed account, not all there is. It is not for several
// goroutines at once.
type Guard struct {
	named   map[string][]string // whom the policy names, by account
	demands map[string][]demand // by from
	sources map[string][]string // of demands, by account

	arrivals map[string]map[string][]tokens // subjects by account, then by from
	visited  map[string][]string            // accounts by from
}

// NewGuard watches over a policy, which names no users: whoever holds only
// accounts does not know them, but for their roles.
func NewGuard(p Policy) *Guard {
	g := &Guard{
		named: map[string][]string{}, demands: map[string][]demand{}, sources: map[string][]string{},
		arrivals: map[string]map[string][]tokens{}, visited: map[string][]string{},
	}
	for _, who := range p.named() {
		g.named[account(who)] = append(g.named[account(who)], who)
	}
	for _, d := range p.demands() {
		if g.demands[d.from] == nil {
			g.sources[account(d.from)] = append(g.sources[account(d.from)], d.from)
		}
		g.demands[d.from] = append(g.demands[d.from], d)
	}
	return g
}

// Learn takes what is stored, after the accounts changed; from the first call on
// all that changes has to be learnt.
func (g *Guard) Learn(stored *World, changed []string) {
	again := g.affected(stored, changed)
	for from := range g.demands {
		if g.visited[from] == nil {
			again[from] = true
		}
	}
	for from := range again {
		g.follow(stored, from)
	}
}

// follow notes where messages of from come to.
func (g *Guard) follow(w *World, from string) {
	for _, key := range g.visited[from] {
		delete(g.arrivals[key], from)
	}
	g.visited[from] = []string{}
	for _, p := range w.explorer(w.anyone(from), nil).all {
		key := p.at.claims.Subject
		if g.arrivals[key] == nil {
			g.arrivals[key] = map[string][]tokens{}
		}
		names := g.arrivals[key][from]
		if names == nil {
			g.visited[from] = append(g.visited[from], key)
		}
		if !slices.ContainsFunc(names, func(n tokens) bool { return n.covers(p.names.pattern) }) {
			g.arrivals[key][from] = append(names, p.names.pattern)
		}
	}
}

// affected returns whose messages can take another way in w than they took
// before some accounts changed. The first changed account on a new way is entered
// from one where they were before.
func (g *Guard) affected(w *World, changed []string) map[string]bool {
	out := map[string]bool{}
	enter := func(at string, by tokens) {
		for from, names := range g.arrivals[at] {
			if slices.ContainsFunc(names, by.meets) {
				out[from] = true
			}
		}
	}
	all := tokens{anyTail}
	for _, key := range changed {
		enter(key, all)
		t := w.compiled(key)
		if t == nil {
			continue
		}
		for _, name := range []string{key, t.claims.Name} {
			for _, from := range g.sources[name] {
				out[from] = true
			}
		}
		streams, services := w.links(t)
		for _, l := range streams {
			enter(l.exporter.claims.Subject, l.remote)
		}
		for _, l := range services {
			if w.reads(l) {
				enter(l.exporter.claims.Subject, all)
			}
		}
		for _, importer := range w.cfg.Source.Importers(key) {
			i := w.compiled(importer)
			if i == nil {
				continue
			}
			_, services := w.linksTo(i, t)
			for _, l := range services {
				enter(importer, l.local)
			}
		}
	}
	g.expecting(w, changed, out)
	return out
}

// expecting adds whose messages a changed account is expected to receive.
func (g *Guard) expecting(w *World, changed []string, out map[string]bool) {
	for from, list := range g.demands {
		for _, d := range list {
			if d.flow == nil {
				continue
			}
			if t := w.find(account(d.flow.To)); t == nil || slices.Contains(changed, t.claims.Subject) {
				out[from] = true
			}
		}
	}
}

// Judge returns the breaches that there would be after the accounts changed, and
// that there are not before.
func (g *Guard) Judge(before, after *World, changed []string) []Breach {
	sources := slices.Sorted(maps.Keys(g.affected(after, changed)))
	check := func(w *World) []Breach {
		c := checker{w: w, explored: map[string]*explorer{}}
		c.out = w.missing(g.namedOf(before, after, changed))
		for _, from := range sources {
			for _, d := range g.demands[from] {
				c.check(d)
			}
		}
		return c.out
	}
	broken := check(after)
	if len(broken) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, b := range check(before) {
		known[b.id] = true
	}
	return slices.DeleteFunc(broken, func(b Breach) bool { return known[b.id] })
}

// namedOf returns whom the policy names of some accounts, by what they are called
// before and after.
func (g *Guard) namedOf(before, after *World, changed []string) (out []string) {
	for _, key := range changed {
		names := []string{key}
		for _, w := range []*World{before, after} {
			if t := w.tenant(key); t != nil && !slices.Contains(names, t.claims.Name) {
				names = append(names, t.claims.Name)
			}
		}
		for _, name := range names {
			out = append(out, g.named[name]...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Users reports whether a policy speaks of single users.
func (p Policy) Users() bool {
	of := func(who string) bool {
		_, user, named := strings.Cut(who, ":")
		return named && !strings.HasPrefix(user, roleMark)
	}
	return slices.ContainsFunc(p.Isolated, func(list []string) bool { return slices.ContainsFunc(list, of) }) ||
		slices.ContainsFunc(p.Reaches, func(r Allowance) bool { return of(r.From) || slices.ContainsFunc(r.Only, of) }) ||
		slices.ContainsFunc(p.Flows, func(f ExpectedFlow) bool { return of(f.From) || of(f.To) })
}
