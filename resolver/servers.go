package resolver

import (
	"context"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

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
