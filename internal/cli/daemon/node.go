package daemon

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/server"
)

func newNode(env Env, dir *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Stop or start one server of the running accountd dev",
		Example: `  accountd dev node stop nats-1
  accountd dev node start nats-1
  accountd dev node stop nats-2 --dir ./demo`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return needsCommand(cmd) },
	}
	cmd.AddCommand(
		nodeVerb(env, dir, server.StopNode, "stopped", "Stop a server: its clients are sent away, and move to the others"),
		nodeVerb(env, dir, server.StartNode, "running", "Start a stopped server on its former ports; it catches up before it serves"),
	)
	return cmd
}

func nodeVerb(env Env, dir *string, verb, state, short string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NODE",
		Short: short,
		Example: fmt.Sprintf(`  accountd dev node %[1]s nats-1
  accountd dev node %[1]s nats-0 --dir ./demo
  accountd dev node %[1]s nats-2 --dir /srv/demo`, verb),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, "%s takes the name of one node", cmd.CommandPath()).WithHint("%s nats-1", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			changed, err := server.Control(cmd.Context(), env.absolute(*dir), verb, args[0])
			if err != nil {
				return err
			}
			already := ""
			if !changed {
				already = " already"
			}
			_, err = fmt.Fprintf(env.Stdout, "%s is %s%s\n", args[0], state, already)
			return err
		},
	}
}
