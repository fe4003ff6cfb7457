package resolver

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

const (
	maxPage   = 1000
	maxWait   = time.Minute
	maxStatus = 300       // accounts in one status reply, so that it fits a message
	maxProofs = 900 << 10 // bytes of the proofs in one reply, for the same reason

	proofsAtOnce = 64 // versions that each server is asked about in a row
)

// Get returns a stored claim, by public key or by an account's name.
func (s *Service) Get(ctx context.Context, req api.GetRequest) api.GetReply {
	reply := api.GetReply{Schema: api.Schema}
	err := s.cfg.Store.View(ctx, func(r store.Reader) error {
		find := s.find
		switch req.Kind {
		case "":
		case api.KindProposal:
			find = openProposal
		default:
			return fault.New(fault.Invalid, "there is no kind %q of claims to get", clip(req.Kind)).ByRule("malformed")
		}
		rec, err := find(r, req.Account)
		if err != nil {
			return err
		}
		v, err := versionOf(r, rec)
		v.JWT = rec.JWT
		reply.Version, reply.Retired = &v, rec.Retired
		for _, d := range rec.Dropped {
			reply.Dropped = append(reply.Dropped, d.Key)
		}
		return err
	})
	reply.Error = s.readError(err)
	return reply
}

// find returns the record of the operator ("" or its key) or of an account.
func (s *Service) find(r store.Reader, name string) (store.Record, error) {
	op, err := operatorRecord(r)
	if err != nil || name == "" || name == op.Key {
		return op, err
	}
	if nkeys.IsValidPublicAccountKey(name) {
		rec, err := r.Get(store.Account, name)
		return rec, notStored(err, "account", name)
	}
	return findByName(r, name)
}

// findByName returns the account called name; a living one before a deleted one.
func findByName(r store.Reader, name string) (store.Record, error) {
	var found []store.Record
	err := r.Scan(store.Account, "", func(rec store.Record) bool {
		switch {
		case rec.Name != name:
		case len(found) == 0 || found[0].Deleted && !rec.Deleted:
			found = []store.Record{rec}
		case found[0].Deleted == rec.Deleted:
			found = append(found, rec)
		}
		return true
	})
	switch {
	case err != nil:
		return store.Record{}, err
	case len(found) == 0:
		return store.Record{}, notStored(store.ErrNotFound, "account", name)
	case len(found) > 1:
		return store.Record{}, sameName(found, name)
	}
	return found[0], nil
}

// maxNamed bounds how many things an error names.
const maxNamed = 10

// sameName is the error of a name that several accounts have.
func sameName(found []store.Record, name string) error {
	what, command := "accounts", "nsc status"
	if found[0].Deleted {
		what, command = "deleted accounts", "nsc restore account"
	}
	var keys []string
	for _, rec := range found[:min(len(found), maxNamed)] {
		keys = append(keys, rec.Key)
	}
	return fault.New(fault.Conflict, "%d %s are called %s: %s", len(found), what, name, strings.Join(keys, ", ")).
		About("account", name).ByRule("same-name").WithHint("name one by its public key: %s %s", command, keys[0])
}

// listing returns of which records a list of a kind is made.
func listing(kind string) (store.Kind, func(store.Reader, store.Record) (bool, error), error) {
	switch kind {
	case "":
		return store.Account, func(store.Reader, store.Record) (bool, error) { return true, nil }, nil
	case api.KindProposal:
		return store.Proposal, func(_ store.Reader, rec store.Record) (bool, error) { return !rec.Deleted, nil }, nil
	case api.KindPermit:
		return store.Permit, func(r store.Reader, rec store.Record) (bool, error) {
			if rec.Deleted {
				return false, nil
			}
			_, err := r.Get(store.Account, rec.Key)
			if errors.Is(err, store.ErrNotFound) {
				return true, nil
			}
			return false, err // it is made
		}, nil
	}
	return "", nil, fault.New(fault.Invalid, "there is no kind %q of claims", clip(kind)).ByRule("malformed")
}

// page returns the records of a page of a list.
func page(r store.Reader, req api.ListRequest, limit int) (page []store.Record, more bool, err error) {
	kind, open, err := listing(req.Kind)
	if err != nil {
		return nil, false, err
	}
	var failed error
	err = r.Scan(kind, req.After, func(rec store.Record) bool {
		var listed bool
		if listed, failed = open(r, rec); !listed {
			return failed == nil
		}
		if more = len(page) == limit; !more {
			page = append(page, rec)
		}
		return !more
	})
	return page, more, errors.Join(err, failed)
}

// pageOfImporters returns the records of a page of those who import from an account.
func (s *Service) pageOfImporters(r store.Reader, req api.ListRequest, limit int) (page []store.Record, more bool, err error) {
	keys, err := s.importers.of(r, req.Importing)
	if err != nil {
		return nil, false, err
	}
	for _, key := range keys {
		if key <= req.After {
			continue
		}
		if len(page) == limit {
			return page, true, nil
		}
		rec, err := r.Get(store.Account, key)
		if err != nil {
			return nil, false, err
		}
		page = append(page, rec)
	}
	return page, false, nil
}

