package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/fault"
)

type natsLink struct{ nc *nats.Conn }

// Dial connects to urls, comma-separated, with opts, which hold the
// credentials, and asks for the service. Errors: fault.Unavailable when no
// server or no accountd answers, fault.Denied when the credentials are refused.
func Dial(ctx context.Context, urls string, now func() time.Time, opts ...nats.Option) (*Client, error) {
	nc, err := Connect(ctx, urls, append([]nats.Option{nats.MaxReconnects(2)}, opts...)...)
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return nil, fault.New(fault.Denied, "the servers at %s refuse the system user's credentials", urls).About("server", urls)
	case err != nil:
		return nil, fault.New(fault.Unavailable, "no server answers at %s: %w", urls, err).About("server", urls)
	}
	c := &Client{link: natsLink{nc}, now: now}
	if err := c.discover(ctx, nc); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// dialTime bounds the connection to one server.
const dialTime = 2 * time.Second

// Connect is nats.Connect, which also ends when ctx does.
func Connect(ctx context.Context, urls string, opts ...nats.Option) (*nats.Conn, error) {
	dialing, end := context.WithCancel(context.WithoutCancel(ctx))
	connected := context.AfterFunc(ctx, end)
	nc, err := nats.Connect(urls, append([]nats.Option{
		nats.Name("nsc"), nats.Timeout(dialTime), nats.SetCustomDialer(dialer{dialing}),
	}, opts...)...)
	if !connected() && err == nil { // ctx ended meanwhile, and closed the connection
		nc.Close()
		err = ctx.Err()
	}
	return nc, err
}

// dialer opens connections until a context ends, which also closes them.
type dialer struct{ until context.Context }

// Dial implements nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: dialTime}).DialContext(d.until, network, address)
	if err == nil {
		context.AfterFunc(d.until, func() { _ = conn.Close() })
	}
	return conn, err
}

func (c *Client) discover(ctx context.Context, nc *nats.Conn) error {
	msg, err := nc.RequestWithContext(ctx, "$SRV.INFO."+Service, nil)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return fault.New(fault.Unavailable, "%w at %s", ErrNoService, nc.ConnectedUrl()).About("server", nc.ConnectedUrl())
	case err != nil:
		return fault.New(fault.Unavailable, "accountd at %s did not answer: %w", nc.ConnectedUrl(), err).About("server", nc.ConnectedUrl())
	}
	var info struct {
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.Unmarshal(msg.Data, &info); err != nil {
		return fault.New(fault.Invalid, "accountd at %s describes itself in an unknown form", nc.ConnectedUrl())
	}
	c.Operator, c.Server, c.Custody = info.Metadata[MetaOperator], info.Metadata[MetaServer], info.Metadata[MetaCustody]
	return nil
}

func (l natsLink) close() { l.nc.Close() }

func (l natsLink) send(ctx context.Context, subject, auth string, body []byte) ([]byte, error) {
	msg := &nats.Msg{Subject: subject, Data: body}
	if auth != "" {
		msg.Header = nats.Header{AuthHeader: {auth}}
	}
	answer, err := l.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "accountd did not answer %s: %w", subject, err).About("server", l.nc.ConnectedUrl()).
			WithHint("look whether it runs, or give it more time with --timeout")
	}
	return answer.Data, nil
}
