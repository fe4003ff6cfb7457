package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// proofSlack is how long the answer to a proof request may be on its way,
// beyond the time that accountd waits.
const proofSlack = 2 * time.Second

// maxProofWait bounds the wait of one request: carriers end longer ones.
const maxProofWait = 20 * time.Second

// put sends one item, signed by the operator's key issuer, and begins to wait
// for the proof as soon as it is committed; proof fills it into the receipt. A
// result without an outcome means that nobody answered.
func (s *session) put(ctx context.Context, r *root, item api.Item, issuer string) (api.Result, func(*receipt) error, error) {
	if _, err := keys.ParseAccount(issuer); r.tenant && (err == nil || s.flags.privateKey == "") {
		res, err := s.post(ctx, r, item)
		return res, nil, err
	}
	results, err := s.putAll(ctx, r, []api.Item{item}, issuer)
	if err != nil {
		return api.Result{}, nil, err
	}
	res := results[0]
	if res.Error != nil {
		return res, nil, res.Error.Fault()
	}
	return res, s.proof(ctx, r, res), nil
}

// putAll sends items in one request and returns one result an item.
func (s *session) putAll(ctx context.Context, r *root, items []api.Item, issuer string) ([]api.Result, error) {
	c, err := s.client(ctx, r)
	if noService(err) {
		return s.stockPush(ctx, r, items, err)
	}
	if err != nil {
		return nil, err
	}
	pair, err := s.accountSigner(r, issuer)
	if err != nil {
		return nil, err
	}
	for i := range items {
		if items[i].Delete != "" {
			if items[i].Deletion, err = s.deletion(pair, items[i].Delete, 0); err != nil {
				return nil, err
			}
		}
	}
	ctx, end := s.patience(ctx)
	defer end()
	reply, err := c.Put(ctx, pair, api.PutRequest{
		Items: items, AllowIncomplete: s.flags.incomplete, Host: s.env.Host, Request: keys.Nonce(),
	})
	if err != nil {
		return nil, err
	}
	if reply.Error != nil && reply.Error.Code == fault.Unavailable { // it may be committed
		return nil, reply.Error.Fault()
	}
	if reply.Error != nil {
		return refuseAll(items, reply.Error), nil
	}
	if len(reply.Results) != len(items) {
		return nil, fault.New(fault.Unavailable, "accountd answered %d of %d changes", len(reply.Results), len(items))
	}
	return reply.Results, nil
}

// refuseAll gives the refusal of a whole request to each of its items.
func refuseAll(items []api.Item, e *api.Error) []api.Result {
	out := make([]api.Result, len(items))
	for i := range out {
		out[i] = api.Result{Outcome: api.OutcomeRefused, Error: e}
	}
	return out
}

// proof asks for the proof of a committed version at once and returns the
// function that waits for it.
func (s *session) proof(ctx context.Context, r *root, res api.Result) func(*receipt) error {
	if nodes, ok := s.pushed[res.Key]; ok {
		return pushedTo(nodes)
	}
	if !s.flags.wait {
		return nil
	}
	type answer struct {
		reply api.ProofReply
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, s.flags.timeout+proofSlack)
	s.closers = append(s.closers, cancel)
	got := make(chan answer, 1)
	go func() {
		reply, err := askProof(ctx, s.link.client, res, time.Now().Add(s.flags.timeout))
		got <- answer{reply, err}
	}()
	return func(rec *receipt) error {
		a := <-got
		return rec.proved(api.Proof{Proven: a.reply.Proven, Nodes: a.reply.Nodes}, a.err)
	}
}

// proved takes the proof of a committed version, or why it did not come.
func (r *receipt) proved(p api.Proof, err error) error {
	if err != nil {
		return fault.New(fault.Pending, "%s %s is committed as revision %d, and its proof did not come: %w",
			r.Kind, r.Name, r.Revision, err).About(r.Kind, r.Name).WithHint("%s", r.status())
	}
	r.Waited, r.Proven, r.Nodes = true, p.Proven, p.Nodes
	return r.pending()
}

// proofs is proof for several accounts, in as few requests as they fit into.
// seen is told how many more answers have come.
func (s *session) proofs(ctx context.Context, recs []*receipt, seen func(int)) func() {
	var open []*receipt
	for _, rec := range recs {
		if nodes, ok := s.pushed[rec.Key]; rec.err == nil && ok {
			rec.fail(pushedTo(nodes)(rec))
		} else if rec.err == nil && s.flags.wait {
			open = append(open, rec)
		}
	}
	if len(open) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, s.flags.timeout+proofSlack)
	s.closers = append(s.closers, cancel)
	done := make(chan struct{})
	client, deadline := s.link.client, time.Now().Add(s.flags.timeout)
	go func() {
		defer close(done)
		askProofs(ctx, client, open, deadline, seen)
	}()
	return func() { <-done }
}

