package stock

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/store"
)

// reconcileSoon asks for a comparison of all accounts now.
func (f *Fleet) reconcileSoon() { f.soon() }

func (f *Fleet) soon() {
	select {
	case f.look <- struct{}{}:
	default:
	}
}

// reconcileLoop compares what the servers hold with the store: when a server
// has come, and now and then.
func (f *Fleet) reconcileLoop(ctx context.Context) {
	timer := time.NewTimer(f.cfg.Reconcile)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-f.look:
		case <-ctx.Done():
			return
		}
		err := f.reconcile(ctx)
		switch {
		case errors.Is(err, errBusy):
			timer.Reset(min(busyTime, f.cfg.Reconcile))
			continue
		case err != nil && ctx.Err() == nil:
			f.log.Warn("stock servers could not be compared with the store", "err", err)
		}
		timer.Reset(f.cfg.Reconcile)
	}
}

// errBusy says that servers differ since changes are on their way to them.
var errBusy = errors.New("changes are being delivered")

// busyTime is the pause before the next comparison then.
const busyTime = time.Second

// reconcile asks the directories who differs from the store. Which of them
// answers is chance, so it asks some times as often as there are directories:
// one that holds what it should answers at once, whatever it holds. What
// differs is brought to all.
func (f *Fleet) reconcile(ctx context.Context) error {
	f.mu.Lock()
	busy := len(f.jobs) > 0
	f.mu.Unlock()
	if busy {
		return errBusy
	}
	for range looksEach * f.directories() {
		found, err := f.comparePack(ctx)
		if err != nil || found > 0 {
			return err
		}
	}
	return nil
}

// looksEach is how often a directory is asked on average: one that differs is
// missed by a whole round in 2 of 100 cases, and asked again in the next.
const looksEach = 4

// stored reads all accounts: their JWTs, "" for tombstones, and the digest of
// the living ones.
func (f *Fleet) stored(ctx context.Context) (map[string]string, claims.Sum, error) {
	all := map[string]string{}
	var sum claims.Sum
	err := f.cfg.Source.View(ctx, func(r store.Reader) error {
		clear(all)
		sum = claims.Sum{}
		return r.Scan(store.Account, "", func(rec store.Record) bool {
			all[rec.Key] = ""
			if !rec.Deleted {
				all[rec.Key] = rec.JWT
				sum.Add(rec.JWT)
			}
			return true
		})
	})
	return all, sum, err
}

// comparePack asks one directory whether it holds the store's accounts, and for
// its content if it does not, and queues the accounts that differ. It returns
// how many. What only the directory has is left alone, and known the next time.
func (f *Fleet) comparePack(ctx context.Context) (int, error) {
	all, sum, err := f.stored(ctx)
	if err != nil {
		return 0, err
	}
	held, whole, err := f.pack(ctx, sum.Xor(f.extra))
	if err != nil || len(held) == 0 {
		return 0, err
	}
	var differ []string
	var extra claims.Sum
	for key, token := range held {
		want, known := all[key]
		switch {
		case want == token:
		case !known, want == "" && permitsNobody(token):
			extra.Add(token)
		default:
			differ = append(differ, key)
		}
	}
	if !whole {
		return len(differ), f.repair(ctx, differ)
	}
	for key, want := range all {
		if _, ok := held[key]; !ok && want != "" {
			differ = append(differ, key)
		}
	}
	if len(differ) == 0 {
		f.extra = extra
	}
	return len(differ), f.repair(ctx, differ)
}

// repair brings accounts to all servers again.
func (f *Fleet) repair(ctx context.Context, keys []string) error {
	for _, key := range keys {
		rec, err := f.record(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		f.log.Warn("a stock server held another version", "account", key, "deleted", rec.Deleted)
		f.redo(rec)
	}
	return nil
}

// pack asks a directory for all that it holds unless its digest is sum. It is
// whole if the end was seen.
func (f *Fleet) pack(ctx context.Context, sum claims.Sum) (map[string]string, bool, error) {
	held := map[string]string{}
	if f.directories() == 0 {
		return held, true, nil
	}
	sub, err := f.nc.SubscribeSync(ownInbox())
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, false, err
	}
	if err := f.nc.PublishRequest(subjectPack, sub.Subject, sum[:]); err != nil {
		return nil, false, err
	}
	for more := true; more; {
		within, cancel := context.WithTimeout(ctx, f.cfg.Answer)
		m, err := sub.NextMsgWithContext(within)
		cancel()
		if err != nil {
			return held, false, ctx.Err() // what came is compared; the next time brings the rest
		}
		more = len(m.Data) > 0
		for line := range strings.Lines(string(bytes.TrimSpace(m.Data))) {
			if key, token, ok := strings.Cut(strings.TrimSpace(line), "|"); ok {
				held[key] = token
			}
		}
	}
	return held, true, nil
}
