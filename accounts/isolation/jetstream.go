package isolation

import (
	"fmt"
	"slices"

	"github.com/nats-io/jwt/v2"
)

// controls are the requests by which JetStream is made to store what comes to
// an account, and to publish it anywhere in that account.
func controls() []tokens {
	return []tokens{split("$JS.API.STREAM.CREATE.*"), split("$JS.API.STREAM.UPDATE.*"), split("$JS.API.CONSUMER.CREATE.>"), split("$JS.API.CONSUMER.DURABLE.CREATE.>")}
}

// reads are the requests that return what is stored.
func reads() []tokens {
	return append(controls(), split("$JS.API.STREAM.MSG.GET.*"), split("$JS.API.DIRECT.GET.>"), split("$JS.API.CONSUMER.MSG.NEXT.>"))
}

// stores reports whether an account has JetStream of its own.
func (w *World) stores(t *tenant) bool {
	return w.cfg.JetStream && t.claims.Limits.IsJSEnabled() && t.claims.Subject != w.cfg.System
}

// jetStream follows what an account with JetStream can be made to pass on,
// although servers alone would not: nobody of it has to act.
func (x *explorer) jetStream(p *place) {
	if !x.w.stores(p.at) {
		return
	}
	if p.link != nil && p.link.kind == jwt.Service && slices.ContainsFunc(controls(), func(c tokens) bool { _, ok := p.names.and(c); return ok }) {
		x.renamed(place{
			at: p.at, names: everything(), before: p, how: ByJetStream, anew: true, maybe: true,
			note: fmt.Sprintf("JetStream of %s publishes for them whatever and wherever in %s", p.at.label(), p.at.label()),
		}, nil)
	}
	for _, l := range x.w.readers(p.at) {
		if l.importer != p.at {
			x.reached(&place{
				at: l.importer, names: set{pattern: tokens{anyTail}}, before: p, link: l, how: ByJetStream, maybe: true,
				note: fmt.Sprintf("what streams of %s store can be read there", p.at.label()),
			})
		}
	}
}

// readers returns the service imports through which JetStream of an account can
// be read.
func (w *World) readers(t *tenant) []*link {
	w.importers(t)
	return t.reading
}

// reads reports whether a service import reaches JetStream's requests.
func (w *World) reads(l *link) bool {
	return l.exporter.claims.Subject != w.cfg.System && slices.ContainsFunc(reads(), l.remote.meets)
}
