package isolation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/accountd/accountd/fault"
)

// Policy is what a set of accounts must hold to. Accounts are named by their
// names or keys, users by account:user, whoever has a role by account:@role.
// Accounts and roles that are not among the claims break it.
type Policy struct {
	Isolated [][]string     `json:"isolated,omitempty" yaml:"isolated"` // no account of a list can reach another of it
	Reaches  []Allowance    `json:"reaches,omitempty" yaml:"reaches"`
	Flows    []ExpectedFlow `json:"flows,omitempty" yaml:"flows"`
}

// Allowance says which accounts an account may reach, at most. The system
// account is always allowed.
type Allowance struct {
	From string   `json:"from" yaml:"from"`
	Only []string `json:"only" yaml:"only"`
}

// ExpectedFlow says what must become of a message.
type ExpectedFlow struct {
	From    string `json:"from" yaml:"from"`
	Subject string `json:"subject" yaml:"subject"`
	Reply   string `json:"reply,omitempty" yaml:"reply"`
	To      string `json:"to" yaml:"to"`
	Pattern string `json:"pattern,omitempty" yaml:"pattern"`
	Queue   string `json:"queue,omitempty" yaml:"queue"`
	Expect  Result `json:"expect" yaml:"expect"`
	On      string `json:"on,omitempty" yaml:"on"` // subject of the only copy, if it matters
}

// Breach is one thing that a policy forbids and the claims permit, or the
// reverse.
type Breach struct {
	Rule string   `json:"rule"` // the line of the policy, in words
	Path []string `json:"path"` // why it does not hold

	id  string          // the same as long as the same demand is broken between the same accounts
	via map[string]bool // public keys of the accounts on the way
}

// Touches reports whether an account has a part in the breach.
func (b Breach) Touches(key string) bool { return b.via[key] }

// ParsePolicy reads a policy in YAML. A word that it does not know is an error:
// a demand that is misspelt must not pass for one that holds.
func ParsePolicy(data []byte) (Policy, error) {
	var p Policy
	if len(data) > maxPolicy {
		return p, fault.New(fault.Invalid, "the policy has %d bytes, %d are read", len(data), maxPolicy)
	}
	if err := yaml.UnmarshalWithOptions(data, &p, yaml.Strict()); err != nil {
		return p, fault.New(fault.Invalid, "%s", yaml.FormatError(err, false, false))
	}
	if why := p.Valid(); why != "" {
		return p, fault.New(fault.Invalid, "%s", why)
	}
	return p, nil
}

// maxPolicy is the size of a policy that is read.
const maxPolicy = 1 << 20

// demand is what a policy says of the messages of one account or user.
type demand struct {
	from  string
	apart *apart        // it reaches none of these
	only  []string      // it reaches none but these, if allow
	allow bool          //
	flow  *ExpectedFlow // what becomes of one message
}

// apart is a list of accounts that are isolated from each other.
type apart struct {
	at    map[string]int // place in the list
	users []string       // those that are account:user
}

// demands are the lines of a policy by whom they are about.
func (p Policy) demands() []demand {
	var out []demand
	for _, list := range p.Isolated {
		a := &apart{at: map[string]int{}}
		for i, who := range list {
			a.at[who] = i
			if strings.Contains(who, ":") {
				a.users = append(a.users, who)
			}
		}
		for _, who := range list {
			out = append(out, demand{from: who, apart: a})
		}
	}
	for _, r := range p.Reaches {
		out = append(out, demand{from: r.From, allow: true, only: r.Only})
	}
	for _, f := range p.Flows {
		out = append(out, demand{from: f.From, flow: &f})
	}
	return out
}

