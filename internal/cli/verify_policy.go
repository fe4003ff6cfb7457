package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

// compliance is the result of verify -f. Its JSON is documented in
// docs/json-output.md.
type compliance struct {
	Schema   int                `json:"schema"`
	Holds    bool               `json:"holds"`
	Breaches []isolation.Breach `json:"breaches"`
}

// verifyPolicy holds the claims against a policy file.
func (a *app) verifyPolicy(ctx context.Context, o verifyOptions, file string) error {
	p, err := readPolicy(a.path(file))
	if err != nil {
		return err
	}
	var users []isolation.Flow
	for _, list := range p.Isolated {
		for _, who := range list {
			users = append(users, isolation.Flow{From: who})
		}
	}
	for _, r := range p.Reaches {
		users = append(users, isolation.Flow{From: r.From})
	}
	for _, f := range p.Flows {
		users = append(users, isolation.Flow{From: f.From, To: f.To})
	}
	w, err := a.world(ctx, o, endpoints(users))
	if err != nil {
		return err
	}
	v := compliance{Schema: api.Schema, Breaches: w.Check(p)}
	v.Holds = len(v.Breaches) == 0
	if err := a.printCompliance(v, file); err != nil || v.Holds {
		return err
	}
	return fault.New(fault.No, "the claims break %s of %s", count(len(v.Breaches), "demand"), file).ByRule("policy")
}

func (a *app) printCompliance(v compliance, file string) error {
	if a.flags.json {
		return a.printStructured(v)
	}
	if v.Holds {
		fmt.Fprintf(a.env.Stdout, "the claims hold to %s\n", file)
	}
	for _, b := range v.Breaches {
		fmt.Fprintf(a.env.Stdout, "broken: %s\n", b.Rule)
		for _, step := range b.Path {
			fmt.Fprintln(a.env.Stdout, "  "+step)
		}
	}
	return nil
}

func readPolicy(file string) (isolation.Policy, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return isolation.Policy{}, fault.New(fault.NotFound, "read the policy: %w", err).About("file", file)
	}
	p, err := isolation.ParsePolicy(data)
	if err != nil {
		return p, fault.New(fault.CodeOf(err), "policy %s: %w", file, err).About("file", file).ByRule("policy file")
	}
	return p, nil
}
