package resolver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// policies holds changes against a policy. Of the accounts it decodes only those
// where messages of the accounts that the policy is about come to.
type policies struct {
	index
	imports
	policy *isolation.Policy // nil for none
	now    func() time.Time
	system string

	guard   *isolation.Guard
	names   map[string]string // by key
	byName  map[string]string
	decoded map[string]*jwt.AccountClaims
	changed []string // since the guard has learnt
	known   []string // what does not hold, in words, as of seq
	knownAt uint64
}

func newPolicies(p *isolation.Policy, now func() time.Time) *policies {
	return &policies{policy: p, now: now}
}

// SetPolicy replaces what no change of an account may break, from the next one
// on. It looks at everything once, while the old policy is kept.
func (s *Service) SetPolicy(ctx context.Context, p isolation.Policy) error {
	next := newPolicies(&p, s.cfg.Now)
	err := s.cfg.Store.View(ctx, func(r store.Reader) error {
		_, trust, err := s.trust(r)
		if err != nil {
			return err
		}
		_, err = next.broken(r, trust.SystemAccount)
		return err
	})
	if err != nil {
		return startFault(err)
	}
	s.policy.Store(next)
	s.kept.Store(nil)
	return nil
}

// KeepPolicy has the status say why there is a newer policy that is not kept.
func (s *Service) KeepPolicy(why error) {
	text := fmt.Sprintf("the policy stays as it was read before: %s", why)
	s.kept.Store(&text)
}

// broken says what of the policy does not hold, and whether it is the newest.
func (s *Service) broken(r store.Reader, system string) ([]string, error) {
	out, err := s.policy.Load().broken(r, system)
	if why := s.kept.Load(); why != nil {
		out = append(slices.Clone(out), *why)
	}
	return out, err
}

// update follows the store and lets the guard learn of it.
func (p *policies) update(r store.Reader, system string) (*view, error) {
	reset := func() {
		p.imports.reset()
		p.guard, p.changed = isolation.NewGuard(*p.policy), nil
		p.names, p.byName, p.decoded = map[string]string{}, map[string]string{}, map[string]*jwt.AccountClaims{}
	}
	p.system = system
	if err := p.index.update(r, reset, p.set); err != nil {
		return nil, err
	}
	stored := &view{p: p, r: r}
	p.guard.Learn(stored.world(), p.changed)
	p.changed = nil
	return stored, stored.failed
}

// set takes the newest version of an account.
func (p *policies) set(rec store.Record) {
	p.imports.set(rec)
	if was := p.names[rec.Key]; p.byName[was] == rec.Key {
		delete(p.byName, was)
	}
	delete(p.names, rec.Key)
	delete(p.decoded, rec.Key)
	if !rec.Deleted {
		p.names[rec.Key], p.byName[rec.Name] = rec.Name, rec.Key
	}
	if p.ready {
		p.changed = append(p.changed, rec.Key)
	}
}

// judge refuses the changes of a batch that break the policy where it holds, and
// reports whether there are some. Changes that only take rights away pass. It
// must be asked before r writes.
func (p *policies) judge(r store.Reader, system string, b *batch) (refused bool, err error) {
	if p.policy == nil {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	stored, err := p.update(r, system)
	if err != nil {
		return false, err
	}
	var keys []string
	var judged []*change
	exempt := map[string]*jwt.AccountClaims{}
	after := map[string]*jwt.AccountClaims{}
	for _, c := range b.changes {
		if c.err != nil || c.same {
			continue
		}
		keys = append(keys, c.key)
		after[c.key] = c.ac
		if onlyRevokes(c) || onlySuspends(c) {
			exempt[c.key] = c.ac
			continue
		}
		judged = append(judged, c)
	}
	if len(judged) == 0 {
		return false, nil
	}
	without, with := stored.with(exempt), stored.with(after)
	broken := p.guard.Judge(without.world(), with.world(), keys)
	if err := errors.Join(without.failed, with.failed); err != nil {
		return false, err
	}
	for _, breach := range broken {
		to := slices.DeleteFunc(slices.Clone(judged), func(c *change) bool { return !breach.Touches(c.key) })
		if len(to) == 0 {
			to = judged
		}
		for _, c := range to {
			if c.err == nil {
				c.err = breaks(c, breach)
			}
		}
	}
	return len(broken) > 0, nil
}

func breaks(c *change, b isolation.Breach) error {
	return fault.New(fault.Denied, "account %s would break the policy that %s: %s", c.name(), b.Rule, strings.Join(b.Path, "; ")).
		ByRule("policy").WithHint("change it, or the policy that accountd keeps; what is stored now: nsc verify isolation --all")
}

// maxBroken bounds the broken demands that are named.
const maxBroken = 5

// broken says what of the policy does not hold already.
func (p *policies) broken(r store.Reader, system string) ([]string, error) {
	if p.policy == nil {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	stored, err := p.update(r, system)
	if err != nil || p.known != nil && p.knownAt == p.seq {
		return p.known, err
	}
	p.known, p.knownAt = []string{}, p.seq
	all := stored.world().Check(*p.policy)
	for _, b := range all[:min(len(all), maxBroken)] {
		p.known = append(p.known, fmt.Sprintf("the policy is broken already: %s: %s", b.Rule, strings.Join(b.Path, "; ")))
	}
	if more := len(all) - maxBroken; more > 0 {
		p.known = append(p.known, fmt.Sprintf("the policy is broken already: %d more", more))
	}
	return p.known, stored.failed
}

// view is what is stored, with changes over it. It is an isolation.Source.
type view struct {
	p      *policies
	r      store.Reader
	over   map[string]*jwt.AccountClaims // nil claims: deleted
	failed error
}

func (v *view) with(over map[string]*jwt.AccountClaims) *view {
	return &view{p: v.p, r: v.r, over: over}
}

func (v *view) world() *isolation.World {
	return isolation.New(isolation.Config{
		Source: v, Admitted: true, Cautious: true, JetStream: true, Now: v.p.now(), System: v.p.system,
	})
}

// Account implements isolation.Source.
func (v *view) Account(nameOrKey string) *jwt.AccountClaims {
	if ac, ok := v.over[nameOrKey]; ok {
		return ac
	}
	for _, ac := range v.over {
		if ac != nil && ac.Name == nameOrKey {
			return ac
		}
	}
	key := nameOrKey
	if named, ok := v.p.byName[nameOrKey]; ok {
		if key = named; has(v.over, key) {
			return nil // it has another name now
		}
	}
	if _, ok := v.p.names[key]; !ok {
		return nil
	}
	if ac := v.p.decoded[key]; ac != nil {
		return ac
	}
	rec, err := v.r.Get(store.Account, key)
	if err != nil {
		v.failed = err
		return nil
	}
	ac, err := jwt.DecodeAccountClaims(rec.JWT)
	if err != nil {
		v.failed = fault.New(fault.Internal, "stored claim of %s: %w", rec.Key, err)
		return nil
	}
	v.p.decoded[key] = ac
	return ac
}

func has(m map[string]*jwt.AccountClaims, key string) bool {
	_, ok := m[key]
	return ok
}

// Importers implements isolation.Source.
func (v *view) Importers(exporter string) []string {
	out := make([]string, 0, len(v.p.to[exporter]))
	for key := range v.p.to[exporter] {
		out = append(out, key)
	}
	for key, ac := range v.over {
		if ac != nil && !v.p.to[exporter][key] && slices.ContainsFunc(ac.Imports, func(im *jwt.Import) bool { return im != nil && im.Account == exporter }) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}
