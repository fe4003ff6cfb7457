package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// toolOptions are the flags that the tools share.
type toolOptions struct {
	account, user, servers string
}

// newTool groups the tools. toolCopies are the same, without a group.
func newTool(a *app) *cobra.Command {
	o := &toolOptions{}
	cmd := group("tool", "Publish, subscribe and ask as a user, to try its credentials")
	cmd.AddCommand(toolCommands(a, o)...)
	cmd.PersistentFlags().StringVar(&o.servers, "nats", "", "URLs of servers, comma-separated (default the operator's service URLs)")
	a.tlsFlags(cmd)
	return cmd
}

// toolCopies are the tools as hidden commands of the root, as the official
// tool has them.
func toolCopies(a *app) []*cobra.Command {
	copies := toolCommands(a, &toolOptions{})
	for _, cmd := range copies {
		cmd.Hidden = true
	}
	return copies
}

func toolCommands(a *app, o *toolOptions) []*cobra.Command {
	all := []*cobra.Command{newToolPub(a, o), newToolSub(a, o), newToolReq(a, o), newToolReply(a, o), newToolRTT(a, o)}
	for _, cmd := range all {
		accountFlag(cmd, &o.account)
		cmd.Flags().StringVarP(&o.user, "user", "u", "", "user name (default the only one)")
	}
	return all
}

// noEncrypt adds the flag of an experiment that the official tool still has.
func noEncrypt(cmd *cobra.Command) {
	cmd.Flags().BoolP("encrypt", "E", false, "no longer supported")
	_ = cmd.Flags().MarkHidden("encrypt")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if on, _ := cmd.Flags().GetBool("encrypt"); on {
			return usage("payloads are no longer encrypted by this tool")
		}
		return run(cmd, given)
	}
}

// withTool connects as the user and runs do. It does neither in a dry run.
func (a *app) withTool(ctx context.Context, o *toolOptions, do func(*nats.Conn) error) error {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	name, err := r.oneUser(ac, o.user)
	if err != nil {
		return err
	}
	servers := first(o.servers, strings.Join(r.claims.OperatorServiceURLs, ","))
	if servers == "" {
		return fault.New(fault.NotFound, "operator %q names no server", r.Name()).About("operator", r.Name()).
			WithHint("name one with --nats nats://host:4222, or for all with: nsc edit operator --service-url nats://host:4222")
	}
	token, seed, err := s.loginOf(r, ac.name, name)
	if err != nil {
		return err
	}
	pair, err := keys.UserFromSeed(seed)
	nscstore.Wipe(seed)
	if err != nil {
		return err
	}
	defer pair.Wipe()
	options, err := a.natsOptions()
	if err != nil {
		return err
	}
	if a.flags.dryRun {
		fmt.Fprintf(a.env.Stdout, "dry run: would connect to %s as user %s of %s\n", servers, name, ac.name)
		return nil
	}
	dialing, cancel := context.WithTimeout(ctx, a.flags.timeout)
	defer cancel()
	user := nats.UserJWT(func() (string, error) { return token, nil }, pair.Sign)
	nc, err := api.Connect(dialing, servers, append(options, a.toolEvents(user)...)...)
	if err == nil {
		err = do(nc)
		nc.Close()
	}
	return toolFault(err, servers, ac.name, name)
}

// toolEvents are the options of a tool's connection, which may live long.
func (a *app) toolEvents(user nats.Option) []nats.Option {
	say := func(format string, args ...any) { fmt.Fprintf(a.env.Stderr, "nsc: "+format+"\n", args...) }
	return []nats.Option{
		user,
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				say("disconnected: %s", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { say("connected again to %s", nc.ConnectedUrl()) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the tools look at LastError
	}
}

// toolFault says what the error of a connection means, and what would explain it.
func toolFault(err error, servers, account, user string) error {
	why := fault.Words("nsc", "why", user, "-a", account)
	switch {
	case err == nil || fault.As(err) != nil:
		return err
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return fault.New(fault.Denied, "the servers refuse user %q of account %q: %w", user, account, err).About("user", user).WithHint("learn why with: %s", why)
	case errors.Is(err, nats.ErrPermissionViolation):
		return fault.New(fault.Denied, "%w", err).About("user", user).WithHint("see what the user may do with: %s", why)
	case errors.Is(err, nats.ErrNoResponders):
		return fault.New(fault.Unavailable, "nobody answers on that subject").ByRule("no-responders")
	case errors.Is(err, context.Canceled):
		return fault.New(fault.Interrupted, "interrupted: %w", err)
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "no answer in time").ByRule("timeout").WithHint("wait longer with --timeout")
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrMaxPayload):
		return fault.New(fault.Invalid, "%w", err)
	}
	return fault.New(fault.Unavailable, "no server answers at %s: %w", servers, err).About("server", servers)
}

// toolMessage is a message as JSON. Data that is no text is in base64.
type toolMessage struct {
	Schema  int         `json:"schema"`
	Subject string      `json:"subject"`
	Reply   string      `json:"reply,omitempty"`
	Header  nats.Header `json:"header,omitempty"`
	Data    string      `json:"data"`
	Base64  []byte      `json:"base64,omitempty"`
}

func messageOf(msg *nats.Msg) toolMessage {
	m := toolMessage{Schema: api.Schema, Subject: msg.Subject, Reply: msg.Reply, Header: msg.Header}
	if utf8.Valid(msg.Data) {
		m.Data = string(msg.Data)
	} else {
		m.Base64 = msg.Data
	}
	return m
}

// printMessage shows a message that came: a line of JSON, or one for people.
func (a *app) printMessage(msg *nats.Msg, format string, args ...any) error {
	var err error
	if a.flags.json {
		enc := json.NewEncoder(a.env.Stdout)
		enc.SetEscapeHTML(false)
		err = enc.Encode(messageOf(msg))
	} else {
		_, err = fmt.Fprintf(a.env.Stdout, format+"\n", args...)
	}
	if err != nil {
		return fault.New(fault.Internal, "write the result: %w", err)
	}
	return nil
}
