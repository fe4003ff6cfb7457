package resolver

import (
	"context"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// StockServer is what is stored of an expected stock server.
type StockServer struct {
	Name   string
	Trusts []string // operator keys whose accounts it takes, none if it does not run
	// Seconds says that the server tells versions apart by their seconds alone.
	Seconds bool
}

// known returns the stock servers as they are stored, read once a request.
func (s *Service) known(r store.Reader, c *change) ([]StockServer, error) {
	if s.cfg.Known == nil {
		return nil, nil
	}
	if c.claimed == nil {
		return s.cfg.Known(r)
	}
	var err error
	if c.claimed.servers == nil {
		c.claimed.servers, err = s.cfg.Known(r)
	}
	return c.claimed.servers, err
}

// trusting returns which operator keys the servers trust: as this process sees
// them, or as the one that watches them has stored it.
func (s *Service) trusting(r store.Reader, c *change) ([]StockServer, error) {
	nodes := s.cfg.Nodes()
	if len(nodes) == 0 {
		return s.known(r, c)
	}
	var out []StockServer
	for _, n := range nodes {
		out = append(out, StockServer{Name: n.Name(), Trusts: n.Trusts()})
	}
	return out, nil
}

// Notify sends the stored version of an account to the stock servers again,
// once a second at most.
func (s *Service) Notify(ctx context.Context, req api.NotifyRequest) api.DoneReply {
	if reply, ok := elsewhere[api.DoneReply](ctx, s, api.SubjectNotify, "", req); ok {
		return reply
	}
	_, err := keys.ParseAccount(req.Account)
	if err == nil && s.cfg.Notify != nil {
		err = s.cfg.Notify(ctx, req.Account)
	}
	return api.DoneReply{Schema: api.Schema, Error: s.readError(err)}
}

// Forget decides a signed request to expect a stock server no more. Nothing is
// forgotten without one: a server that is away is pending.
func (s *Service) Forget(ctx context.Context, via, token string, body []byte) api.ForgetReply {
	if reply, ok := elsewhere[api.ForgetReply](ctx, s, api.SubjectForget, token, body); ok {
		return reply
	}
	err := s.forget(ctx, token, body)
	if err == nil {
		s.log.Info("server forgotten", "via", via, "request", string(body))
		return api.ForgetReply{Schema: api.Schema}
	}
	err = unavailable(err)
	s.logFailure(err)
	return api.ForgetReply{Schema: api.Schema, Error: api.ToError(err)}
}

func (s *Service) forget(ctx context.Context, token string, body []byte) error {
	var req api.ForgetRequest
	if err := decodeBody(body, &req); err != nil {
		return err
	}
	if err := s.decide(ctx, actor{}, token, body, nil, func(store.Tx, grounds) error { return nil }); err != nil {
		return err
	}
	if s.cfg.Forget == nil {
		return fault.New(fault.NotFound, "no server %q is expected", clip(req.Server)).About("server", clip(req.Server))
	}
	return s.cfg.Forget(ctx, req.Server)
}
