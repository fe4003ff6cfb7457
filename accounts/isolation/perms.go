package isolation

import (
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// grant is one entry of a subscribe list.
type grant struct {
	subject tokens
	queue   string // "": any
}

// perms is what a connection may do, as servers compile it. nil lists allow
// all, empty ones nothing.
type perms struct {
	pubAllow, pubDeny []tokens
	subAllow, subDeny []grant
	onlyPub, onlySub  bool // there is an allow list
	responses         int  // how many answers to a reply subject: 0 none, -1 any number
}

// compile returns nil for permissions without any entry: the connection then
// has the default permissions of its account.
func compile(p jwt.Permissions) *perms {
	pub, sub := !p.Pub.Empty(), !p.Sub.Empty()
	if !pub && !sub && p.Resp == nil {
		return nil
	}
	c := &perms{}
	if p.Resp != nil {
		if c.responses = p.Resp.MaxMsgs; c.responses == 0 {
			c.responses = 1 // what servers take for no number
		}
	}
	if pub {
		c.onlyPub = p.Pub.Allow != nil
		c.pubAllow, c.pubDeny = subjects(p.Pub.Allow), subjects(p.Pub.Deny)
	}
	c.onlyPub = c.onlyPub || p.Resp != nil
	if sub {
		c.onlySub = len(p.Sub.Allow) > 0
		c.subAllow, c.subDeny = grants(p.Sub.Allow), grants(p.Sub.Deny)
	}
	return c
}

// union allows whatever a or b allow.
func union(a, b *perms) *perms {
	if a == nil || b == nil {
		return nil
	}
	u := &perms{
		pubAllow: slices.Concat(a.pubAllow, b.pubAllow), subAllow: slices.Concat(a.subAllow, b.subAllow),
		onlyPub: a.onlyPub && b.onlyPub, onlySub: a.onlySub && b.onlySub, responses: max(a.responses, b.responses),
	}
	if a.responses < 0 || b.responses < 0 {
		u.responses = -1
	}
	for _, d := range a.pubDeny {
		if slices.ContainsFunc(b.pubDeny, func(o tokens) bool { return o.covers(d) }) {
			u.pubDeny = append(u.pubDeny, d)
		}
	}
	for _, d := range a.subDeny {
		if slices.ContainsFunc(b.subDeny, func(o grant) bool { return o.queue == d.queue && o.subject.covers(d.subject) }) {
			u.subDeny = append(u.subDeny, d)
		}
	}
	return u
}

func subjects(list []string) []tokens {
	var out []tokens
	for _, s := range list {
		if valid(s) {
			out = append(out, split(s))
		}
	}
	return out
}

func grants(list []string) []grant {
	var out []grant
	for _, s := range list {
		words := strings.Fields(s)
		if len(words) == 0 || len(words) > 2 || !valid(words[0]) || len(words) == 2 && !valid(words[1]) {
			continue
		}
		g := grant{subject: split(words[0])}
		if len(words) == 2 {
			g.queue = words[1]
		}
		out = append(out, g)
	}
	return out
}

// mayPublish judges the text of the subject, after the account's mapping for
// clients and before it for leaf nodes.
func (p *perms) mayPublish(subject tokens) bool {
	if p == nil {
		return true
	}
	return (!p.onlyPub || anyMatches(p.pubAllow, subject)) && !anyMatches(p.pubDeny, subject)
}

func anyMatches(list []tokens, text tokens) bool {
	for _, t := range list {
		if t.matches(text) {
			return true
		}
	}
	return false
}

// maySubscribe judges the text of the pattern: an entry foo.* lets foo.> pass.
func (p *perms) maySubscribe(pattern tokens, queue string) bool {
	if p == nil {
		return true
	}
	if p.onlySub {
		plain, queued, named := lookup(p.subAllow, pattern, queue)
		if queue != "" && queued {
			plain = named
		}
		if !plain {
			return false
		}
	}
	return !p.denies(pattern, queue)
}

// mayAskFor judges what a leaf node subscribes to: with wildcards it is judged
// message by message.
func (p *perms) mayAskFor(pattern tokens) bool { return pattern.wild() || p.mayReceive(pattern) }

// mayReceive judges the text of a subject that a leaf node is to receive. Entries
// that name a queue do not count.
func (p *perms) mayReceive(subject tokens) bool {
	if p == nil {
		return true
	}
	plain, _, _ := lookup(p.subAllow, subject, "")
	denied, _, _ := lookup(p.subDeny, subject, "")
	return (plain || !p.onlySub) && !denied
}

func (p *perms) denies(text tokens, queue string) bool {
	plain, _, named := lookup(p.subDeny, text, queue)
	return plain || queue != "" && named
}

// lookup reports whether an entry without a queue matches text, one with a
// queue, and one with this queue.
func lookup(list []grant, text tokens, queue string) (plain, queued, named bool) {
	for _, g := range list {
		if !g.subject.matches(text) {
			continue
		}
		if g.queue == "" {
			plain = true
			continue
		}
		queued = true
		q := split(g.queue)
		named = named || g.queue == queue || q.wild() && q.covers(split(queue))
	}
	return plain, queued, named
}

// filters reports whether a message that arrives as subject is held back from a
// subscription to pattern that was admitted. Servers look only if the pattern
// has a wildcard or a queue and meets a denied subject.
func (p *perms) filters(pattern tokens, queue string, subject tokens) bool {
	if p == nil || !pattern.wild() && queue == "" {
		return false
	}
	for _, g := range p.subDeny {
		if g.subject.meets(pattern) {
			return p.denies(subject, queue)
		}
	}
	return false
}

// mayAnswer reports whether an answer is allowed by the response permission
// after the request arrived so many times under one reply subject. Every
// arrival after the first counts as an answer, and one too many starts anew.
func (p *perms) mayAnswer(arrived int) bool {
	if p.responses <= 0 {
		return p.responses < 0
	}
	return (arrived-1)%(p.responses+1) < p.responses
}
