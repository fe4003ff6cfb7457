package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/keys"
)

// history is a run of TestHistory.
type history struct {
	cloud   *cloud
	urls    string
	tenants []*tenant
	tags    atomic.Int64 // makes versions differ
}

// tenant is one account, its users, and what clients did to it.
type tenant struct {
	name  string
	pair  keys.AccountPair
	users map[string]string // user key to bearer JWT, signed by the account
	acked atomic.Uint64     // latest acknowledged revision

	mu     sync.Mutex
	roles  map[string]string // signing key to a bearer JWT that it signed
	steps  []*step
	issued int64
}

func (t *tenant) key() string { return t.pair.PublicKey() }

// record keeps an acknowledged step, or one without an answer.
func (t *tenant) record(s *step) {
	t.mu.Lock()
	t.steps = append(t.steps, s)
	t.mu.Unlock()
	if !s.unknown {
		raise(&t.acked, s.result.Revision)
	}
}

func newHistory(t *testing.T, c *cloud) *history {
	t.Helper()
	h := &history{cloud: c, urls: strings.Join(c.urls(), ",")}
	hand := c.mustHand()
	for i := range historyAccounts {
		ten := newTenant(t, fmt.Sprintf("h%d", i))
		ac := jwt.NewAccountClaims(ten.key())
		ac.Name = ten.name
		draft, err := claims.New(ac)
		if err != nil {
			t.Fatal(err)
		}
		s := &step{}
		if s.doc, err = draft.Sign(hand.signer, time.Now().Unix()); err != nil {
			t.Fatal(err)
		}
		s.item.JWT = s.doc.Token
		if s.result, err = hand.put(context.Background(), s.item); err != nil {
			t.Fatal(err)
		}
		ten.record(s)
		h.tenants = append(h.tenants, ten)
	}
	return h
}

func newTenant(t *testing.T, name string) *tenant {
	t.Helper()
	pair, err := keys.NewAccount()
	if err != nil {
		t.Fatal(err)
	}
	ten := &tenant{name: name, pair: pair, users: map[string]string{}, roles: map[string]string{}, issued: time.Now().Unix() - 60}
	for range historyUsers {
		token, err := ten.issue(pair)
		if err != nil {
			t.Fatal(err)
		}
		ten.users[subject(t, token)] = token
	}
	return ten
}

// issue makes a bearer user, signed by the account's key or one of its signing
// keys, before every revocation.
func (t *tenant) issue(signer keys.AccountPair) (string, error) {
	user, err := keys.NewUser()
	if err != nil {
		return "", err
	}
	uc := jwt.NewUserClaims(user.PublicKey())
	uc.Name, uc.BearerToken = "u", true
	if signer.PublicKey() != t.key() {
		uc.IssuerAccount = t.key()
	}
	draft, err := claims.New(uc)
	if err != nil {
		return "", err
	}
	doc, err := draft.Sign(signer, t.issued)
	if err != nil {
		return "", err
	}
	return doc.Token, nil
}

// choose picks a change of the stored version v. evil is what it would mean if
// it were accepted, "" for a change that may be. A nil step is no change.
func (a *actor) choose(t *tenant, v *api.Version) (s *step, evil string, err error) {
	doc, err := claims.Decode(v.JWT)
	if err != nil {
		return nil, "", promise(err.Error())
	}
	if v.Deleted {
		if a.rand.IntN(8) == 0 {
			s, err := a.sign(doc, api.Item{}, func(*jwt.AccountClaims) {})
			return s, "a deleted account came back without a restore", err
		}
		s, err := a.sign(doc, api.Item{Restore: true}, func(*jwt.AccountClaims) {})
		return s, "", err
	}
	ac, err := claims.As[jwt.AccountClaims](doc)
	if err != nil {
		return nil, "", promise(err.Error())
	}
	user := pick(a, slices.Sorted(maps.Keys(t.users)))
	switch n := a.rand.IntN(20); {
	case n < 6:
		s, err = a.sign(doc, api.Item{}, func(c *jwt.AccountClaims) { c.RevokeAt(user, time.Now()) })
	case n < 10:
		s, err = a.sign(doc, api.Item{Unrevoke: []string{user}}, func(c *jwt.AccountClaims) { delete(c.Revocations, user) })
	case n < 12 && len(ac.SigningKeys) < 5:
		s, err = a.addRole(t, doc)
	case n < 14 && len(ac.SigningKeys) > 0:
		role := pick(a, ac.SigningKeys.Keys())
		s, err = a.sign(doc, api.Item{}, func(c *jwt.AccountClaims) { delete(c.SigningKeys, role) })
	case n < 15:
		s = &step{item: api.Item{Delete: t.key(), Base: doc.ID, Force: true}}
	case n < 17:
		return a.forget(doc, ac)
	case n < 18:
		return a.revive(t, doc, ac)
	case n < 19:
		s, err = a.everyone(doc, ac)
	default:
		s, err = a.sign(doc, api.Item{}, func(*jwt.AccountClaims) {})
	}
	return s, "", err
}

