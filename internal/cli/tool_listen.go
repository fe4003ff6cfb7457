package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
)

// listenOptions are the flags of tool sub and tool reply.
type listenOptions struct {
	queue string
	most  int
}

func (o *listenOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.queue, "queue", "q", "", "share the messages with the others of this queue")
	cmd.Flags().IntVar(&o.most, "max-messages", -1, "end after so many messages")
}

func newToolSub(a *app, o *toolOptions) *cobra.Command {
	var l listenOptions
	cmd := &cobra.Command{
		Use: "sub <subject>", Short: "Print the messages that a user receives, until it is interrupted",
		Example: `  nsc tool sub 'greeting.>' -a app -u device1
  nsc tool sub greeting --queue workers
  nsc tool sub greeting --max-messages 1 --json`,
		Args: args(1, 1, "the subject"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.withTool(cmd.Context(), o, func(nc *nats.Conn) error {
				return a.listen(cmd.Context(), nc, given[0], l, func(i int, msg *nats.Msg) error {
					return a.printMessage(msg, "[#%d] received on [%s]: '%s'", i, msg.Subject, msg.Data)
				})
			})
		},
	}
	l.flags(cmd)
	_ = cmd.Flags().MarkHidden("max-messages")
	noEncrypt(cmd)
	return cmd
}

func newToolReply(a *app, o *toolOptions) *cobra.Command {
	var l listenOptions
	cmd := &cobra.Command{
		Use: "reply <subject> [answer]", Short: "Answer requests as a user, with their payload or a fixed one",
		Example: `  nsc tool reply time.now noon -a app -u device1
  nsc tool reply echo --queue workers
  nsc tool reply echo --max-messages 10`,
		Args: args(1, 2, "the subject"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.withTool(cmd.Context(), o, func(nc *nats.Conn) error {
				return a.listen(cmd.Context(), nc, given[0], l, func(i int, msg *nats.Msg) error {
					return a.answer(nc, i, msg, given)
				})
			})
		},
	}
	l.flags(cmd)
	return cmd
}

// answer answers a request; a message that wants no answer is only shown.
func (a *app) answer(nc *nats.Conn, i int, msg *nats.Msg, given []string) error {
	if msg.Reply == "" {
		return a.printMessage(msg, "[#%d] ignored on [%s]: no reply subject", i, msg.Subject)
	}
	payload := msg.Data
	if len(given) > 1 {
		payload = payloadOf(given)
	}
	if err := publish(nc, &nats.Msg{Subject: msg.Reply, Data: payload}); err != nil {
		return err
	}
	return a.printMessage(msg, "[#%d] received on [%s]: '%s'", i, msg.Subject, msg.Data)
}

// listen hands messages to each, until there were as many as wanted.
func (a *app) listen(ctx context.Context, nc *nats.Conn, subject string, o listenOptions, each func(i int, msg *nats.Msg) error) error {
	sub, err := nc.QueueSubscribeSync(subject, o.queue)
	if err == nil {
		err = nc.Flush()
	}
	if err == nil {
		err = nc.LastError()
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.env.Stderr, "listening on [%s]\n", subject)
	for i := 1; o.most <= 0 || i <= o.most; i++ {
		msg, err := sub.NextMsgWithContext(ctx)
		if denied := nc.LastError(); errors.Is(err, nats.ErrConnectionClosed) && denied != nil {
			return denied
		}
		if err != nil {
			return err
		}
		if err := each(i, msg); err != nil {
			return err
		}
	}
	return nil
}
