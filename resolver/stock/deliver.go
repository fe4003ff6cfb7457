package stock

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/store"
)

// verdict is what one server shows for one version.
type verdict struct {
	server  *Server
	id      string // of the run that was asked
	state   api.State
	reason  string
	loaded  bool
	parked  bool // trying again helps only after the server's restart
	users   bool // it has connections of the account
	removed bool // it was made to remove the account, and ignores this version
	sure    bool // it said itself that it saved the version
}

// round is one attempt to bring one version to all servers that answer.
type round struct {
	f        *Fleet
	rec      store.Record
	claim    claim
	received time.Time
	verdicts map[string]*verdict // by run
}

func (f *Fleet) newRound(rec store.Record, received time.Time) (*round, error) {
	c, err := parse(rec.JWT)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", rec.Key, err)
	}
	r := &round{f: f, rec: rec, claim: c, received: received, verdicts: map[string]*verdict{}}
	for id, s := range f.upNow() {
		r.verdicts[id] = &verdict{server: s, id: id, state: api.Pending, reason: "no answer"}
	}
	return r, nil
}

// deliver makes one attempt for an account and settles what came of it.
func (f *Fleet) deliver(ctx context.Context, key string) {
	f.mu.Lock()
	j := f.jobs[key]
	rec, received, tied := j.rec, j.received, f.tied(j.rec)
	f.mu.Unlock()
	if tied && f.cfg.Renew != nil && f.cfg.Renew(ctx, key, rec.Revision) == nil {
		f.pass(key, j) // what is signed anew follows
		return
	}
	r, err := f.newRound(rec, received)
	if err != nil {
		f.log.Error("a stored claim cannot be delivered", "err", err)
		f.drop(key, j)
		return
	}
	cuts := r.cutsOf()
	if rec.Revision > 1 {
		defer f.watch(key, cuts)()
	}
	if len(r.verdicts) > 0 {
		if rec.Deleted {
			err = r.remove(ctx, j)
		} else {
			err = r.put(ctx, j)
		}
		if err != nil && ctx.Err() == nil {
			f.log.Warn("delivery to stock servers failed", "account", key, "revision", rec.Revision, "err", err)
		}
	}
	r.settle(j)
	r.renew(ctx)
	r.sweep(ctx, cuts)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.finish(key, j, r)
}

// put sends the version and reads it back.
func (r *round) put(ctx context.Context, j *job) error {
	r.wakeCaches(ctx)
	err := r.push(ctx)
	r.f.sent(j, r.rec)
	if err != nil {
		return err
	}
	return r.readBack(ctx)
}

// push sends the JWT once to all servers and waits until all have answered.
func (r *round) push(ctx context.Context) error {
	missing := r.runs(nil)
	_, err := r.f.ask.gather(ctx, fmt.Sprintf(subjectUpdateOf, r.rec.Key), []byte(r.rec.JWT), r.f.cfg.Answer, r.f.stirred, func(m *nats.Msg) bool {
		if v, a, ok := answered[status](r, m, missing); ok {
			v.reason = "not read back"
			v.sure = a.Error == nil && a.Data.Code == 200
			if a.Error != nil {
				v.state, v.reason = api.Rejected, a.Error.Text
			}
		}
		return r.allHere(missing)
	})
	return err
}

// renew has the version signed anew where a server ignores this one for ever.
func (r *round) renew(ctx context.Context) {
	if r.f.cfg.Renew == nil || len(r.runs(func(v *verdict) bool { return v.removed })) == 0 {
		return
	}
	r.f.log.Warn("signing an account anew that a server was made to remove", "account", r.rec.Key, "revision", r.rec.Revision)
	if err := r.f.cfg.Renew(ctx, r.rec.Key, r.rec.Revision); err != nil {
		r.f.log.Warn("an account could not be signed anew", "account", r.rec.Key, "err", err) // the next attempt tries again
	}
}

