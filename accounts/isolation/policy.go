package isolation

import (
	"fmt"
	"slices"
	"strings"
)

// Policy is what a set of accounts must hold to. Account names that are not
// among the claims break it.
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
}

// Check holds the world against a policy.
func (w *World) Check(p Policy) []Breach {
	out := []Breach{}
	for _, list := range p.Isolated {
		for i, a := range list {
			for _, b := range list[i+1:] {
				out = w.checkIsolated(out, a, b)
			}
		}
	}
	for _, r := range p.Reaches {
		out = w.checkReaches(out, r)
	}
	for _, f := range p.Flows {
		out = w.checkFlow(out, f)
	}
	return out
}

func (w *World) checkIsolated(out []Breach, a, b string) []Breach {
	rule := fmt.Sprintf("%s and %s are isolated", a, b)
	if missing := w.missing(a, b); missing != "" {
		return append(out, Breach{rule, []string{missing}})
	}
	for _, r := range w.Isolated(a, b) {
		out = append(out, Breach{rule, r.Path})
	}
	return out
}

// missing says which of the accounts are not there, "" for none.
func (w *World) missing(who ...string) string {
	for _, name := range who {
		account, _, _ := strings.Cut(name, ":")
		if w.find(account) == nil {
			return "account " + account + " is not among the claims"
		}
	}
	return ""
}

func (w *World) checkReaches(out []Breach, r Allowance) []Breach {
	only := strings.Join(r.Only, ", ")
	if only == "" {
		only = "no account"
	}
	rule := fmt.Sprintf("%s reaches only %s", r.From, only)
	if missing := w.missing(append([]string{r.From}, r.Only...)...); missing != "" {
		return append(out, Breach{rule, []string{missing}})
	}
	from := w.anyone(r.From)
	var found []Breach
	for _, p := range w.explore(from, nil) {
		allowed := p.at.claims.Subject == w.cfg.System || slices.ContainsFunc(r.Only, func(o string) bool { return w.find(o) == p.at })
		if !allowed {
			found = append(found, Breach{rule, p.reach(from).Path})
		}
	}
	slices.SortFunc(found, func(a, b Breach) int { return slices.Compare(a.Path, b.Path) })
	return append(out, found...)
}

func (w *World) checkFlow(out []Breach, f ExpectedFlow) []Breach {
	got := w.Flow(Flow{From: f.From, Subject: f.Subject, Reply: f.Reply, To: f.To, Pattern: f.Pattern, Queue: f.Queue})
	if got.Result == f.Expect && (f.On == "" || slices.Equal(got.Subjects, []string{f.On})) {
		return out
	}
	rule := fmt.Sprintf("%s from %s to %s is %s", f.Subject, f.From, f.To, f.Expect)
	if f.On != "" {
		rule += " on " + f.On
	}
	path := append(slices.Clone(got.Path), strings.TrimSpace(fmt.Sprintf("it is %s %s", got.Result, strings.Join(got.Subjects, ", "))))
	return append(out, Breach{rule, path})
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
