package stock

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/accountd/accountd/store"
)

const (
	followBatch = 1000                  // changes read in one View
	backoffMin  = 50 * time.Millisecond // after the first failure
	backoffMax  = 30 * time.Second      // between any two attempts
)

// follow opens every change of an account for every expected server, for ever.
func (f *Fleet) follow(ctx context.Context) {
	backoff := backoffMin
	for ctx.Err() == nil {
		changed := f.cfg.Source.Changed()
		more, err := f.step(ctx)
		f.sourceState(ctx, err)
		switch {
		case err != nil:
			pause(ctx, backoff)
			backoff = min(2*backoff, backoffMax)
		case !more:
			backoff = backoffMin
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// step reads what follows and queues the accounts that it names.
func (f *Fleet) step(ctx context.Context) (more bool, err error) {
	f.mu.Lock()
	after, alone := f.followed, len(f.servers) == 0
	f.mu.Unlock()
	if alone {
		return false, f.skipAll(ctx)
	}
	var changes []store.Change
	recs := map[string]store.Record{}
	err = f.cfg.Source.View(ctx, func(r store.Reader) error {
		clear(recs)
		var err error
		if changes, err = r.Changes(after, followBatch); err != nil {
			return err
		}
		for _, ch := range changes {
			if ch.Kind != store.Account {
				continue
			}
			if _, ok := recs[ch.Key]; ok {
				continue
			}
			if recs[ch.Key], err = r.Get(store.Account, ch.Key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(changes) == 0 {
		return false, err
	}
	now := f.cfg.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ch := range changes {
		rec, ok := recs[ch.Key]
		if !ok {
			continue
		}
		for _, s := range f.servers {
			if ch.Seq <= s.skip {
				continue
			}
			s.open[ch.Key] = ch.Seq
			if s.up && ch.Seq == rec.Seq { // who is away gets it at its return
				f.enqueue(rec, now)
			}
		}
	}
	f.followed = changes[len(changes)-1].Seq
	f.dirty = true
	return len(changes) == followBatch, nil
}

// skipAll follows without a look at what changes, as long as nobody needs it: a
// server that comes gets all accounts.
func (f *Fleet) skipAll(ctx context.Context) error {
	var head uint64
	if err := f.cfg.Source.View(ctx, func(r store.Reader) (err error) {
		head, err = r.Head()
		return err
	}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.servers) == 0 {
		f.followed = head
	}
	return nil
}

// openAll opens every account for a server that was never seen before.
func (f *Fleet) openAll(ctx context.Context, s *Server) error {
	open := map[string]uint64{}
	var head uint64
	if err := f.cfg.Source.View(ctx, func(r store.Reader) (err error) {
		clear(open)
		if head, err = r.Head(); err != nil {
			return err
		}
		return r.Scan(store.Account, "", func(rec store.Record) bool {
			open[rec.Key] = rec.Seq
			return true
		})
	}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, seq := range open {
		if s.open[key] < seq {
			s.open[key] = seq
		}
	}
	s.skip, s.fresh = head, false
	return nil
}

// catchUp queues what is open for a server that has come.
func (f *Fleet) catchUp(ctx context.Context, s *Server) error {
	f.mu.Lock()
	keys := make([]string, 0, len(s.open))
	for key := range s.open {
		keys = append(keys, key)
	}
	f.mu.Unlock()
	return f.requeue(ctx, keys)
}

// requeue queues the stored versions of accounts.
func (f *Fleet) requeue(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		part := keys[:min(len(keys), followBatch)]
		keys = keys[len(part):]
		recs := make([]store.Record, 0, len(part))
		if err := f.cfg.Source.View(ctx, func(r store.Reader) error {
			recs = recs[:0]
			for _, key := range part {
				rec, err := r.Get(store.Account, key)
				if errors.Is(err, store.ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				recs = append(recs, rec)
			}
			return nil
		}); err != nil {
			return err
		}
		now := f.cfg.Now()
		f.mu.Lock()
		for _, rec := range recs {
			f.enqueue(rec, now)
		}
		f.mu.Unlock()
	}
	return nil
}

// record reads the stored version of an account or operator.
func (f *Fleet) record(ctx context.Context, key string) (rec store.Record, err error) {
	kind := store.Account
	if isOperator(key) {
		kind = store.Operator
	}
	err = f.cfg.Source.View(ctx, func(r store.Reader) (err error) {
		rec, err = r.Get(kind, key)
		return err
	})
	return rec, err
}

func isOperator(key string) bool { return strings.HasPrefix(key, "O") }

// sourceState keeps, and logs once, whether the store can be followed.
func (f *Fleet) sourceState(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	was := f.source
	f.source = err
	f.mu.Unlock()
	switch {
	case err != nil && was == nil:
		f.log.Warn("cannot follow the store; stock servers keep what they have", "err", err)
	case err == nil && was != nil:
		f.log.Info("following the store again")
	}
}
