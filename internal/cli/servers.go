package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
)

func newServers(a *app) *cobra.Command {
	cmd := group("servers", "Show the servers that must prove every claim, and forget one that is gone")
	cmd.AddCommand(newServersList(a), newServersForget(a))
	return cmd
}

func newServersList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the expected servers",
		Long: `List the servers that are expected to have every claim in force: the bundled
nodes, and each stock server that was ever seen in the cluster. One that is away
stays on the list, and keeps changes pending, until it is forgotten.`,
		Example: `  nsc servers list
  nsc servers list --json
  nsc servers list -o yaml`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listServers(cmd.Context()) },
	}
}

func (a *app) listServers(ctx context.Context) error {
	s, r, err := a.operator(ctx)
	if err != nil {
		return err
	}
	reply, err := s.askStatus(ctx, r, "")
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.printStructured(struct {
			Schema  int              `json:"schema"`
			Servers []api.NodeStatus `json:"servers"`
		}{api.Schema, reply.Nodes})
	}
	rows := [][]string{{"NAME", "URL", "STATE", "SINCE", "BEHIND", "REASON"}}
	for _, n := range reply.Nodes {
		state := "healthy"
		if !n.Healthy {
			state = "away"
		}
		rows = append(rows, []string{n.Server, n.URL, state, clock(n.Since.Unix()), fmt.Sprint(n.Behind), n.Reason})
	}
	return printTable(a.env.Stdout, rows)
}

func newServersForget(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "forget <server>",
		Short: "Expect a stock server no more that is gone for good",
		Long: `Forget a stock server that will not return, so that it keeps nothing pending. A
server that is up cannot be forgotten, and neither can a bundled node. If it
returns after all, it is found and expected again.`,
		Example: `  nsc servers forget edge-7
  nsc servers forget east/edge-7
  nsc servers forget edge-7 -K OCX2…`,
		Args: args(1, 1, "the server"),
		RunE: func(cmd *cobra.Command, given []string) error { return a.forgetServer(cmd.Context(), given[0]) },
	}
}

func (a *app) forgetServer(ctx context.Context, name string) error {
	return a.ask(ctx, fmt.Sprintf("server %s is not expected any more", name),
		func(ctx context.Context, c *api.Client, by claims.Signer, request string) (*api.Error, error) {
			reply, err := c.Forget(ctx, by, api.ForgetRequest{Server: name, Host: a.env.Host, Request: request})
			return reply.Error, err
		})
}
