package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
)

// ErrNoService is wrapped by Dial and DialHTTP when something answers, but no
// accountd does.
var ErrNoService = errors.New("no accountd answers")

// Client speaks to accountd over NATS, as a user of the system account, or over
// HTTP. The connection only carries requests; what they may do is decided by the
// key that signs them.
type Client struct {
	Operator string // public key of the operator that accountd serves
	Server   string // public key of the service, part of the audience
	Custody  string // delegated or offline
	Open     bool   // over HTTP: reads need no signature from here

	link  link
	now   func() time.Time
	reads func() (claims.Signer, error) // who signs reads; nil for nobody
}

// SignReads signs what only reads, too: over HTTP, other machines may not read
// without it. by is asked at the first read.
func (c *Client) SignReads(by func() (claims.Signer, error)) { c.reads = by }

// link carries requests. Its errors are fault.Unavailable unless it is known
// that nothing was done.
type link interface {
	// send asks the endpoint of subject; auth is the value of AuthHeader, "" for none.
	send(ctx context.Context, subject, auth string, body []byte) ([]byte, error)
	close()
}

// Close ends the connection.
func (c *Client) Close() { c.link.close() }

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

// Forget sends a request, signed by s, to expect a stock server no more.
func (c *Client) Forget(ctx context.Context, s claims.Signer, req ForgetRequest) (ForgetReply, error) {
	return signed[ForgetReply](ctx, c, s, SubjectForget, req)
}

// Allow lets an account be made by who has its key, or takes that back; signed by s.
func (c *Client) Allow(ctx context.Context, s claims.Signer, req AllowRequest) (DoneReply, error) {
	return signed[DoneReply](ctx, c, s, SubjectAllow, req)
}

// Reject ends a proposal without a new version, signed by s.
func (c *Client) Reject(ctx context.Context, s claims.Signer, req RejectRequest) (DoneReply, error) {
	return signed[DoneReply](ctx, c, s, SubjectReject, req)
}

// GiveKeys gives accountd keys that sign devices, sealed; signed by s.
func (c *Client) GiveKeys(ctx context.Context, s claims.Signer, req KeysRequest) (DoneReply, error) {
	return signed[DoneReply](ctx, c, s, SubjectKeys, req)
}

// Deny lets devices get no new credentials; signed by s.
func (c *Client) Deny(ctx context.Context, s claims.Signer, req DenyRequest) (DenyReply, error) {
	return signed[DenyReply](ctx, c, s, SubjectDeny, req)
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

// Proofs returns what every expected server can show for several versions.
func (c *Client) Proofs(ctx context.Context, req ProofsRequest) (ProofsReply, error) {
	return call[ProofsReply](ctx, c, SubjectProofs, req)
}

// Status returns how things stand.
func (c *Client) Status(ctx context.Context, req StatusRequest) (StatusReply, error) {
	return call[StatusReply](ctx, c, SubjectStatus, req)
}

// Seen returns which JWTs of a user live connections use.
func (c *Client) Seen(ctx context.Context, req SeenRequest) (SeenReply, error) {
	return call[SeenReply](ctx, c, SubjectSeen, req)
}

// Streams names the JetStream streams of an account.
func (c *Client) Streams(ctx context.Context, req StreamsRequest) (StreamsReply, error) {
	return call[StreamsReply](ctx, c, SubjectStreams, req)
}

func signed[R any](ctx context.Context, c *Client, s claims.Signer, subject string, req any) (reply R, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return reply, fmt.Errorf("encode request: %w", err)
	}
	token, err := SignRequest(s, c.Operator, c.Server, body, c.now())
	if err != nil {
		return reply, err
	}
	return send[R](ctx, c, subject, token, body)
}

func call[R any](ctx context.Context, c *Client, subject string, req any) (reply R, err error) {
	if c.reads != nil {
		s, err := c.reads()
		if err != nil {
			return reply, err
		}
		return signed[R](ctx, c, s, subject, req)
	}
	body, err := json.Marshal(req)
	if err != nil {
		return reply, fmt.Errorf("encode request: %w", err)
	}
	return send[R](ctx, c, subject, "", body)
}

func send[R any](ctx context.Context, c *Client, subject, auth string, body []byte) (R, error) {
	var reply R
	answer, err := c.link.send(ctx, subject, auth, body)
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return reply, fault.New(fault.Unavailable, "accountd answered %s in an unknown form", subject)
	}
	return reply, nil
}
