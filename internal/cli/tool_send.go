package cli

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
)

func newToolPub(a *app, o *toolOptions) *cobra.Command {
	return &cobra.Command{
		Use: "pub <subject> [payload]", Short: "Publish a message as a user",
		Example: `  nsc tool pub greeting hello -a app -u device1
  nsc tool pub greeting 'hello world' --nats nats://localhost:4222
  nsc tool pub greeting`,
		Args: args(1, 2, "the subject"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.withTool(cmd.Context(), o, func(nc *nats.Conn) error {
				msg := &nats.Msg{Subject: given[0], Data: payloadOf(given)}
				if err := publish(nc, msg); err != nil {
					return err
				}
				return a.printMessage(msg, "published [%s] : %q", msg.Subject, msg.Data)
			})
		},
	}
}

// payloadOf is the second argument of a tool, if there is one.
func payloadOf(given []string) []byte {
	if len(given) < 2 {
		return nil
	}
	return []byte(given[1])
}

// publish sends a message and waits until the server has seen it, and said
// whether it was allowed.
func publish(nc *nats.Conn, msg *nats.Msg) error {
	if err := nc.PublishMsg(msg); err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	return nc.LastError()
}

func newToolReq(a *app, o *toolOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "req <subject> [payload]", Short: "Send a request as a user and print the answer",
		Long: `Send a request as a user and print the answer. The exit code is 6 if nobody
answers, or not within --timeout.`,
		Example: `  nsc tool req time.now -a app -u device1
  nsc tool req time.now 'in utc' --timeout 2s
  nsc tool req time.now --json`,
		Args: args(1, 2, "the subject"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.withTool(cmd.Context(), o, func(nc *nats.Conn) error {
				return a.request(cmd.Context(), nc, &nats.Msg{Subject: given[0], Data: payloadOf(given)})
			})
		},
	}
	noEncrypt(cmd)
	return cmd
}

func (a *app) request(ctx context.Context, nc *nats.Conn, msg *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, a.flags.timeout)
	defer cancel()
	answer, err := nc.RequestMsgWithContext(ctx, msg)
	if denied := nc.LastError(); err != nil && denied != nil {
		return denied
	}
	if err != nil {
		return err
	}
	return a.printMessage(answer, "received reply: [%s] : '%s'", answer.Subject, answer.Data)
}

func newToolRTT(a *app, o *toolOptions) *cobra.Command {
	return &cobra.Command{
		Use: "rtt", Short: "Measure the round trip to the server as a user",
		Example: `  nsc tool rtt -a app -u device1
  nsc tool rtt --nats nats://localhost:4222
  nsc tool rtt --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withTool(cmd.Context(), o, func(nc *nats.Conn) error {
				rtt, err := nc.RTT()
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.printStructured(roundTrip{api.Schema, nc.ConnectedUrl(), float64(rtt.Microseconds()) / 1000})
				}
				fmt.Fprintf(a.env.Stdout, "round trip time to [%s] = %v\n", nc.ConnectedUrl(), rtt)
				return nil
			})
		},
	}
}

// roundTrip is the JSON of tool rtt.
type roundTrip struct {
	Schema int     `json:"schema"`
	Server string  `json:"server"`
	Ms     float64 `json:"ms"`
}
