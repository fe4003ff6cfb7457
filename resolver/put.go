package resolver

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// maxItems bounds one request.
const maxItems = 1000

var errDryRun = errors.New("dry run")

// Put decides a signed request for changes of accounts: token authorises body,
// via names the door. Everything that is admitted is committed in one
// transaction; the reply has one outcome an item.
func (s *Service) Put(ctx context.Context, via, token string, body []byte) api.PutReply {
	reply := s.put(ctx, via, token, body)
	s.count(via, reply)
	return reply
}

func (s *Service) put(ctx context.Context, via, token string, body []byte) api.PutReply {
	var req api.PutRequest
	if err := decodeBody(body, &req); err != nil {
		return refusedRequest(err)
	}
	if len(req.Items) == 0 || len(req.Items) > maxItems {
		return refusedRequest(fault.New(fault.Invalid, "a request holds 1 to %d items, not %d", maxItems, len(req.Items)).ByRule("malformed"))
	}
	streams, err := s.streamsOf(ctx, req.Items)
	if err != nil {
		return s.refused(err)
	}
	var results []api.Result
	var changes []*change
	who := actor{Via: via, Host: clip(req.Host), Request: clip(req.Request)}
	decode := func() { changes = decodeItems(req.Items) }
	err = s.decide(ctx, who, token, body, decode, func(tx store.Tx, g grounds) (err error) {
		both := &claimed{names: map[string]string{}}
		for _, c := range changes {
			c.claimed = both
			c.streams = streams[c.key]
			s.admit(tx, c, g.trust, g.op, g.now)
		}
		if results, err = s.commit(tx, changes, g.trust, g.who, req.AllowIncomplete, g.now); err != nil {
			return err
		}
		if req.DryRun {
			return errDryRun
		}
		return nil
	})
	if errors.Is(err, errDryRun) {
		for i := range results {
			if results[i].Error == nil && results[i].Outcome != api.OutcomeSame {
				results[i].Outcome, results[i].Revision = api.OutcomeDry, 0
			}
		}
		err = nil
	}
	if err != nil {
		return s.refused(err)
	}
	if !req.DryRun {
		s.sizes(changes)
	}
	return api.PutReply{Schema: api.Schema, Results: results}
}

// streamsOf asks what JetStream data the deletions would lose.
func (s *Service) streamsOf(ctx context.Context, items []api.Item) (map[string][]string, error) {
	out := map[string][]string{}
	for _, item := range items {
		if item.Delete == "" || item.Force || s.cfg.Streams == nil {
			continue
		}
		reply := s.Streams(ctx, api.StreamsRequest{Account: item.Delete})
		if err := reply.Error.Fault(); err != nil {
			return nil, fault.New(fault.Unavailable, "nothing was committed: cannot tell what JetStream data %s holds: %w", keys.Short(item.Delete), err)
		}
		out[item.Delete] = reply.Streams
	}
	return out, nil
}

// sizes reports the size of each stored version.
func (s *Service) sizes(changes []*change) {
	for _, c := range changes {
		if c.err == nil && !c.same && c.doc != nil {
			s.cfg.Meter.Stored(c.key, c.rec.Name, len(c.rec.JWT))
		}
	}
}

// trust reads the operator's record and what it says.
func (s *Service) trust(r store.Reader) (store.Record, operator.Trust, error) {
	op, err := operatorRecord(r)
	if err != nil {
		return op, operator.Trust{}, err
	}
	if t := s.trusted.Load(); t != nil && t.jwt == op.JWT {
		return op, t.trust, nil
	}
	_, trust, err := decodeOperator(op.JWT)
	if err == nil {
		s.trusted.Store(&trusted{op.JWT, trust})
	}
	return op, trust, err
}

func decodeItems(items []api.Item) []*change {
	out := make([]*change, len(items))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, item := range items {
		c := &change{item: item}
		out[i] = c
		g.Go(func() error {
			c.decode()
			return nil
		})
	}
	_ = g.Wait() // each has its own error
	seen := map[string]bool{}
	for _, c := range out {
		if c.err == nil && seen[c.key] {
			c.err = fault.New(fault.Invalid, "account %s appears twice in one request", c.name()).ByRule("malformed")
		}
		seen[c.key] = true
	}
	return out
}

