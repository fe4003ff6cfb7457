package stock

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
)

// readBack asks what every server enforces, and what the directories hold of
// accounts that are not loaded.
func (r *round) readBack(ctx context.Context) error {
	body, err := json.Marshal(map[string]string{"account": r.rec.Key})
	if err != nil {
		return err
	}
	asked := r.runs(func(v *verdict) bool { return v.state == api.Pending })
	missing := r.runs(func(v *verdict) bool { return asked[v.id] })
	if r.f.bulk() {
		r.fromLists(ctx, missing)
	}
	if len(missing) == 0 {
		return r.lookUp(ctx, asked)
	}
	if _, err := r.f.ask.gather(ctx, fmt.Sprintf(subjectPing, "ACCOUNTZ"), body, r.f.cfg.Answer, r.f.stirred, func(m *nats.Msg) bool {
		if v, a, ok := answered[accountz](r, m, missing); ok {
			r.judge(v, a)
		}
		return r.allHere(missing)
	}); err != nil {
		return err
	}
	return r.lookUp(ctx, asked)
}

// judge takes what a server says about the account.
func (r *round) judge(v *verdict, a answer[accountz]) {
	trusts, kind := r.f.nature(v.server)
	v.reason = ""
	switch {
	case kind == Memory:
		v.state, v.parked = api.Rejected, true
		v.reason = "not served: its resolver takes no account from accountd (resolver: MEMORY, or another URL)"
		return
	case !r.rec.Deleted && !slices.Contains(trusts, r.claim.Issuer):
		v.state, v.parked = api.Rejected, true
		v.reason = "the server does not trust the issuer " + r.claim.Issuer + ": its configuration has another operator JWT"
		return
	}
	acc := a.Data.Account
	if acc != nil && acc.Expired && acc.JWT == "" {
		acc = nil // registered without claims, because another server has a subscriber
	}
	if r.rec.Deleted && r.f.refusesDeletion(v.server) && (acc == nil || !acc.Expired) {
		v.state, v.parked, v.reason = api.Rejected, true, r.undeletable()
		return
	}
	if acc == nil {
		r.judgeUnloaded(v, kind)
		return
	}
	v.loaded, v.users = true, acc.Clients+acc.Leafs > 0
	if r.rec.Deleted {
		v.judgeRemoved(acc.Expired || permitsNobody(acc.JWT))
		return
	}
	switch {
	case acc.JWT != r.rec.JWT:
		v.reason = "the server enforces another version"
	case acc.Expired && r.claim.expired(r.f.cfg.Now()):
		v.state, v.reason = api.Rejected, "the account has expired"
	case acc.Expired:
		v.removed = true
		v.state, v.reason = api.Rejected, removed
		if r.f.cfg.Renew != nil {
			v.state, v.reason = api.Pending, "the server was made to remove the account; accountd signs it anew"
		}
	case !acc.Complete && len(r.rec.Findings) == 0:
		v.state, v.reason = api.Rejected, "incomplete: an import is not resolved, or JetStream could not be set up"
	default:
		for key, at := range r.claim.NATS.Revocations {
			if seen, ok := acc.Revoked[key]; !ok || seen.Unix() != at {
				v.reason = "the revocation of " + key + " is not in effect"
				return
			}
		}
		v.state = api.InForce
	}
}

// judgeUnloaded is for an account that the server has not loaded.
func (r *round) judgeUnloaded(v *verdict, kind Kind) {
	switch {
	case r.f.hasFile(v.server, r.rec.Key):
		v.state, v.reason = api.Pending, "the server has a file of it that may be old"
	case kind == URL || kind == Cache:
		v.state, v.reason = api.Stored, "fetched from accountd when it is first used"
	case kind != Full && !r.rec.Deleted:
		v.state, v.reason = api.Stored, ""
	default:
		v.state, v.reason = api.Pending, "not loaded, and not found in its directory yet"
	}
}

// removed is why an account is dead on a server that has its version.
const removed = "the server was made to remove the account, and ignores the version that it had; any edit of the account helps, which signs a new one"

// judgeRemoved is for a deleted account that the server has loaded.
func (v *verdict) judgeRemoved(expired bool) {
	if expired {
		v.state, v.reason = api.InForce, ""
		return
	}
	v.state, v.reason = api.Pending, "the account is still alive"
}

// lookUp compares what the directories hold. Answers do not name their server:
// the version is stored where not loaded when as many equal ones come as there
// are directories.
func (r *round) lookUp(ctx context.Context, asked map[string]bool) error {
	open := r.runs(func(v *verdict) bool {
		return asked[v.id] && v.state == api.Pending && !v.loaded && r.f.kindOf(v.server) == Full
	})
	if len(open) == 0 {
		return nil
	}
	equal, differ, err := r.f.compare(ctx, r.rec.Key, r.wanted())
	if err != nil {
		return err
	}
	for id := range open {
		v := r.verdicts[id]
		switch {
		case equal && (v.sure || r.rec.Deleted):
			v.state, v.reason = api.Stored, ""
		case differ:
			v.reason = "a directory of the cluster holds another version"
		default:
			v.reason = "not every directory of the cluster has answered"
		}
	}
	return nil
}

// wanted is what a LOOKUP should answer: nothing for a deleted account.
func (r *round) wanted() string {
	if r.rec.Deleted {
		return ""
	}
	return r.rec.JWT
}

// compare asks all directories for an account: equal when every one holds want,
// differ when one holds something else. A directory that refuses deletions may
// keep what the others have deleted.
func (f *Fleet) compare(ctx context.Context, key, want string) (equal, differ bool, err error) {
	same, kept, all := 0, 0, 0
	_, err = f.ask.gather(ctx, fmt.Sprintf(subjectLookup, key), nil, f.cfg.Answer, f.stirred, func(m *nats.Msg) bool {
		if m != nil {
			all++
			if got := string(m.Data); got == want {
				same++
			} else if want == "" && (permitsNobody(got) || f.cfg.Signer == nil) {
				kept++
			}
		}
		return all >= f.directories()
	})
	same += min(kept, f.undeletables())
	return err == nil && same == all && all >= f.directories(), same != all, err
}

// undeletables returns how many directories are known to refuse deletions.
func (f *Fleet) undeletables() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.servers {
		if s.up && s.undeletable {
			n++
		}
	}
	return n
}

// directories returns how many servers answer lookups now.
func (f *Fleet) directories() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.servers {
		if s.kind == Full && (s.up || s.probing) {
			n++
		}
	}
	return n
}

func (f *Fleet) refusesDeletion(s *Server) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.undeletable
}

func (f *Fleet) nature(s *Server) ([]string, Kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.trusts, s.kind
}

func (f *Fleet) kindOf(s *Server) Kind {
	_, kind := f.nature(s)
	return kind
}
