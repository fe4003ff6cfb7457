package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

type isolationOptions struct {
	verifyOptions
	all, diagram bool
}

// verdict is the result of verify isolation. Its JSON is documented in
// docs/json-output.md.
type verdict struct {
	Schema   int               `json:"schema"`
	Isolated bool              `json:"isolated"`
	Reaches  []isolation.Reach `json:"reaches"`
}

func newVerifyIsolation(a *app) *cobra.Command {
	var o isolationOptions
	cmd := &cobra.Command{
		Use: "isolation <account> <account>", Short: "Prove that no message can come from one account to the other",
		Long: `Proves from the claims that no message of a user of one account can come to the
other, in either direction, or shows a shortest way, step by step, and exits 9.
An account stands for every user that it may ever have; account:user for that
user alone. With --all every account is held against every other one, the system
account left out, since servers let every account ask it. A way that servers
leave to chance, order or placement counts, and is called possible. What somebody
of a third account could pass on is no flow; docs/isolation.md says what else is
not.`,
		Example: `  nsc verify isolation coke pepsi
  nsc verify isolation coke:till1 pepsi
  nsc verify isolation --all
  nsc verify isolation --all --diagram
  nsc verify isolation --all --served
  nsc verify isolation coke pepsi --jwt-dir ./claims --json`,
		Args: args(0, 2, "two accounts"),
		RunE: func(cmd *cobra.Command, given []string) error { return a.verifyIsolation(cmd.Context(), o, given) },
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "hold every account against every other one")
	cmd.Flags().BoolVar(&o.diagram, "diagram", false, "print a Mermaid diagram of who can reach whom, and by what")
	a.worldFlags(cmd, &o.verifyOptions)
	return cmd
}

func (a *app) verifyIsolation(ctx context.Context, o isolationOptions, given []string) error {
	if o.all == (len(given) > 0) || !o.all && len(given) != 2 {
		return usage("name two accounts, or --all")
	}
	var pair isolation.Flow
	if !o.all {
		pair = isolation.Flow{From: given[0], To: given[1]}
	}
	w, err := a.world(ctx, o.verifyOptions, endpoints([]isolation.Flow{pair}))
	if err != nil {
		return err
	}
	v := verdict{Schema: api.Schema}
	if o.all {
		v.Reaches = w.Reaches()
	} else {
		if err := known(w, pair); err != nil {
			return err
		}
		v.Reaches = w.Isolated(pair.From, pair.To)
	}
	v.Isolated = len(v.Reaches) == 0
	if v.Isolated {
		v.Reaches = []isolation.Reach{}
	}
	if err := a.printVerdictOf(v, o, given); err != nil || v.Isolated {
		return err
	}
	if o.all {
		return fault.New(fault.No, "one account reaches another in %s", count(len(v.Reaches), "way")).ByRule("isolation")
	}
	refused := fault.New(fault.No, "%s and %s are not isolated", given[0], given[1]).ByRule("isolation")
	if importer := importerOf(v.Reaches[0]); importer != "" {
		name := shellWords([]string{importer})
		refused = refused.WithHint("find the import with: nsc list imports -a %s, and close the way with: nsc delete import -a %s --subject <subject>", name, name)
	}
	return refused
}

// importerOf is the account whose import opens a way, "" if none does.
func importerOf(r isolation.Reach) string {
	switch r.How {
	case "stream":
		return r.To
	case "service":
		return r.From
	}
	return ""
}

func (a *app) printVerdictOf(v verdict, o isolationOptions, given []string) error {
	out := a.env.Stdout
	switch {
	case a.flags.json:
		return a.printStructured(v)
	case o.diagram:
		fmt.Fprint(out, reachChart(v.Reaches))
		return nil
	case v.Isolated && o.all:
		fmt.Fprintln(out, "isolated: no account can reach another one")
	case v.Isolated:
		fmt.Fprintf(out, "isolated: %s and %s\n", given[0], given[1])
	}
	for _, r := range v.Reaches {
		fmt.Fprintf(out, "%s -> %s  %s\n", r.From, r.To, edge(r))
		for _, step := range r.Path {
			fmt.Fprintln(out, "  "+step)
		}
	}
	return nil
}

// edge says by what an account reaches another one.
func edge(r isolation.Reach) string {
	text := r.How + " " + r.Subject
	if r.Arrives != r.Subject {
		text += " as " + r.Arrives
	}
	if r.Possible {
		text += " (possible)"
	}
	return text
}

// reachChart draws who can reach whom. What is only possible is dotted.
func reachChart(reaches []isolation.Reach) string {
	m := newMermaid("who can reach whom", "LR")
	drawn := map[string]bool{}
	for _, r := range reaches {
		for _, name := range []string{r.From, r.To} {
			if !drawn[name] {
				drawn[name] = true
				m.box(name, false, false, name)
			}
		}
	}
	for _, r := range reaches {
		arrow := "-->"
		if r.Possible {
			arrow = "-.->"
		}
		m.arrow(r.From, arrow, edge(r), r.To)
	}
	return m.b.String()
}
