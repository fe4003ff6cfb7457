package resolver

import (
	"context"
	"encoding/json"
	"time"

	"github.com/accountd/accountd/fault"
)

// Peer passes a request to the process that watches the servers, and returns
// its answer. token authorises the body of a signed request.
type Peer func(ctx context.Context, subject, token string, body []byte) ([]byte, error)

// peerWait bounds a request to another process, beyond what a proof may take.
const peerWait = maxWait + 5*time.Second

// elsewhere answers with what another process says, if this one does not watch
// the servers. A body that was signed is passed on as it is.
func elsewhere[R any](ctx context.Context, s *Service, subject, token string, req any) (reply R, ok bool) {
	if s.cfg.Peer == nil {
		return reply, false
	}
	peer := s.cfg.Peer()
	if peer == nil {
		return reply, false
	}
	ctx, cancel := context.WithTimeout(ctx, peerWait)
	defer cancel()
	body, signed := req.([]byte)
	var err error
	if !signed {
		body, err = json.Marshal(req)
	}
	if err == nil {
		body, err = peer(ctx, subject, token, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &reply)
	}
	if err != nil {
		s.log.Warn("no process that watches the servers answers", "subject", subject, "err", err)
		failed := fault.New(fault.Unavailable, "no accountd publishes to the servers right now").WithHint("try again")
		body, _ = json.Marshal(refusedRequest(failed))
		_ = json.Unmarshal(body, &reply) // every reply has these fields
	}
	return reply, true
}