// commit judges the admitted changes together and writes those that hold.
func (s *Service) commit(tx store.Tx, changes []*change, trust operator.Trust, who actor, allow bool, now time.Time) ([]api.Result, error) {
	b := newBatch(tx, changes, &s.importers, allow, now)
	others, err := b.judge()
	for again := true; err == nil && again; {
		if again, err = s.policy.Load().judge(tx, trust.SystemAccount, b); err == nil && again {
			others, err = b.judge()
		}
	}
	if err != nil {
		return nil, err
	}
	results := make([]api.Result, len(changes))
	for i, c := range changes {
		if results[i], err = c.write(tx, who, now); err != nil {
			return nil, err
		}
	}
	for _, o := range others {
		ch := who.change("findings", o.rec, o.rec, now, o.rec.ID, o.added...)
		if _, err := tx.Put(o.rec.Revision, o.rec, ch); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// write stores an admitted change and says what became of the item.
func (c *change) write(tx store.Tx, who actor, now time.Time) (api.Result, error) {
	res := api.Result{Key: c.key, Name: c.name()}
	if c.err != nil {
		return c.refusal(tx, res)
	}
	res.Outcome = api.OutcomeSame
	if !c.same {
		action := c.action
		res.Outcome = api.OutcomePut
		switch {
		case c.doc == nil:
			res.Outcome = api.OutcomeDeleted
		case c.old.Deleted:
			action, res.Outcome = "restore", api.OutcomeRestore
		}
		base := c.item.Base
		if c.noBase {
			base = "none"
		}
		rec, err := tx.Put(c.old.Revision, c.rec, who.change(action, c.old, c.rec, now, base, c.notes...))
		if err != nil {
			return res, err
		}
		c.rec = rec
	}
	if err := c.answer(tx, who, now); err != nil {
		return res, err
	}
	res.Revision, res.ID, res.Findings = c.rec.Revision, c.rec.ID, c.rec.Findings
	return res, nil
}

// answer ends the proposal that the version answers.
func (c *change) answer(tx store.Tx, who actor, now time.Time) error {
	if c.item.Accept == "" {
		return nil
	}
	rec, err := openProposal(tx, c.key)
	if err != nil {
		return err
	}
	return endProposal(tx, rec, c.item.Accept, "accept", who, now)
}

func (c *change) refusal(r store.Reader, res api.Result) (api.Result, error) {
	if fault.As(c.err) == nil {
		return res, c.err // the store failed: the whole request does
	}
	res.Outcome, res.Error = api.OutcomeRefused, api.ToError(c.err)
	if c.old.Revision > 0 && fault.Is(c.err, fault.Conflict) {
		v, err := versionOf(r, c.old)
		if err != nil {
			return res, err
		}
		res.Current = &v
	}
	return res, nil
}

// versionOf describes a record and the change that wrote it.
func versionOf(r store.Reader, rec store.Record) (api.Version, error) {
	v := api.Version{
		Kind: string(rec.Kind), Key: rec.Key, Name: rec.Name, Revision: rec.Revision, ID: rec.ID,
		IssuedAt: rec.IssuedAt, Deleted: rec.Deleted, Findings: rec.Findings, Size: len(rec.JWT),
	}
	changes, err := r.Changes(rec.Seq-1, 1)
	if err != nil {
		return v, err
	}
	if len(changes) == 1 {
		v.Actor, v.At, v.Host = changes[0].Actor, changes[0].Time, changes[0].Host
	}
	return v, nil
}

// refused answers a request that was not decided item by item.
func (s *Service) refused(err error) api.PutReply {
	err = unavailable(err)
	s.logFailure(err)
	return refusedRequest(err)
}

func refusedRequest(err error) api.PutReply {
	return api.PutReply{Schema: api.Schema, Error: api.ToError(err)}
}

// decodeBody reads a request strictly: an unknown field is a mistake or a newer
// client, and either must not be half understood.
func decodeBody(body []byte, into any) error {
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fault.New(fault.Invalid, "the request is not of the expected form: %v", err).ByRule("malformed")
	}
	if dec.More() {
		return fault.New(fault.Invalid, "the request has more than one JSON value").ByRule("malformed")
	}
	return nil
}

// clip bounds a text of the caller that goes into the log.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "")
	return s[:min(len(s), 128)]
}

func decodeOperator(token string) (*claims.Document, operator.Trust, error) {
	d, err := claims.Decode(token)
	if err != nil {
		return nil, operator.Trust{}, err
	}
	trust, err := operator.TrustOf(d)
	return d, trust, err
}