func pick(a *actor, from []string) string {
	slices.Sort(from)
	return from[a.rand.IntN(len(from))]
}

// addRole adds a signing key and has it sign a user.
func (a *actor) addRole(t *tenant, doc *claims.Document) (*step, error) {
	role, err := keys.NewAccount()
	if err != nil {
		return nil, err
	}
	token, err := t.issue(role)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.roles[role.PublicKey()] = token
	t.mu.Unlock()
	return a.sign(doc, api.Item{}, func(c *jwt.AccountClaims) { c.SigningKeys.Add(role.PublicKey()) })
}

// everyone revokes all users, or takes that back.
func (a *actor) everyone(doc *claims.Document, ac *jwt.AccountClaims) (*step, error) {
	if _, there := ac.Revocations[jwt.All]; there {
		return a.sign(doc, api.Item{Unrevoke: []string{jwt.All}}, func(c *jwt.AccountClaims) { delete(c.Revocations, jwt.All) })
	}
	return a.sign(doc, api.Item{}, func(c *jwt.AccountClaims) { c.RevokeAt(jwt.All, time.Now()) })
}

// forget leaves out a revocation without naming it.
func (a *actor) forget(doc *claims.Document, ac *jwt.AccountClaims) (*step, string, error) {
	if len(ac.Revocations) == 0 {
		return nil, "", nil
	}
	user := pick(a, slices.Sorted(maps.Keys(ac.Revocations)))
	s, err := a.sign(doc, api.Item{}, func(c *jwt.AccountClaims) { delete(c.Revocations, user) })
	return s, "a version without the revocation of " + user + " was accepted", err
}

// revive brings back a signing key that is not in the stored version: a retired
// one, unless its addition was never committed.
func (a *actor) revive(t *tenant, doc *claims.Document, ac *jwt.AccountClaims) (*step, string, error) {
	t.mu.Lock()
	var gone []string
	for _, s := range t.steps {
		if s.unknown || s.doc == nil {
			continue
		}
		if was, err := claims.As[jwt.AccountClaims](s.doc); err == nil {
			for _, key := range was.SigningKeys.Keys() {
				if !slices.Contains(ac.SigningKeys.Keys(), key) && s.result.Revision < a.revisionOf(t, doc) {
					gone = append(gone, key)
				}
			}
		}
	}
	t.mu.Unlock()
	if len(gone) == 0 {
		return nil, "", nil
	}
	role := pick(a, gone)
	s, err := a.sign(doc, api.Item{}, func(c *jwt.AccountClaims) { c.SigningKeys.Add(role) })
	return s, "the retired key " + role + " was accepted again", err
}

// revisionOf is the acknowledged revision of a document, 0 if it is not known.
// The caller holds t.mu.
func (a *actor) revisionOf(t *tenant, doc *claims.Document) uint64 {
	for _, s := range t.steps {
		if !s.unknown && s.doc != nil && s.doc.ID == doc.ID {
			return s.result.Revision
		}
	}
	return 0
}

// sign makes a version that follows doc, with a tag that no other has.
func (a *actor) sign(doc *claims.Document, item api.Item, f func(*jwt.AccountClaims)) (*step, error) {
	draft, err := claims.Edit(doc, func(c *jwt.AccountClaims) error {
		f(c)
		c.Tags = jwt.TagList{fmt.Sprintf("v%d", a.tags.Add(1))}
		return nil
	})
	if err != nil {
		return nil, err
	}
	next, err := draft.Sign(a.hand.signer, max(time.Now().Unix(), doc.IssuedAt))
	if err != nil {
		return nil, err
	}
	item.JWT, item.Base = next.Token, doc.ID
	return &step{item: item, doc: next}, nil
}
