package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// Client speaks to accountd over NATS, as a user of the system account. The
// connection only carries requests; what they may do is decided by the key
// that signs them.
type Client struct {
	Operator string // public key of the operator that accountd serves
	Server   string // public key of the service, part of the audience
	Custody  string // delegated or offline

	nc  *nats.Conn
	now func() time.Time
}

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
	c := &Client{nc: nc, now: now}
	if err := c.discover(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// ErrNoService is wrapped by Dial when servers answer but no accountd does.
var ErrNoService = errors.New("no accountd answers")

func (c *Client) discover(ctx context.Context) error {
	msg, err := c.nc.RequestWithContext(ctx, "$SRV.INFO."+Service, nil)
	if err != nil {
		return fault.New(fault.Unavailable, "%w at %s", ErrNoService, c.nc.ConnectedUrl()).About("server", c.nc.ConnectedUrl())
	}
	var info struct {
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.Unmarshal(msg.Data, &info); err != nil {
		return fault.New(fault.Invalid, "accountd at %s describes itself in an unknown form", c.nc.ConnectedUrl())
	}
	c.Operator, c.Server, c.Custody = info.Metadata[MetaOperator], info.Metadata[MetaServer], info.Metadata[MetaCustody]
	return nil
}

// Close ends the connection.
func (c *Client) Close() { c.nc.Close() }

// Conn returns the connection, for stock requests to the servers.
func (c *Client) Conn() *nats.Conn { return c.nc }

// Put sends changes of accounts, signed by s. A nil error means that the
// request was decided; the outcomes are in the reply. fault.Unavailable means
// that it is not known whether anything was committed; sending the same items
// again is safe.
func (c *Client) Put(ctx context.Context, s claims.Signer, req PutRequest) (PutReply, error) {
	return signed[PutReply](ctx, c, s, SubjectPut, req)
}

// PutOperator sends a new operator JWT, signed by the operator's root key s.
func (c *Client) PutOperator(ctx context.Context, s claims.Signer, req OperatorPutRequest) (PutReply, error) {
	return signed[PutReply](ctx, c, s, SubjectOpPut, req)
}

// Get returns a stored claim.
func (c *Client) Get(ctx context.Context, req GetRequest) (GetReply, error) {
	return call[GetReply](ctx, c, SubjectGet, req)
}

// List returns a page of the stored accounts.
func (c *Client) List(ctx context.Context, req ListRequest) (ListReply, error) {
	return call[ListReply](ctx, c, SubjectList, req)
}

// Proof returns what every expected server can show for a version.
func (c *Client) Proof(ctx context.Context, req ProofRequest) (ProofReply, error) {
	return call[ProofReply](ctx, c, SubjectProof, req)
}

// Status returns how things stand.
func (c *Client) Status(ctx context.Context, req StatusRequest) (StatusReply, error) {
	return call[StatusReply](ctx, c, SubjectStatus, req)
}

// Seen returns which JWTs of a user live connections use.
func (c *Client) Seen(ctx context.Context, req SeenRequest) (SeenReply, error) {
	return call[SeenReply](ctx, c, SubjectSeen, req)
}

func signed[R any](ctx context.Context, c *Client, s claims.Signer, subject string, req any) (R, error) {
	var none R
	body, err := json.Marshal(req)
	if err != nil {
		return none, fmt.Errorf("encode request: %w", err)
	}
	token, err := SignRequest(s, c.Operator, c.Server, body, c.now())
	if err != nil {
		return none, err
	}
	return send[R](ctx, c, &nats.Msg{Subject: subject, Header: nats.Header{AuthHeader: {token}}, Data: body})
}

func call[R any](ctx context.Context, c *Client, subject string, req any) (R, error) {
	body, err := json.Marshal(req)
	if err != nil {
		var none R
		return none, fmt.Errorf("encode request: %w", err)
	}
	return send[R](ctx, c, &nats.Msg{Subject: subject, Data: body})
}

func send[R any](ctx context.Context, c *Client, msg *nats.Msg) (R, error) {
	var reply R
	answer, err := c.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return reply, fault.New(fault.Unavailable, "accountd did not answer %s: %w", msg.Subject, err).About("server", c.nc.ConnectedUrl())
	}
	if err := json.Unmarshal(answer.Data, &reply); err != nil {
		return reply, fault.New(fault.Unavailable, "accountd answered %s in an unknown form", msg.Subject)
	}
	return reply, nil
}
