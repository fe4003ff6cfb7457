package api

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/fault"
)

type natsLink struct{ nc *nats.Conn }

// Dial connects to urls, comma-separated, with opts, which hold the
// credentials, and asks for the service. Errors: fault.Unavailable when no
// server or no accountd answers, fault.Denied when the credentials are refused.
func Dial(ctx context.Context, urls string, now func() time.Time, opts ...nats.Option) (*Client, error) {
	opts = append([]nats.Option{nats.Name("nsc"), nats.MaxReconnects(2), nats.Timeout(2 * time.Second)}, opts...)
	nc, err := nats.Connect(urls, opts...)
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
		return nil, fault.New(fault.Unavailable, "accountd did not answer %s: %w", subject, err).About("server", l.nc.ConnectedUrl())
	}
	return answer.Data, nil
}
