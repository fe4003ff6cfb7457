package enroll

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
	"github.com/accountd/accountd/store"
)

// tenant is what one version of an account says about its devices. It is not
// changed once it is made.
type tenant struct {
	revisions [4]uint64 // of the records that it was made of

	claims  *jwt.AccountClaims
	roles   map[string]role        // by signing key
	signers map[string][]fleet.Key // of the cohorts, by the fleet's name
	retired map[string]int64
	dropped []revocation.Dropped
	denied  fleet.Denied
	spared  fleet.Spared
	returns fleet.Returns
	pairs   map[string]keys.AccountPair // that accountd has, by public key
}

// role is what a signing key is for.
type role struct {
	fleet fleet.Fleet
	group fleet.Group // zero for a key that signs devices
	until int64       // when it is retired, Unix seconds, 0 for not known
}

// role returns what a signing key is for. A key that was retired, or is to be by
// now, is for nothing; but what one that is spared signed is still good to renew
// by.
func (t *tenant) role(key string, now time.Time) (role, bool) {
	r, ok := t.roles[key]
	due := r.until > 0 && r.until <= now.Unix()
	if !ok || due {
		r, ok = role{}, false
	}
	if due || !ok && t.retired[key] != 0 {
		r.fleet, ok = t.returns.Fleet(t.claims, t.spared[key], now.Unix())
	}
	return r, ok
}

// open refuses an account that lets nobody in.
func (t *tenant) open(now time.Time) error {
	switch {
	case t.claims.Expires != 0 && t.claims.Expires <= now.Unix():
		return fault.New(fault.Denied, "account %q has expired", t.claims.Name).ByRule("account")
	case accounts.Suspended(t.claims):
		return fault.New(fault.Denied, "account %q is suspended", t.claims.Name).ByRule("suspended")
	}
	return nil
}

// names reports whether a key is revoked, whatever its credentials: new ones
// would bring it back.
func (t *tenant) names(key string, now time.Time) bool {
	_, listed := t.claims.Revocations[key]
	return listed || t.refuses(key, 0, now)
}

// refuses reports whether what was issued to key at iat is revoked, or was, by a
// revocation that left the claims since servers refuse it anyhow. Those that the
// horizon has passed are not remembered, so that nothing from before it is good.
func (t *tenant) refuses(key string, iat int64, now time.Time) bool {
	horizon, bounded := fleet.Horizon(t.claims, now)
	return iat > 0 && (revocation.List(t.claims.Revocations).Covers(key, iat) || bounded && iat <= horizon) ||
		slices.ContainsFunc(t.dropped, func(d revocation.Dropped) bool { return d.Key == key && iat <= d.At })
}

// signer returns the key that signs the device of an id now.
func (t *tenant) signer(f fleet.Fleet, id string) (claims.Signer, error) {
	signers := t.signers[f.Name]
	if signers == nil {
		_, err := f.Signers(t.claims)
		return nil, err
	}
	k := signers[f.Cohort(id)]
	if pair, ok := t.pairs[k.Public]; ok {
		return pair, nil
	}
	return nil, fault.New(fault.Unavailable, "accountd does not have the key %s of fleet %q", k.Role, f.Name).ByRule("cohort-key").
		WithHint("give it the keys with: nsc edit fleet %s -a %s --delegate", f.Name, fault.Words(t.claims.Name))
}

// tenants remembers the accounts that were asked for, as long as the store has
// not changed since.
type tenants struct {
	store store.Store
	ring  Keyring

	mu      sync.Mutex
	changed <-chan struct{} // closed when the store changes
	current map[string]*tenant
	before  map[string]*tenant // of earlier states
}

func newTenants(st store.Store, ring Keyring) *tenants {
	return &tenants{store: st, ring: ring, changed: closedChannel(), current: map[string]*tenant{}}
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// get returns an account as it is stored.
func (ts *tenants) get(ctx context.Context, account string) (*tenant, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	select {
	case <-ts.changed:
		ts.changed = ts.store.Changed() // first this, then the reading
		for key, t := range ts.current {
			if ts.before == nil {
				ts.before = map[string]*tenant{}
			}
			ts.before[key] = t
		}
		clear(ts.current)
	default:
	}
	if t := ts.current[account]; t != nil {
		return t, nil
	}
	t, err := ts.load(ctx, account)
	if err != nil {
		return nil, err
	}
	ts.current[account] = t
	return t, nil
}

// load reads an account, unless the version that is known is the stored one.
func (ts *tenants) load(ctx context.Context, account string) (t *tenant, err error) {
	var rec, sealed, denied, spared store.Record
	err = ts.store.View(ctx, func(r store.Reader) (err error) {
		if rec, err = r.Get(store.Account, account); err != nil {
			return err
		}
		for kind, to := range map[store.Kind]*store.Record{store.DeviceKeys: &sealed, store.Denied: &denied, store.Spared: &spared} {
			if *to, err = r.Get(kind, account); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && rec.Deleted:
		return nil, fault.New(fault.Denied, "account %s is not known here", keys.Short(account)).ByRule("account")
	case err != nil:
		return nil, fault.New(fault.Unavailable, "the account cannot be read: %w", err)
	}
	revisions := [4]uint64{rec.Revision, sealed.Revision, denied.Revision, spared.Revision}
	if was := ts.before[account]; was != nil && was.revisions == revisions {
		return was, nil
	}
	if t, err = ts.build(rec, sealed, denied, spared); err == nil {
		t.revisions = revisions
	}
	return t, err
}

// build makes a tenant of the records that are about it.
func (ts *tenants) build(rec, sealed, denied, spared store.Record) (t *tenant, err error) {
	t = &tenant{retired: rec.Retired, dropped: rec.Dropped, roles: map[string]role{}, signers: map[string][]fleet.Key{}}
	if t.denied, err = fleet.DecodeDenied(denied.JWT); err != nil {
		return nil, err
	}
	if t.spared, err = fleet.DecodeSpared(spared.JWT); err != nil {
		return nil, err
	}
	doc, err := claims.Decode(rec.JWT)
	if err != nil {
		return nil, err
	}
	if t.claims, err = claims.As[jwt.AccountClaims](doc); err != nil {
		return nil, err
	}
	t.returns = fleet.ReturnsOf(t.claims)
	for _, f := range fleet.All(t.claims) {
		t.signers[f.Name], _ = f.Signers(t.claims) // none if a cohort lacks its key, which who asks is told
		for _, k := range f.Keys(t.claims) {
			t.roles[k.Public] = role{fleet: f, until: k.Retires}
		}
	}
	for _, g := range fleet.Groups(t.claims) {
		t.roles[g.Public] = role{fleet: g.Fleet, group: g}
	}
	if t.pairs, err = ts.ring.read(sealed); err != nil {
		return nil, fault.New(fault.Unavailable, "accountd cannot open the keys of fleets in its store: %w", err).ByRule("identity").
			WithHint("start accountd with the identity that it had, or give it the keys again: nsc edit fleet --delegate")
	}
	return t, nil
}
