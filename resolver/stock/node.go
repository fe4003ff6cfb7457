package stock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// Await waits until the server has shown revision of an account, or a newer
// one, in force or stored, or refuses it, or until ctx ends; then the state is
// api.Pending, with the reason.
func (s *Server) Await(ctx context.Context, key string, revision uint64) api.NodeProof {
	for {
		p, wake, done := s.await(key, revision)
		if done {
			return p
		}
		if wake == nil { // it is not known to lack anything: look
			s.f.mu.Lock()
			wake = s.f.wait(key)
			s.f.mu.Unlock()
			p = s.look(ctx, key)
			s.f.mu.Lock()
			_, lacks := s.open[key]
			followed := s.f.followed
			s.f.mu.Unlock()
			// What was not followed yet has to be delivered and swept first;
			// an operator's version is not delivered.
			rec, err := s.f.record(ctx, key)
			settled := err == nil && (rec.Seq <= followed && !lacks || isOperator(key))
			switch {
			case settled && p.Revision >= revision && (p.State != api.Pending || p.Restart):
				return p
			case settled && p.Revision < revision && revision <= rec.Revision:
				continue // the question was put before that version was stored
			}
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return p
		}
	}
}

// await returns the outcome for a revision, or what is known so far and a
// channel that is closed at the next outcome; no channel when nothing is open.
func (s *Server) await(key string, revision uint64) (p api.NodeProof, wake <-chan struct{}, done bool) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	_, lacks := s.open[key]
	out := s.outcomes.byKey[key]
	switch {
	case !s.up:
		return s.absent(), s.f.wait(key), s.stranger
	case out != nil && out.proof.Revision >= revision:
		return out.proof, s.f.wait(key), out.done
	case lacks:
		return s.pending(0, "not delivered yet"), s.f.wait(key), false
	case s.f.source != nil:
		return s.pending(0, errUnread.Error()), s.f.wait(key), false
	}
	return s.pending(0, "not followed yet"), nil, false
}

// absent is the proof of a server that does not answer. f.mu is held.
func (s *Server) absent() api.NodeProof {
	reason := fmt.Sprintf("not reachable since %s; it gets this version when it returns", s.since.Local().Format(time.TimeOnly))
	p := s.pending(0, reason)
	switch {
	case s.stranger:
		p.State = api.Rejected
		p.Reason = "it is in the cluster and does not answer on the system account: its configuration has another operator or system account"
	case s.probing:
		p.Reason = "being looked at"
	}
	return p
}

func (s *Server) pending(revision uint64, reason string) api.NodeProof {
	return api.NodeProof{Server: s.name, State: api.Pending, Revision: revision, Reason: reason}
}

// Proof returns what the server shows right now for an account or operator: it
// is asked anew, and what is loaded is looked through for connections that the
// version ends.
func (s *Server) Proof(key string) api.NodeProof {
	ctx, cancel := context.WithTimeout(context.Background(), s.f.cfg.Answer)
	defer cancel()
	return s.look(ctx, key)
}

func (s *Server) look(ctx context.Context, key string) api.NodeProof {
	s.f.mu.Lock()
	id, up := s.id, s.up
	absent := s.absent()
	var last api.NodeProof
	waiting := false
	if out := s.outcomes.byKey[key]; out != nil {
		last, waiting = out.proof, !out.done && up
	}
	s.f.mu.Unlock()
	switch {
	case !up:
		return absent
	case waiting:
		return last
	case isOperator(key):
		return s.operatorProof(ctx, key)
	}
	r, err := s.f.question(key)
	if errors.Is(err, store.ErrNotFound) {
		return s.pending(0, "no version is stored")
	} else if err != nil {
		return s.pending(0, err.Error())
	}
	v := r.verdicts[id]
	if v == nil {
		return s.pending(0, "has gone meanwhile")
	}
	p := r.proof(v)
	p.Swept = r.sweeps(v) && r.inspect(ctx, v)
	if r.sweeps(v) && !p.Swept {
		p.State, p.Reason = api.Pending, "connections that must not be are still open"
	}
	if last.Revision == r.rec.Revision {
		p.Closed, p.Ms = last.Closed, last.Ms
		if p.Reason == "" {
			p.Reason = last.Reason
		}
	}
	return p
}

