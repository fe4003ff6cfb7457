package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

type flowOptions struct {
	verifyOptions
	flow  isolation.Flow
	place string
	file  string
}

func newVerifyFlow(a *app) *cobra.Command {
	var o flowOptions
	cmd := &cobra.Command{
		Use: "flow", Short: "Say what becomes of one message, and which rule decides",
		Long: `Says what servers do with a message that one account publishes, for a
subscription of another: on which subjects it is delivered, or which rule stops
it. The logins are judged first, then the subscription, then the message. A user
that is not named or not known stands for one without permissions of its own.
Leaf nodes have the rights of the user whose credentials they have, by the names
that messages have on the wire: see --from-leaf and --to-leaf.
With --file every line is one flow as a JSON object (from, subject, reply, to,
pattern, queue, place, from_leaf, to_leaf), and every answer is one line of JSON.`,
		Example: `  nsc verify flow --from coke --subject orders.new --to pepsi
  nsc verify flow --from coke:till1 --subject orders.new --to pepsi:audit --pattern 'coke.>'
  nsc verify flow --from coke --subject orders.new --to pepsi --json
  nsc verify flow --from coke:till1 --from-leaf --subject orders.new --to pepsi
  nsc verify flow --from coke --subject orders.new --to pepsi --jwt-dir ./claims
  nsc verify flow --file flows.ndjson --servers same`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.verifyFlow(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.flow.From, "from", "", "account, account:user or account:@role that publishes")
	f.StringVar(&o.flow.Subject, "subject", "", "subject of the message")
	f.StringVar(&o.flow.Reply, "reply", "", "reply subject of the message")
	f.StringVar(&o.flow.To, "to", "", "account, account:user or account:@role that subscribes")
	f.StringVar(&o.flow.Pattern, "pattern", "", "what it subscribes to (default the subject)")
	f.StringVar(&o.flow.Queue, "queue", "", "queue group of the subscription, in which it is alone")
	f.BoolVar(&o.flow.FromLeaf, "from-leaf", false, "a leaf node publishes, with the user's credentials")
	f.BoolVar(&o.flow.ToLeaf, "to-leaf", false, "a leaf node subscribes, with the user's credentials")
	f.StringVar(&o.place, "servers", "any", "where the two connect: same, apart or any")
	f.StringVar(&o.file, "file", "", "answer every flow of this file, - for stdin")
	a.worldFlags(cmd, &o.verifyOptions)
	return cmd
}

// placements are the values of --servers.
func placement(word string) (isolation.Placement, error) {
	switch word {
	case "any":
		return isolation.Anywhere, nil
	case string(isolation.Together), string(isolation.Apart):
		return isolation.Placement(word), nil
	}
	return "", usage("unknown --servers %q; known are same, apart and any", word)
}

// flowAnswer is what is said of one flow.
type flowAnswer struct {
	Schema int `json:"schema"`
	isolation.Outcome
}

func (a *app) verifyFlow(ctx context.Context, o flowOptions) error {
	place, err := placement(o.place)
	if err != nil {
		return err
	}
	if o.file != "" {
		return a.verifyFlows(ctx, o, place)
	}
	if o.flow.From == "" || o.flow.Subject == "" || o.flow.To == "" {
		return usage("--from, --subject and --to are needed, or --file")
	}
	o.flow.Place = place
	w, err := a.world(ctx, o.verifyOptions, endpoints([]isolation.Flow{o.flow}))
	if err != nil {
		return err
	}
	if err := known(w, o.flow); err != nil {
		return err
	}
	out := w.Flow(o.flow)
	if a.flags.json {
		return a.printStructured(flowAnswer{api.Schema, out})
	}
	line := string(out.Result)
	if len(out.Subjects) > 0 {
		line += " on " + strings.Join(out.Subjects, ", ")
	}
	fmt.Fprintf(a.env.Stdout, "%s (%s)\n", line, out.Rule)
	for _, step := range out.Path {
		fmt.Fprintln(a.env.Stdout, "  "+step)
	}
	return nil
}

// known refuses a flow between accounts that are not there, which is more
// likely a slip than a question.
func known(w *isolation.World, f isolation.Flow) error {
	for _, who := range []string{f.From, f.To} {
		if w.Account(who) == "" {
			name, _, _ := strings.Cut(who, ":")
			return fault.New(fault.NotFound, "account %q is not among the claims", name).About("account", name).
				WithHint("list accounts with: nsc list accounts")
		}
	}
	return nil
}

// endpoints are the accounts of flows, by the names that the flows use.
func endpoints(flows []isolation.Flow) map[string]bool {
	out := map[string]bool{}
	for _, f := range flows {
		for _, who := range []string{f.From, f.To} {
			out[who] = true
			for i, c := range who {
				if c == ':' {
					out[who[:i]] = true
				}
			}
		}
	}
	return out
}

// verifyFlows answers the flows of a file, one a line.
func (a *app) verifyFlows(ctx context.Context, o flowOptions, place isolation.Placement) error {
	in := a.env.Stdin
	if o.file != "-" {
		f, err := os.Open(a.path(o.file))
		if err != nil {
			return fault.New(fault.NotFound, "open the file of flows: %w", err).About("file", o.file)
		}
		defer f.Close()
		in = f
	}
	flows, err := readFlows(in, place)
	if err != nil {
		return err
	}
	w, err := a.world(ctx, o.verifyOptions, endpoints(flows))
	if err != nil {
		return err
	}
	out := bufio.NewWriter(a.env.Stdout)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, f := range flows {
		if err := enc.Encode(flowAnswer{api.Schema, w.Flow(f)}); err != nil {
			return fault.New(fault.Internal, "write the answer: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fault.New(fault.Internal, "write the answers: %w", err)
	}
	return nil
}

func readFlows(in io.Reader, place isolation.Placement) ([]isolation.Flow, error) {
	data, err := io.ReadAll(in)
	if err != nil {
		return nil, fault.New(fault.Internal, "read the flows: %w", err)
	}
	var flows []isolation.Flow
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		f := isolation.Flow{Place: place}
		err := json.Unmarshal(line, &f)
		if err == nil && f.Place != isolation.Anywhere {
			_, err = placement(string(f.Place))
		}
		if err != nil || f.From == "" || f.Subject == "" || f.To == "" {
			return nil, fault.New(fault.Invalid, "line %d is no flow: a JSON object with from, subject and to", n).ByRule("malformed")
		}
		flows = append(flows, f)
	}
	return flows, nil
}
