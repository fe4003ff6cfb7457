package isolation

import (
	"cmp"
	"slices"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/revocation"
)

// link is an import that servers honour.
type link struct {
	importer, exporter *tenant
	kind               jwt.ExportType
	export             string // the export's subject, which detects loops
	remote             tokens // in the exporter
	local              tokens // in the importer, references as wildcards

	// forth renames in the direction of the message: a stream's from remote to
	// local, a service's from local to remote. back is what servers take for
	// the reverse of a stream's, for narrower subscriptions.
	forth, back *transform
	same        bool // remote and local are one pattern

	maybe  string // why it may be missing
	cyclic bool   // since imports form a cycle
	claim  *jwt.Import
	share  bool
}

// refused are imports that servers drop, with the reason.
type refused struct {
	kind  jwt.ExportType
	from  string
	local tokens
	why   string
}

// links returns the imports of an account in force.
func (w *World) links(t *tenant) (streams, services []*link) {
	t.linksOnce.Do(func() {
		if t.dead == "" {
			w.link(t)
		}
	})
	return t.streams, t.services
}

func (w *World) link(t *tenant) {
	for _, im := range w.systemImports(t.claims) {
		w.addLink(t, im, true)
	}
	for _, im := range t.claims.Imports {
		if im != nil {
			w.addLink(t, im, false)
		}
	}
	w.linkJetStream(t)
	for _, l := range t.services {
		t.asked.add(l.local, l)
	}
}

// addLink adds one import, or the reason why servers drop it.
func (w *World) addLink(t *tenant, im *jwt.Import, internal bool) {
	l, why := w.build(t, im, internal)
	if why == "" {
		why = duplicate(t.taken[l.exporter], l)
	}
	if why != "" {
		t.dropped = append(t.dropped, refused{kind: im.Type, from: im.Account, local: l.local, why: why})
		return
	}
	if t.taken == nil {
		t.taken = map[*tenant][]*link{}
	}
	t.taken[l.exporter] = append(t.taken[l.exporter], l)
	if im.IsStream() {
		t.streams = append(t.streams, l)
	} else {
		t.services = append(t.services, l)
	}
}

// linksTo returns the imports of t from one exporter, without a look at those
// from thousands of others.
func (w *World) linksTo(t, exporter *tenant) (streams, services []*link) {
	if t.dead != "" {
		return nil, nil
	}
	for _, im := range t.imports[exporter.claims.Subject] {
		list := &services
		if im.IsStream() {
			list = &streams
		}
		if l, why := w.build(t, im, false); why == "" && duplicate(*list, l) == "" {
			*list = append(*list, l)
		}
	}
	return streams, services
}

// duplicate says why l cannot stand beside the links before it to its exporter.
func duplicate(list []*link, l *link) string {
	for _, o := range list {
		if o.kind != l.kind {
			continue
		}
		if l.kind == jwt.Stream && slices.Equal(o.remote, l.remote) || l.kind == jwt.Service && slices.Equal(o.local, l.local) {
			if o.maybe != "" {
				l.maybe = "it is there only if another import of the same subject is not"
				return ""
			}
			return "an import before it takes the same subject of the same account"
		}
	}
	return ""
}

// build makes the link of an import, or says why servers drop it.
func (w *World) build(t *tenant, im *jwt.Import, internal bool) (*link, string) {
	l, why := w.admitted(t, im, internal)
	if why == "" && l.maybe == "" && !internal && l.mayCycle() && accounts.Cyclic(t.claims, im, sharing{w: w}) {
		l.maybe, l.cyclic = "imports form a cycle, and servers leave one of them out", true
	}
	return l, why
}

// admitted is build without a look at cycles.
func (w *World) admitted(t *tenant, im *jwt.Import, internal bool) (*link, string) {
	remote, local := accounts.Sides(im)
	l := &link{importer: t, kind: im.Type, claim: im, share: im.Share, remote: split(remote), local: split(local)}
	l.exporter = w.compiled(im.Account)
	if l.exporter == nil {
		return l, "its account is not known"
	}
	if l.exporter.dead != "" {
		return l, "servers refuse its account: " + l.exporter.dead
	}
	if !valid(remote) || !valid(local) {
		return l, "its subjects are not valid"
	}
	if !internal {
		var why string
		if l.maybe, why = w.authorized(l, im); why != "" {
			return l, why
		}
	}
	l.export = l.exporter.exportFor(l.kind, l.remote)
	return l, l.renames(remote, local, im)
}

// mayCycle reports whether the exporter imports anything that could lead back: of
// thousands of imports most begin with another token.
func (l *link) mayCycle() bool {
	for range l.exporter.wants[l.kind].meeting(l.local) {
		return true
	}
	if l.kind == jwt.Stream {
		for range l.exporter.wants[l.kind].meeting(l.remote) {
			return true
		}
	}
	return false
}

// wanted is an import at its place in the claims.
type wanted struct {
	at int
	im *jwt.Import
}

// sharing is an [accounts.Sharing] that looks at few of thousands of imports, and
// at none that servers drop for another reason than cycles.
type sharing struct {
	w    *World
	keep func(*jwt.Import) bool // nil for all
}

func (s sharing) Imports(account string, kind jwt.ExportType, subject string) (out []*jwt.Import) {
	t := s.w.compiled(account)
	if t == nil || t.dead != "" {
		return nil
	}
	list := slices.SortedFunc(t.wants[kind].meeting(split(subject)), func(a, b wanted) int { return cmp.Compare(a.at, b.at) })
	for _, l := range list {
		if s.keep != nil && !s.keep(l.im) {
			continue
		}
		if _, why := s.w.admitted(t, l.im, false); why == "" {
			out = append(out, l.im)
		}
	}
	return out
}