// runs returns the runs of the servers that pass, all if pass is nil.
func (r *round) runs(pass func(*verdict) bool) map[string]bool {
	out := map[string]bool{}
	for id, v := range r.verdicts {
		if pass == nil || pass(v) {
			out[id] = true
		}
	}
	return out
}

// answered reads an answer of a server that has not answered yet.
func answered[T any](r *round, m *nats.Msg, missing map[string]bool) (*verdict, answer[T], bool) {
	if m == nil {
		return nil, answer[T]{}, false
	}
	a, err := decode[T](m)
	if err != nil || !missing[a.Server.ID] {
		return nil, a, false // not a server, or not one that was asked
	}
	delete(missing, a.Server.ID)
	r.f.mu.Lock()
	r.verdicts[a.Server.ID].server.heard = time.Now()
	r.f.mu.Unlock()
	return r.verdicts[a.Server.ID], a, true
}

// allHere reports whether nobody is missing; who went meanwhile is not.
func (r *round) allHere(missing map[string]bool) bool {
	for id := range missing {
		if !r.f.still(r.verdicts[id].server, id) {
			delete(missing, id)
		}
	}
	return len(missing) == 0
}

// settle records the verdicts as outcomes, and what is done no longer open.
func (r *round) settle(j *job) {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range r.verdicts {
		out := outcome{proof: r.proof(v), done: v.state != api.Pending}
		if r.sweeps(v) {
			out = outcome{proof: out.proof}
			out.proof.State, out.proof.Reason = api.Pending, "connections are being looked through"
		}
		r.record(v, out)
	}
	f.dirty = true
	f.wake(r.rec.Key)
}

// record keeps an outcome, unless the server has gone or has a newer one. f.mu
// is held.
func (r *round) record(v *verdict, out outcome) {
	s := v.server
	if !s.up || s.id != v.id {
		return
	}
	if have := s.outcomes.byKey[r.rec.Key]; have != nil && have.proof.Revision > r.rec.Revision {
		return
	} else if have != nil && have.proof.Revision == r.rec.Revision {
		out.proof.Closed = merge(have.proof.Closed, out.proof.Closed)
	}
	s.outcomes.set(r.rec.Key, out)
	if out.done && (v.state == api.InForce || v.state == api.Stored) && s.open[r.rec.Key] <= r.rec.Seq {
		delete(s.open, r.rec.Key)
		delete(s.files, r.rec.Key)
	}
}

// merge adds to list what it lacks of more.
func merge(list, more []api.Closed) []api.Closed {
	out := slices.Clone(list)
	for _, c := range more {
		if !slices.ContainsFunc(out, func(have api.Closed) bool { return have.CID == c.CID }) {
			out = append(out, c)
		}
	}
	return out
}

func (r *round) proof(v *verdict) api.NodeProof {
	return api.NodeProof{
		Server: v.server.name, State: v.state, Reason: v.reason, Revision: r.rec.Revision, Loaded: v.loaded,
		Ms: float64(r.f.cfg.Now().Sub(r.received).Microseconds()) / 1000,
	}
}

// finish ends the run of a job: it goes on at once with a newer version, later
// while a server that answers lacks this one, else it is done. f.mu is held.
func (f *Fleet) finish(key string, j *job, r *round) {
	j.running = false
	f.release(j)
	if j.again {
		f.ready(key, j)
		return
	}
	for _, s := range f.servers {
		if _, lacks := s.open[key]; !lacks || !s.up {
			continue
		}
		if v := r.verdicts[s.id]; v == nil || !v.parked {
			f.retry(key, j)
			return
		}
	}
	delete(f.jobs, key)
}

// pass ends the run of a job whose version another one replaces.
func (f *Fleet) pass(key string, j *job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j.running = false
	f.release(j)
	if j.again {
		f.ready(key, j)
	} else {
		delete(f.jobs, key)
	}
}

// drop ends a job that cannot be done.
func (f *Fleet) drop(key string, j *job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release(j)
	delete(f.jobs, key)
}