// question asks all servers about the stored version of an account. All who
// want to know at a time share the answer.
func (f *Fleet) question(key string) (*round, error) {
	shared, err, _ := f.questions.Do(key, func() (any, error) {
		f.asked.Add(1)
		defer f.asked.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), f.cfg.Answer)
		defer cancel()
		rec, err := f.record(ctx, key)
		if err != nil {
			return nil, f.unread(err)
		}
		r, err := f.newRound(rec, f.cfg.Now())
		if err != nil {
			return nil, err
		}
		for _, v := range r.verdicts {
			v.sure = true // if it has the version now, it has it
		}
		if err := r.readBack(ctx); err != nil {
			for _, v := range r.verdicts {
				if v.state == api.Pending {
					v.reason = err.Error()
				}
			}
		}
		return r, nil
	})
	if err != nil {
		return nil, err
	}
	return shared.(*round), nil
}

// errUnread is what people are told when the store fails.
var errUnread = errors.New("the store cannot be read")

// unread logs why the store cannot be read, for those who can mend it.
func (f *Fleet) unread(err error) error {
	if !errors.Is(err, store.ErrNotFound) {
		f.log.Error("read store", "err", err)
		return errUnread
	}
	return err
}

// inspect sweeps once.
func (r *round) inspect(ctx context.Context, v *verdict) bool {
	c := r.newCut(v)
	return c.sweep(ctx, "look")
}

// operatorProof says whether the server trusts what the stored operator says.
// What a server trusts is fixed when it starts.
func (s *Server) operatorProof(ctx context.Context, key string) api.NodeProof {
	rec, err := s.f.record(ctx, key)
	if err != nil {
		return s.pending(0, s.f.unread(err).Error())
	}
	d, err := claims.Decode(rec.JWT)
	if err != nil {
		return s.pending(0, err.Error())
	}
	trust, err := operator.TrustOf(d)
	if err != nil {
		return s.pending(0, err.Error())
	}
	trusts, _ := s.f.nature(s)
	p := api.NodeProof{Server: s.name, State: api.InForce, Revision: rec.Revision, Loaded: true}
	if stale := trust.Stale(trusts); len(stale) > 0 {
		p.State, p.Restart = api.Pending, true
		p.Reason = api.RestartNeeded(stale) + "; its configuration has another operator JWT"
	}
	return p
}

// Trusts returns the operator keys that the server trusts, none if it is away.
// Until the servers were looked for once, it is what is stored.
func (s *Server) Trusts() []string {
	trusts, _ := s.f.nature(s)
	return slices.Clone(trusts)
}

// Status returns how the server is and how far it was followed.
func (s *Server) Status() api.NodeStatus {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	st := api.NodeStatus{
		Server: s.name, URL: s.url, Healthy: s.up && s.kind != Memory, Since: s.since, Applied: s.applied(),
		Behind: uint64(len(s.open)), Seen: max(s.f.followed, s.skip), // of an account only the last version counts
	}
	if s.up {
		st.Trusts = slices.Clone(s.trusts)
	}
	switch {
	case !s.up && !s.stranger && !s.probing:
		st.Reason = "not reachable"
	case !s.up:
		st.Reason = s.absent().Reason
	case s.kind == Memory:
		st.Reason = "not served: resolver: MEMORY"
	case s.f.source != nil:
		st.Healthy, st.Reason = false, errUnread.Error()
	}
	return st
}

// Seen tells which of the JWTs asked for live connections use, as far as the
// server shows them: it hides those of bearer users.
func (s *Server) Seen(req api.SeenRequest) api.SeenReply {
	reply := api.SeenReply{Schema: api.Schema}
	ctx, cancel := context.WithTimeout(context.Background(), s.f.cfg.Answer)
	defer cancel()
	s.f.mu.Lock()
	id, up := s.id, s.up
	s.f.mu.Unlock()
	if !up || !s.f.loads(ctx, id, req.Account) {
		return reply
	}
	conns, err := s.f.connections(ctx, id, req.Account)
	if err != nil {
		reply.Error = api.ToError(err)
		return reply
	}
	for _, c := range conns {
		var jwt api.SeenJWT
		if claims.Peek(c.JWT, &jwt) == nil {
			reply.Note(req, jwt)
		}
	}
	return reply
}

// loads reports whether a server has an account in memory: a question for the
// connections of another would make it load it.
func (f *Fleet) loads(ctx context.Context, id, account string) bool {
	body, err := json.Marshal(map[string]string{"account": account})
	if err != nil {
		return false
	}
	m, err := f.ask.one(ctx, fmt.Sprintf(subjectServer, id, "ACCOUNTZ"), body, f.cfg.Answer)
	if err != nil {
		return false
	}
	a, err := decode[accountz](m)
	return err == nil && a.Data.Account != nil
}