func (s sharing) Exports(account string, kind jwt.ExportType, subject string) []*jwt.Export {
	if t := s.w.compiled(account); t != nil {
		return slices.Collect(t.offers.meeting(split(subject)))
	}
	return nil
}

// renames prepares the renaming of an import.
func (l *link) renames(remote, local string, im *jwt.Import) string {
	if im.IsStream() && im.LocalSubject == "" && split(im.GetTo()).wild() {
		return "its prefix has wildcards"
	}
	l.same = remote == local
	if l.same || !l.remote.wild() {
		return ""
	}
	bare, _ := untokenize(local)
	l.local = split(bare)
	src := remote
	if l.kind == jwt.Service {
		src, _ = untokenize(remote)
		l.remote = split(src)
	}
	t, err := newTransform(src, tokenize(local), true)
	if err != nil {
		return "its rename does not use every wildcard"
	}
	if l.forth, l.back = t, t.reverse(); l.kind == jwt.Service {
		l.forth, l.back = l.back, nil // without a reverse servers take remote as the name
	}
	return ""
}

// deadly reports whether servers fall over a subscription that is narrower than
// the import: they rename it by a reverse that there is not.
func (l *link) deadly() bool { return l.kind == jwt.Stream && l.forth != nil && l.back == nil }

// shadow returns the pattern that a subscription has in the exporter. For a
// subscription narrower than the import servers rename its pattern by their
// reverse of the rename, which is not always right.
func (l *link) shadow(pattern tokens) (tokens, bool) {
	if slices.Equal(pattern, l.local) || pattern.wild() && !l.local.covers(pattern) && pattern.covers(l.local) {
		return l.remote, true
	}
	narrow, ok := l.narrow(pattern)
	switch {
	case !ok:
		return nil, false
	case l.same:
		return narrow, true
	case l.back != nil:
		return l.back.apply(narrow, nil), true
	}
	return l.remote, true
}

// narrow returns the part of a pattern that is within the import, if it is less
// than all of it.
func (l *link) narrow(pattern tokens) (tokens, bool) {
	switch {
	case slices.Equal(pattern, l.local):
		return nil, false
	case l.local.covers(pattern):
		return pattern, true
	case !pattern.wild() || pattern.covers(l.local):
		return nil, false
	}
	part := l.overlap(pattern)
	return part, l.local.covers(part)
}

// overlap is what servers take for the part of a pattern that an import has.
func (l *link) overlap(pattern tokens) tokens {
	out := slices.Clone(pattern)
	for i, tok := range out {
		if i < len(l.local) && tok == anyToken && l.local[i] != anyTail {
			out[i] = l.local[i]
		}
	}
	last := len(out) - 1
	if out[last] == anyTail && len(l.local) > last {
		out = append(out[:last], l.local[last:]...)
	}
	return out
}

// exportFor returns the subject of the export that covers remote, "" if none.
func (t *tenant) exportFor(kind jwt.ExportType, remote tokens) string {
	for e := range t.offers.meeting(remote) {
		if e.Type == kind && string(e.Subject) == remote.String() {
			return string(e.Subject)
		}
	}
	for e := range t.offers.meeting(remote) {
		if e.Type == kind && split(string(e.Subject)).covers(remote) {
			return string(e.Subject)
		}
	}
	return ""
}

// authorized judges whether the exporter lets the importer have the subject.
// Where exports overlap, servers ask any of them.
func (w *World) authorized(l *link, im *jwt.Import) (maybe, why string) {
	var allowed bool
	for e := range l.exporter.offers.meeting(l.remote) {
		switch {
		case e.Type != l.kind:
		case string(e.Subject) == l.remote.String():
			return "", w.refuses(l, im, e, nil)
		case split(string(e.Subject)).covers(l.remote):
			if r := w.refuses(l, im, e, l.remote); r != "" {
				why = r
			} else {
				allowed = true
			}
		}
	}
	switch {
	case allowed && why != "":
		return "several exports cover it and servers ask any of them: by one of them " + why, ""
	case allowed || why != "":
		return "", why
	}
	return "", "no " + l.kind.String() + " export of " + l.exporter.label() + " covers it"
}

// refuses says why one export does not admit the import.
func (w *World) refuses(l *link, im *jwt.Import, e *jwt.Export, remote tokens) string {
	if pos := e.AccountTokenPosition; pos > 0 {
		if int(pos) > len(remote) || remote[pos-1] != l.importer.claims.Subject {
			return "the subject must name the importing account at its account token"
		}
		return ""
	}
	if e.TokenReq {
		return w.inactive(l, im, e)
	}
	return ""
}

// inactive says why the activation of an import does not hold.
func (w *World) inactive(l *link, im *jwt.Import, e *jwt.Export) string {
	if im.Token == "" {
		return "the export is private and the import has no activation"
	}
	act, err := accounts.PeekActivation(im.Token)
	if err != nil {
		return "its activation cannot be read"
	}
	exporter := l.exporter.claims
	if act.IssuerAccount != "" {
		known := exporter.SigningKeys.Contains(act.Issuer) || act.Issuer == exporter.Subject && !w.strict
		if act.IssuerAccount != exporter.Subject || !known {
			return "its activation is not signed by a key of the exporter"
		}
	}
	if why := w.outside(act.ClaimsData); why != "" {
		return "its activation: " + why
	}
	if revocation.List(e.Revocations).Covers(act.Subject, act.IssuedAt) {
		return "its activation is revoked"
	}
	return ""
}