// named returns every account, without its users, and every role that a policy
// speaks of, once.
func (p Policy) named() []string {
	var out []string
	for _, d := range p.demands() {
		out = append(append(out, d.from), d.only...)
		if d.flow != nil {
			out = append(out, d.flow.To)
		}
	}
	for i, who := range out {
		account, user, _ := strings.Cut(who, ":")
		if strings.HasPrefix(user, roleMark) {
			out = append(out, who)
		}
		out[i] = account
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// account is who without the user or role.
func account(who string) string {
	name, _, _ := strings.Cut(who, ":")
	return name
}

// Check holds the world against a policy.
func (w *World) Check(p Policy) []Breach {
	c := checker{w: w, out: w.missing(p.named()), explored: map[string]*explorer{}}
	for _, d := range p.demands() {
		c.check(d)
	}
	return c.out
}

// missing are the accounts and roles that a policy names and that are not there.
func (w *World) missing(names []string) []Breach {
	out := []Breach{}
	for _, who := range names {
		name, role, isRole := strings.Cut(who, ":"+roleMark)
		t, lacks := w.find(name), ""
		switch {
		case t == nil && !isRole:
			lacks = "account " + name + " is not among the claims"
		case t != nil && isRole && len(rolesNamed(t.claims, role)) == 0:
			lacks = "account " + name + " has no role " + role
		default:
			continue
		}
		out = append(out, Breach{Rule: who + " is there", Path: []string{lacks}, id: "missing " + who, via: t.key()})
	}
	return out
}

// key is the account alone, of the way of a breach.
func (t *tenant) key() map[string]bool {
	if t == nil {
		return nil
	}
	return map[string]bool{t.claims.Subject: true}
}

// checker collects what does not hold.
type checker struct {
	w        *World
	out      []Breach
	explored map[string]*explorer // by where messages come from
}

// explore follows the messages of an account or user, once.
func (c *checker) explore(from string) *explorer {
	x := c.explored[from]
	if x == nil {
		x = c.w.explorer(c.w.anyone(from), nil)
		c.explored[from] = x
	}
	return x
}

func (c *checker) check(d demand) {
	switch {
	case d.flow != nil:
		c.flow(*d.flow)
	case d.apart != nil:
		c.apart(d)
	default:
		c.only(d)
	}
}

func (c *checker) apart(d demand) {
	c.places(d, c.explore(d.from).found, func(at *tenant) (string, bool) {
		for _, who := range []string{at.claims.Name, at.claims.Subject} {
			if _, ok := d.apart.at[who]; ok && who != d.from && c.w.find(who) == at {
				first, second := d.from, who
				if d.apart.at[who] < d.apart.at[d.from] {
					first, second = who, d.from
				}
				return fmt.Sprintf("%s and %s are isolated", first, second), true
			}
		}
		return "", false
	})
	for _, who := range d.apart.users {
		from, to := c.w.anyone(d.from), c.w.anyone(who)
		if who == d.from || to.tenant == nil {
			continue
		}
		if p := c.w.explore(from, &to)[to.tenant]; p != nil {
			c.add(fmt.Sprintf("%s and %s are isolated", d.from, who), from, p)
		}
	}
}

func (c *checker) only(d demand) {
	only := strings.Join(d.only, ", ")
	if only == "" {
		only = "no account"
	}
	c.places(d, c.explore(d.from).found, func(at *tenant) (string, bool) {
		allowed := at.claims.Subject == c.w.cfg.System || slices.ContainsFunc(d.only, func(o string) bool { return c.w.find(o) == at })
		return fmt.Sprintf("%s reaches only %s", d.from, only), !allowed
	})
}

// places adds a breach for each account that must not be reached, in the order
// of their keys.
func (c *checker) places(d demand, found map[*tenant]*place, forbidden func(*tenant) (rule string, yes bool)) {
	for _, at := range slices.SortedFunc(maps.Keys(found), func(a, b *tenant) int { return cmp.Compare(a.claims.Subject, b.claims.Subject) }) {
		if rule, yes := forbidden(at); yes {
			c.add(rule, c.w.anyone(d.from), found[at])
		}
	}
}

func (c *checker) add(rule string, from endpoint, p *place) {
	b := Breach{Rule: rule, Path: p.reach(from).Path, id: strings.Join([]string{rule, from.label, p.at.claims.Subject}, " "), via: map[string]bool{}}
	for q := p; q != nil; q = q.before {
		b.via[q.at.claims.Subject] = true
		if q.link != nil {
			b.via[q.link.importer.claims.Subject], b.via[q.link.exporter.claims.Subject] = true, true
		}
	}
	c.out = append(c.out, b)
}

func (c *checker) flow(f ExpectedFlow) {
	w := c.w
	a, b := w.find(account(f.From)), w.find(account(f.To))
	if a == nil || b == nil {
		return // which is a breach of its own
	}
	got := w.Flow(Flow{From: f.From, Subject: f.Subject, Reply: f.Reply, To: f.To, Pattern: f.Pattern, Queue: f.Queue})
	if got.Result == f.Expect && (f.On == "" || slices.Equal(got.Subjects, []string{f.On})) {
		return
	}
	rule := fmt.Sprintf("%s from %s to %s is %s", f.Subject, f.From, f.To, f.Expect)
	if f.On != "" {
		rule += " on " + f.On
	}
	path := append(slices.Clone(got.Path), strings.TrimSpace(fmt.Sprintf("it is %s %s", got.Result, strings.Join(got.Subjects, ", "))))
	c.out = append(c.out, Breach{Rule: rule, Path: path, id: rule, via: map[string]bool{a.claims.Subject: true, b.claims.Subject: true}})
}

// Valid says what is wrong with a policy itself, "" for nothing.
func (p Policy) Valid() string {
	results := []Result{Delivered, None, PublishDenied, SubscribeDenied, LoginRefused, Possible}
	for i, list := range p.Isolated {
		if len(list) < 2 {
			return fmt.Sprintf("list %d of isolated names fewer than two accounts", i+1)
		}
	}
	for i, r := range p.Reaches {
		if r.From == "" {
			return fmt.Sprintf("entry %d of reaches has no from", i+1)
		}
	}
	for i, f := range p.Flows {
		switch {
		case f.From == "" || f.Subject == "" || f.To == "":
			return fmt.Sprintf("entry %d of flows lacks from, subject or to", i+1)
		case !slices.Contains(results, f.Expect):
			return fmt.Sprintf("entry %d of flows expects %q; known are %v", i+1, f.Expect, results)
		}
	}
	if len(p.Isolated)+len(p.Reaches)+len(p.Flows) == 0 {
		return "it demands nothing"
	}
	return ""
}
