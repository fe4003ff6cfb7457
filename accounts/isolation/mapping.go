package isolation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// mapping renames the messages that an account's clients publish, and those
// that come to it through service imports.
type mapping struct {
	src   tokens
	dests []*transform // any of them can be chosen
	lossy bool         // and some messages vanish
}

// mappingsOf compiles the mappings of an account. Those that servers refuse are
// left out, as servers do when they load the account.
func (w *World) mappingsOf(ac *jwt.AccountClaims) []mapping {
	var out []mapping
	for src, dests := range ac.Mappings {
		if m, ok := w.compileMapping(string(src), dests); ok {
			out = append(out, m)
		}
	}
	for src, dest := range w.domainMappings(ac) {
		if _, own := ac.Mappings[jwt.Subject(src)]; !own {
			t, err := newTransform(src, dest, false)
			if err == nil {
				out = append(out, mapping{src: split(src), dests: []*transform{t}})
			}
		}
	}
	slices.SortFunc(out, func(a, b mapping) int { return cmp.Compare(a.src.String(), b.src.String()) })
	return out
}

func (w *World) compileMapping(src string, dests []jwt.WeightedMapping) (mapping, bool) {
	m := mapping{src: split(src)}
	if !valid(src) {
		return m, false
	}
	seen := map[string]bool{}
	lists := map[string][]*transform{}
	weights := map[string]int{}
	for _, d := range dests {
		dest := string(d.Subject)
		if seen[dest] {
			return m, false
		}
		seen[dest] = true
		weights[d.Cluster] += int(d.GetWeight())
		t, err := mappingTransform(src, dest)
		if err != nil || weights[d.Cluster] > 100 {
			return m, false
		}
		lists[d.Cluster] = append(lists[d.Cluster], t)
	}
	cluster := w.cfg.Cluster
	if lists[cluster] == nil {
		cluster = "" // destinations of other clusters do not count here
	}
	m.dests = lists[cluster]
	if w.cfg.Cautious {
		m.dests = slices.Concat(slices.Collect(maps.Values(lists))...)
	}
	switch rest := 100 - weights[cluster]; {
	case rest > 0 && seen[src]: // to list the source itself asks for loss
		m.lossy = true
	case rest > 0:
		same, err := newTransform(src, tokenize(src), false)
		if err != nil {
			return m, false
		}
		m.dests = append(m.dests, same)
	}
	return m, true
}

// mappingTransform is a transform under the rules for destinations of mappings.
func mappingTransform(src, dest string) (*transform, error) {
	for _, tok := range split(dest) {
		if isFunction(tok) && !function.MatchString(tok) || !isFunction(tok) && strings.ContainsAny(tok, "\t\n\f\r ") {
			return nil, errTransform
		}
	}
	return newTransform(src, dest, false)
}

// domainMappings are what servers with a JetStream domain add to accounts.
func (w *World) domainMappings(ac *jwt.AccountClaims) map[string]string {
	out := map[string]string{}
	if w.cfg.Domain == "" || !w.cfg.JetStream {
		return out
	}
	api := "$JS." + w.cfg.Domain + ".API."
	if ac.Subject == w.cfg.System {
		out[api+">"] = jsAPI
		return out
	}
	for _, what := range []string{"STREAM.>", "CONSUMER.>", "DIRECT.>", "META.>", "SERVER.>", "ACCOUNT.>", "INFO"} {
		out[api+what] = "$JS.API." + what
	}
	for _, space := range []string{"$KV.>", "$OBJ.>"} {
		out[api+space] = space
	}
	return out
}

// rename applies the mappings of an account to a subject. ok is false if the
// message is dropped.
func (t *trial) rename(at *tenant, subject tokens) (_ tokens, ok bool) {
	var fit []mapping
	for _, m := range at.mappings {
		if m.src.covers(subject) {
			fit = append(fit, m)
		}
	}
	if len(fit) == 0 {
		return subject, true
	}
	m := fit[t.pick(len(fit), fmt.Sprintf("several mappings of %s fit %s and servers use any of them", at.label(), subject))]
	n := len(m.dests)
	if m.lossy {
		n++
	}
	i := t.pick(n, fmt.Sprintf("the mapping of %s in %s goes to one of several destinations by chance", m.src, at.label()))
	if i == len(m.dests) {
		t.block(RuleMapping, "%s drops it by its mapping of %s, which has a weight below 100", at.label(), m.src)
		return tokens{""}, false
	}
	out := m.dests[i].apply(subject, func(n int) int { return t.pick(min(n, maxRandom), "a mapping makes a random number") })
	if out.String() != subject.String() {
		t.step(RuleMapping, "the mapping of %s in %s renames it to %s", m.src, at.label(), out)
	}
	return out, true
}

// maxRandom is how many values of {{random(n)}} are looked at.
const maxRandom = 3
