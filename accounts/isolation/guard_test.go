package isolation_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts/isolation"
)

// shelf is a Source.
type shelf map[string]*jwt.AccountClaims

func (s shelf) Account(nameOrKey string) *jwt.AccountClaims {
	if ac := s[nameOrKey]; ac != nil {
		return ac
	}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if s[key].Name == nameOrKey {
			return s[key]
		}
	}
	return nil
}

func (s shelf) Importers(key string) []string {
	var out []string
	for _, importer := range slices.Sorted(maps.Keys(s)) {
		if slices.ContainsFunc(s[importer].Imports, func(im *jwt.Import) bool { return im.Account == key }) {
			out = append(out, importer)
		}
	}
	return out
}

func (s shelf) world() *isolation.World {
	return isolation.New(isolation.Config{Source: s, Admitted: true, Now: time.Now(), JetStream: true})
}

// whole is the same world without a Source.
func (s shelf) whole() *isolation.World {
	cfg := isolation.Config{Now: time.Now(), JetStream: true}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		cfg.Accounts = append(cfg.Accounts, s[key])
	}
	return isolation.New(cfg)
}

// variant draws a version of an account with a part of what it shares, nil for a
// deleted one.
func (g *generator) variant(full *jwt.AccountClaims) *jwt.AccountClaims {
	if g.chance(10) {
		return nil
	}
	ac := *full
	keep := g.IntN(101)
	ac.Exports = slices.DeleteFunc(slices.Clone(full.Exports), func(*jwt.Export) bool { return !g.chance(keep) })
	ac.Imports = slices.DeleteFunc(slices.Clone(full.Imports), func(*jwt.Import) bool { return !g.chance(keep) })
	if !g.chance(keep) {
		ac.Mappings = nil
	}
	if g.chance(10) {
		ac.Name = "renamed"
	}
	return &ac
}

// TestGuardFindsWhatACheckFinds: whatever changes, a guard names the breaches
// that a check of everything finds after and not before.
func TestGuardFindsWhatACheckFinds(t *testing.T) {
	t.Parallel()
	sys := newTenant("SYS")
	sys.newUser("sys")
	found := 0
	for seed := range uint64(60) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
		var full []*jwt.AccountClaims
		stored := shelf{}
		p := isolation.Policy{Isolated: [][]string{{}}}
		for _, a := range g.scene(sys).tenants {
			if healthy(a.claims) {
				full = append(full, a.claims)
				p.Isolated[0] = append(p.Isolated[0], a.claims.Name)
				if v := g.variant(a.claims); v != nil {
					stored[v.Subject] = v
				}
			}
		}
		if len(full) < 2 {
			continue
		}
		p.Reaches = []isolation.Allowance{{From: full[0].Name, Only: []string{full[1].Name}}}
		p.Flows = []isolation.ExpectedFlow{{From: full[0].Name, Subject: g.literal(), To: full[1].Name, Pattern: ">", Expect: isolation.None}}
		guard := isolation.NewGuard(p)
		guard.Learn(stored.world(), nil)
		for step := range 20 {
			next, changed := maps.Clone(stored), []string{}
			for range 1 + g.IntN(2) {
				ac := pick(g, full...)
				if delete(next, ac.Subject); !slices.Contains(changed, ac.Subject) {
					changed = append(changed, ac.Subject)
				}
				if v := g.variant(ac); v != nil {
					next[v.Subject] = v
				}
			}
			before := map[string]bool{}
			for _, b := range stored.whole().Check(p) {
				before[b.ID()] = true
			}
			want := map[string]bool{}
			for _, b := range next.whole().Check(p) {
				if !before[b.ID()] {
					want[b.ID()] = true
				}
			}
			got := map[string]bool{}
			for _, b := range guard.Judge(stored.world(), next.world(), changed) {
				got[b.ID()] = true
			}
			if !maps.Equal(got, want) {
				t.Fatalf("seed %d, step %d, changed %v:\n got %v\nwant %v", seed, step, changed, got, want)
			}
			found += len(want)
			if g.chance(70) {
				stored = next
				guard.Learn(stored.world(), changed)
			}
		}
	}
	t.Logf("%d breaches", found)
	if found < 200 {
		t.Errorf("only %d breaches came up", found)
	}
}

// healthy reports whether servers take an account.
func healthy(ac *jwt.AccountClaims) bool {
	vr := jwt.CreateValidationResults()
	ac.Validate(vr)
	return !vr.IsBlocking(false)
}

// BenchmarkGuard: one tenant changes, all of which are isolated from each other
// but for a platform that gives every one of them its own stream and service.
func BenchmarkGuard(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		platform := newTenant("platform")
		stored := shelf{platform.pub: platform.claims}
		p := isolation.Policy{Isolated: [][]string{{}}}
		importers := map[string][]string{}
		for i := range n {
			a := newTenant(fmt.Sprintf("t%d", i))
			a.exports(jwt.Stream, "orders.>")
			platform.claims.Exports.Add(&jwt.Export{Subject: jwt.Subject(a.claims.Name + ".news.>"), Type: jwt.Stream})
			a.claims.Imports.Add(&jwt.Import{Account: platform.pub, Subject: jwt.Subject(a.claims.Name + ".news.>"), LocalSubject: "news.>", Type: jwt.Stream})
			platform.claims.Imports.Add(&jwt.Import{Account: a.pub, Subject: "orders.>", LocalSubject: jwt.RenamingSubject(a.claims.Name + ".orders.>"), Type: jwt.Stream})
			a.exports(jwt.Service, "ask.>")
			platform.claims.Imports.Add(&jwt.Import{Account: a.pub, Subject: "ask.>", LocalSubject: jwt.RenamingSubject(a.claims.Name + ".ask.>"), Type: jwt.Service})
			platform.claims.Exports.Add(&jwt.Export{Subject: jwt.Subject("for." + a.claims.Name + ".>"), Type: jwt.Service})
			a.claims.Imports.Add(&jwt.Import{Account: platform.pub, Subject: jwt.Subject("for." + a.claims.Name + ".>"), LocalSubject: "platform.>", Type: jwt.Service})
			stored[a.pub] = a.claims
			importers[platform.pub] = append(importers[platform.pub], a.pub)
			importers[a.pub] = []string{platform.pub}
			p.Isolated[0] = append(p.Isolated[0], a.claims.Name)
		}
		src := indexed{stored, map[string]string{}, importers}
		for key, ac := range stored {
			src.names[ac.Name] = key
		}
		world := func() *isolation.World {
			return isolation.New(isolation.Config{Source: src, Admitted: true, Now: time.Now(), JetStream: true})
		}
		guard := isolation.NewGuard(p)
		b.Run(fmt.Sprintf("first/%d", n), func(b *testing.B) {
			for b.Loop() {
				guard = isolation.NewGuard(p)
				guard.Learn(world(), nil)
			}
		})
		changed := []string{src.names["t7"]}
		b.Run(fmt.Sprintf("change/%d", n), func(b *testing.B) {
			for b.Loop() {
				if broken := guard.Judge(world(), world(), changed); len(broken) > 0 {
					b.Fatal(broken)
				}
				guard.Learn(world(), changed)
			}
		})
	}
}

// indexed is a Source that looks nothing up by scanning.
type indexed struct {
	shelf
	names     map[string]string
	importers map[string][]string
}

func (s indexed) Account(nameOrKey string) *jwt.AccountClaims {
	if ac := s.shelf[nameOrKey]; ac != nil {
		return ac
	}
	return s.shelf[s.names[nameOrKey]]
}

func (s indexed) Importers(key string) []string { return s.importers[key] }
