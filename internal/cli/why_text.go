package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/keys"
)

// whyText is the explanation for people: the answer first, then the reasons.
func (a *app) whyText(ex *explanation) string {
	p := &page{long: a.flags.output == "wide"}
	p.title("user %s in %s  %s", first(ex.User, "without a name"), first(ex.Account, keys.Short(ex.AccountKey)), p.id(ex.Key))
	p.title("%s", ex.answer())
	for _, x := range ex.Refusals {
		p.fact("refused", fmt.Sprintf("%s (%s)", x.Why, x.Rule))
		p.fact("", helpText(x.Help))
	}
	p.fact("chain", ex.chainText(p))
	p.fact("issued", clock(ex.Issued))
	p.fact("expires", ending(ex.Expires))
	if ex.May != nil {
		lines := userLimitLines(*ex.May)
		switch {
		case ex.Source == "role":
			lines = append(lines, "as its role "+ex.Role+" says")
		case ex.Source == "account":
			lines = append(lines, "as the account's default permissions say")
		}
		p.facts("may", lines)
	}
	p.facts("connects", doorLines(ex.Doors))
	p.facts("nodes", a.whyNodeLines(ex.Nodes))
	if ex.Connections > 0 {
		p.fact("connected", count(ex.Connections, "connection")+" now")
	}
	p.facts("note", ex.Notes)
	return p.b.String()
}

// answer is the first line: the verdict, and on how many nodes.
func (ex *explanation) answer() string {
	same := 0
	for _, n := range ex.Nodes {
		if n.Verdict == ex.Verdict {
			same++
		}
	}
	text := ex.Verdict
	if len(ex.Nodes) > 0 {
		text += fmt.Sprintf(" on %d of %d nodes", same, len(ex.Nodes))
	}
	if open := openDoors(ex.Doors); len(open) > 0 && !slices.Contains(open, jwt.ConnectionTypeStandard) {
		text += ", by " + strings.Join(open, " and ") + " alone"
	}
	return text
}

func helpText(help string) string {
	if help == "" {
		return ""
	}
	return "what helps: " + help
}

func (ex *explanation) chainText(p *page) string {
	var each []string
	for _, l := range ex.Chain {
		each = append(each, strings.TrimSpace(l.Kind+" "+first(l.Name, p.id(l.Key))))
	}
	return strings.Join(each, " > ")
}

// doorLines names the types of connections that are open, then the others with
// the reason.
func doorLines(doors []accounts.Door) []string {
	var lines []string
	if open := openDoors(doors); len(open) > 0 {
		lines = append(lines, "by "+strings.Join(open, ", "))
	}
	for _, d := range doors {
		if d.Why != "" {
			lines = append(lines, fmt.Sprintf("not by %s: %s; %s", d.Type, d.Why, helpText(d.Help)))
		}
	}
	return lines
}

func openDoors(doors []accounts.Door) []string {
	var open []string
	for _, d := range doors {
		if d.Why == "" {
			open = append(open, d.Type)
		}
	}
	return open
}

func (a *app) whyNodeLines(nodes []whyNode) []string {
	var lines []string
	for _, n := range nodes {
		line := fmt.Sprintf("%s  %s", n.Server, a.state(n.State))
		if n.Reason != "" {
			line += "   " + n.Reason
		}
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return lines
}
