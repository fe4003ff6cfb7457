package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/accountd/accountd/store"
)

// ErrInjected is the failure that Faulty injects: nothing was committed.
var ErrInjected = errors.New("injected failure")

// Outcome is what Faulty does with one Update.
type Outcome int

// The outcomes. An error of the function itself goes before any of them.
const (
	Pass    Outcome = iota // the store's own outcome
	Failed                 // not applied: the function ran, was rolled back; ErrInjected
	Lost                   // not applied, and the caller cannot know: store.ErrUnknown
	Applied                // committed, and the caller cannot know: store.ErrUnknown
	Twice                  // the function runs, is rolled back, runs again and is committed
)

// String returns the name of o.
func (o Outcome) String() string {
	return [...]string{"pass", "failed", "lost", "applied", "twice"}[o]
}

// Fault is the fate of one Update.
type Fault struct {
	Outcome Outcome
	// Gate, if not nil, holds the Update back until it is closed, or ctx ends.
	Gate <-chan struct{}
}

// Plan says what happens to the nth Update, from 1. It is called by one
// goroutine at a time.
type Plan func(n int) Fault

// Script is a Plan of the given outcomes, one an Update, and Pass from then on.
func Script(outcomes ...Outcome) Plan {
	return func(n int) Fault {
		if n > len(outcomes) {
			return Fault{}
		}
		return Fault{Outcome: outcomes[n-1]}
	}
}

// Random is a Plan in which one Update in every has another outcome than Pass.
func Random(rng *rand.Rand, every int) Plan {
	return func(int) Fault {
		if rng.IntN(every) != 0 {
			return Fault{}
		}
		return Fault{Outcome: Failed + Outcome(rng.IntN(int(Twice)))}
	}
}

// Faulty is a Store whose Updates fail by plan.
type Faulty struct {
	store.Store

	mu   sync.Mutex
	n    int
	plan Plan
}

var _ store.Store = (*Faulty)(nil)

// NewFaulty wraps s.
func NewFaulty(s store.Store, plan Plan) *Faulty {
	return &Faulty{Store: s, plan: plan}
}

// Updates returns how many Updates have begun.
func (s *Faulty) Updates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *Faulty) next() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.plan(s.n)
}

// Update runs f with the outcome that the plan says.
func (s *Faulty) Update(ctx context.Context, f func(store.Tx) error) error {
	fault := s.next()
	if fault.Gate != nil {
		select {
		case <-fault.Gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch fault.Outcome {
	case Failed:
		return s.rolledBack(ctx, f, ErrInjected)
	case Lost:
		return s.rolledBack(ctx, f, unknown(fault.Outcome))
	case Applied:
		if err := s.Store.Update(ctx, f); err != nil {
			return err
		}
		return unknown(fault.Outcome)
	case Twice:
		again := errors.New("again")
		if err := s.rolledBack(ctx, f, again); err != again {
			return err
		}
	}
	return s.Store.Update(ctx, f)
}

// rolledBack runs f and rolls it back with err.
func (s *Faulty) rolledBack(ctx context.Context, f func(store.Tx) error, err error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return err
	})
}

func unknown(o Outcome) error {
	return fmt.Errorf("injected (%s): %w", o, store.ErrUnknown)
}
