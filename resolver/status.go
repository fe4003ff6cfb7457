package resolver

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// How many accounts are asked about at a time, and read from the store before
// that: servers take their time, and no view waits for them.
const (
	statusAtWork = 128
	statusPage   = 1024
)

// Status returns how things stand: of one account, or of all with those that
// need a look.
func (s *Service) Status(ctx context.Context, req api.StatusRequest) api.StatusReply {
	if reply, ok := elsewhere[api.StatusReply](ctx, s, api.SubjectStatus, "", req); ok {
		return reply
	}
	reply := api.StatusReply{Schema: api.Schema, Accounts: []api.AccountStatus{}}
	var trust operator.Trust
	var one []api.AccountStatus
	err := s.cfg.Store.View(ctx, func(r store.Reader) (err error) {
		var op store.Record
		if op, trust, err = s.trust(r); err != nil {
			return err
		}
		reply.Custody = s.custody(trust)
		if reply.Warnings, err = s.warnings(r, op, trust); err != nil {
			return err
		}
		if reply.Operator, err = versionOf(r, op); err != nil {
			return err
		}
		if reply.Head, err = r.Head(); err != nil || req.Account == "" {
			return err
		}
		rec, err := s.find(r, req.Account)
		if err != nil {
			return err
		}
		v, err := versionOf(r, rec)
		one = []api.AccountStatus{{Version: v}}
		return err
	})
	switch {
	case err != nil:
	case req.Account == "":
		err = s.statusOfAll(ctx, &reply)
	default:
		err = s.states(ctx, one)
		count(&reply, one[0])
		reply.Accounts = one
	}
	if err == nil {
		reply.Proposals, err = s.Proposals(ctx)
	}
	if err == nil {
		reply.Rolls, err = s.Rolls(ctx)
	}
	if req.Account != "" {
		reply.Rolls = slices.DeleteFunc(reply.Rolls, func(r api.Roll) bool { return len(one) == 0 || r.Account != one[0].Key })
		reply.Proposals = slices.DeleteFunc(reply.Proposals, func(p api.Proposal) bool { return len(one) == 0 || p.Account != one[0].Key })
	}
	for _, n := range s.cfg.Nodes() {
		st := n.Status()
		st.Behind = st.Lacks(reply.Head)
		if err == nil && len(st.Trusts) > 0 {
			st.Restart = trust.Stale(st.Trusts)
		}
		reply.Nodes = append(reply.Nodes, st)
	}
	reply.Error = s.readError(err)
	return reply
}

func (s *Service) statusOfAll(ctx context.Context, reply *api.StatusReply) error {
	for after := ""; ; {
		page, err := s.versions(ctx, after)
		if err == nil {
			err = s.states(ctx, page)
		}
		if err != nil {
			return err
		}
		for _, st := range page {
			count(reply, st)
			switch {
			case st.State.Done() && len(st.Findings) == 0 && st.Budget < budgetWarning:
			case len(reply.Accounts) < maxStatus:
				reply.Accounts = append(reply.Accounts, st)
			default:
				reply.More = true
			}
		}
		if len(page) < statusPage {
			return nil
		}
		after = page[len(page)-1].Key
	}
}

// versions returns the stored versions of the accounts that follow.
func (s *Service) versions(ctx context.Context, after string) (page []api.AccountStatus, err error) {
	err = s.cfg.Store.View(ctx, func(r store.Reader) error {
		page = page[:0]
		var failed error
		err := r.Scan(store.Account, after, func(rec store.Record) bool {
			var v api.Version
			v, failed = versionOf(r, rec)
			page = append(page, api.AccountStatus{Version: v})
			return failed == nil && len(page) < statusPage
		})
		return errors.Join(err, failed)
	})
	return page, err
}

// states asks all servers about stored versions.
func (s *Service) states(ctx context.Context, page []api.AccountStatus) error {
	var g errgroup.Group
	g.SetLimit(statusAtWork)
	for i := range page {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			s.state(&page[i])
			return nil
		})
	}
	_ = g.Wait() // nothing fails
	return ctx.Err()
}

// state asks all servers about one version.
func (s *Service) state(st *api.AccountStatus) {
	st.Budget = float64(st.Size) / api.MaxClaim
	st.Nodes = s.each(func(n Node) api.NodeProof {
		p := n.Proof(st.Key)
		if p.Revision < st.Revision && p.State == api.InForce {
			p.State, p.Reason = api.Pending, "still has an earlier version"
		}
		return p
	})
	st.State = weakest(st.Nodes)
}

// budgetWarning is the share of the largest claim from which on status warns.
const budgetWarning = 0.5

func count(reply *api.StatusReply, st api.AccountStatus) {
	if st.Deleted {
		reply.Tombstones++
		return
	}
	reply.Total++
	switch st.State {
	case api.InForce:
		reply.InForce++
	case api.Stored:
		reply.Stored++
	}
}

// each asks all nodes at once and keeps their order.
func (s *Service) each(ask func(Node) api.NodeProof) []api.NodeProof {
	nodes := s.cfg.Nodes()
	out := make([]api.NodeProof, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { out[i] = ask(n) })
	}
	wg.Wait()
	return out
}