// List returns a page of the stored accounts, tombstones included, or of what is
// open of another kind.
func (s *Service) List(ctx context.Context, req api.ListRequest) api.ListReply {
	reply := api.ListReply{Schema: api.Schema, Accounts: []api.Version{}}
	limit := req.Limit
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	err := s.cfg.Store.View(ctx, func(r store.Reader) error {
		turn := page
		if req.Importing != "" {
			turn = s.pageOfImporters
		}
		page, more, err := turn(r, req, limit)
		if err != nil {
			return err
		}
		reply.More = more
		for _, rec := range page {
			v, err := versionOf(r, rec)
			if err != nil {
				return err
			}
			reply.Accounts = append(reply.Accounts, v)
		}
		return nil
	})
	if err == nil && req.Kind == api.KindProposal && req.After == "" {
		reply.Due, err = s.dueProposals(ctx)
	}
	reply.Error = s.readError(err)
	return reply
}

// Proof returns what every expected server shows for a version, waiting for it
// as long as the request says.
func (s *Service) Proof(ctx context.Context, req api.ProofRequest) api.ProofReply {
	if reply, ok := elsewhere[api.ProofReply](ctx, s, api.SubjectProof, "", req); ok {
		return reply
	}
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(req.WaitMs)*time.Millisecond, maxWait))
	defer cancel()
	p := s.awaitAll(ctx, []api.ProofItem{{Key: req.Key, Revision: req.Revision}})[0]
	return api.ProofReply{Schema: api.Schema, Proven: p.Proven, Nodes: p.Nodes}
}

// Proofs returns what every expected server shows for several versions, waiting
// for them as long as the request says. All come into force meanwhile, whichever
// is waited for.
func (s *Service) Proofs(ctx context.Context, req api.ProofsRequest) api.ProofsReply {
	if reply, ok := elsewhere[api.ProofsReply](ctx, s, api.SubjectProofs, "", req); ok {
		return reply
	}
	reply := api.ProofsReply{Schema: api.Schema, Proofs: []api.Proof{}}
	if len(req.Items) > maxItems {
		reply.Error = api.ToError(fault.New(fault.Invalid, "a request holds up to %d items, not %d", maxItems, len(req.Items)).ByRule("malformed"))
		return reply
	}
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(req.WaitMs)*time.Millisecond, maxWait))
	defer cancel()
	size := 0
	for items := range slices.Chunk(req.Items, proofsAtOnce) {
		for _, p := range s.awaitAll(ctx, items) {
			text, err := json.Marshal(p)
			if err != nil {
				reply.Error = s.readError(err)
				return reply
			}
			if size += len(text); size > maxProofs && len(reply.Proofs) > 0 {
				return reply
			}
			reply.Proofs = append(reply.Proofs, p)
		}
	}
	return reply
}

// awaitAll waits on all nodes at once for what each shows of several versions.
func (s *Service) awaitAll(ctx context.Context, items []api.ProofItem) []api.Proof {
	nodes := s.cfg.Nodes()
	out := make([]api.Proof, len(items))
	for i := range out {
		out[i].Nodes = make([]api.NodeProof, len(nodes))
	}
	var wg sync.WaitGroup
	for at, n := range nodes {
		wg.Go(func() {
			for i, item := range items {
				out[i].Nodes[at] = n.Await(ctx, item.Key, item.Revision)
			}
		})
	}
	wg.Wait()
	for i := range out {
		out[i].Proven = proven(out[i].Nodes)
	}
	return out
}

// proven reports whether every server shows as much as it can: a stock server
// that has not loaded the account can show no more than that it holds it.
func proven(proofs []api.NodeProof) bool {
	return weakest(proofs).Done()
}

// weakest returns the state that holds for all; no server proves nothing.
func weakest(proofs []api.NodeProof) api.State {
	rank := map[api.State]int{api.InForce: 0, api.Stored: 1, api.Pending: 2, api.Rejected: 3}
	out := api.InForce
	if len(proofs) == 0 {
		return api.Pending
	}
	for _, p := range proofs {
		if rank[p.State] > rank[out] {
			out = p.State
		}
	}
	return out
}

// Seen returns which of the JWTs asked for live connections use, on all servers.
func (s *Service) Seen(ctx context.Context, req api.SeenRequest) api.SeenReply {
	if reply, ok := elsewhere[api.SeenReply](ctx, s, api.SubjectSeen, "", req); ok {
		return reply
	}
	reply := api.SeenReply{Schema: api.Schema}
	if len(req.Names) > api.MaxSeenNames {
		reply.Error = api.ToError(fault.New(fault.Invalid, "%d names, at most %d", len(req.Names), api.MaxSeenNames).ByRule("malformed"))
		return reply
	}
	for _, n := range s.cfg.Nodes() {
		reply.Merge(n.Name(), n.Seen(req))
	}
	return reply
}

// Streams says what an account has in JetStream; nothing where nobody can tell.
func (s *Service) Streams(ctx context.Context, req api.StreamsRequest) api.StreamsReply {
	if reply, ok := elsewhere[api.StreamsReply](ctx, s, api.SubjectStreams, "", req); ok {
		return reply
	}
	reply := api.StreamsReply{Schema: api.Schema, JetStreamUse: api.JetStreamUse{Streams: []string{}}}
	if s.cfg.Streams == nil {
		return reply
	}
	use, err := s.cfg.Streams(ctx, req.Account)
	reply.Merge(use)
	reply.Error = api.ToError(err)
	return reply
}

func (s *Service) readError(err error) *api.Error {
	if err == nil {
		return nil
	}
	if ofStore(err) {
		s.log.Error("request failed", "err", err)
		err = fault.New(fault.Unavailable, "the store cannot be read")
	}
	return api.ToError(err)
}