// askProofs waits for the proofs of versions until deadline and fills them into
// the receipts.
func askProofs(ctx context.Context, c *api.Client, open []*receipt, deadline time.Time, seen func(int)) {
	for len(open) > 0 {
		wait := max(min(time.Until(deadline), maxProofWait), 0)
		req := api.ProofsRequest{WaitMs: int(wait.Milliseconds())}
		for _, rec := range open {
			req.Items = append(req.Items, api.ProofItem{Key: rec.Key, Revision: rec.Revision})
		}
		reply, err := c.Proofs(ctx, req)
		if err == nil {
			err = reply.Error.Fault()
		}
		if err == nil && (len(reply.Proofs) == 0 || len(reply.Proofs) > len(open)) {
			err = fault.New(fault.Unavailable, "accountd answered %d of %d proofs", len(reply.Proofs), len(open))
		}
		if err != nil {
			for _, rec := range open {
				rec.fail(rec.proved(api.Proof{}, err))
			}
			return
		}
		rest := open[len(reply.Proofs):]
		for i, p := range reply.Proofs {
			if !p.Proven && wait == maxProofWait {
				rest = append(rest, open[i])
				continue
			}
			open[i].fail(open[i].proved(p, nil))
			seen(1)
		}
		open = rest
	}
}

// askProof waits for the proof of a version until deadline, in as many requests
// as that takes. The answer may be that it is not proven.
func askProof(ctx context.Context, c *api.Client, res api.Result, deadline time.Time) (api.ProofReply, error) {
	for {
		wait := min(time.Until(deadline), maxProofWait)
		reply, err := c.Proof(ctx, api.ProofRequest{Key: res.Key, Revision: res.Revision, WaitMs: int(max(wait, 0).Milliseconds())})
		if err == nil {
			err = reply.Error.Fault()
		}
		if err != nil || reply.Proven || wait < maxProofWait {
			return reply, err
		}
	}
}

// pending is the error of a version that is not proven everywhere.
func (r *receipt) pending() error {
	if r.Proven {
		return nil
	}
	var names []string
	for _, n := range r.Nodes {
		if !done(n) {
			names = append(names, n.Server+" ("+first(reasonText(n.Server, n.Reason), string(n.State))+")")
		}
	}
	return told{fault.New(fault.Pending, "not in force on %s", strings.Join(names, ", ")).About(r.Kind, r.Name)}
}

func done(n api.NodeProof) bool { return n.State.Done() }

// tally counts the nodes that show a version, those apart that hold it and have
// not loaded the account.
func tally(nodes []api.NodeProof) string {
	counts := map[api.State]int{}
	for _, n := range nodes {
		counts[n.State]++
	}
	if counts[api.Stored] > 0 {
		return fmt.Sprintf("in force on %d and stored on %d of %d nodes", counts[api.InForce], counts[api.Stored], len(nodes))
	}
	return fmt.Sprintf("in force on %d of %d nodes", counts[api.InForce], len(nodes))
}

// told is an error that the result already shows.
type told struct{ error }

// Unwrap returns the error.
func (t told) Unwrap() error { return t.error }

// unpublished is the error of a change that is kept locally because it is not
// known whether accountd took it.
func unpublished(name string, cause error) error {
	return fault.New(fault.Unavailable, "%s is changed in the local store and not known to be published: %w", name, cause).
		About("account", name).WithHint("publish it with: nsc push -a %s", name)
}

// conflict is the error of a change that was built on another version than the
// stored one.
func conflict(w *work, res api.Result) error {
	if res.Current != nil {
		if err := wentBack(w, *res.Current); err != nil {
			return err
		}
	}
	what := "the service holds another version"
	if v := res.Current; v != nil {
		what = w.name
		if v.Revision > 0 {
			what = fmt.Sprintf("%s revision %d", w.name, v.Revision)
		}
		if v.Deleted {
			what += " is a deletion that"
		}
		what += fmt.Sprintf(" was put by operator key %s at %s", keys.Short(v.Actor), v.At.Local().Format("15:04"))
		if w.pub.Revision > 0 {
			what += fmt.Sprintf("; your copy builds on revision %d", w.pub.Revision)
		}
	}
	f := fault.New(fault.Conflict, "%s", what).About("account", w.name).ByRule("conflict")
	if res.Current != nil && res.Current.Deleted {
		return f.WithHint("bring the account back with: nsc restore account %s", w.name)
	}
	return f.WithHint("take theirs and redo your edit with: nsc pull -a %s --merge", w.name)
}
