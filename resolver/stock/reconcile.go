package stock

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

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

// digest is the sum of all claims as directories compute it: the exclusive or
// of the SHA-256 of every JWT (nats-server, dirstore.go).
type digest [sha256.Size]byte

func (d *digest) add(token string) {
	for i, b := range sha256.Sum256([]byte(token)) {
		d[i] ^= b
	}
}

// reconcile asks the directories who differs from the store. Which of them
// answers is chance, so it asks some times as often as there are directories.
// What differs is brought to all.
func (f *Fleet) reconcile(ctx context.Context) error {
	f.mu.Lock()
	busy := len(f.jobs) > 0
	f.mu.Unlock()
	if busy {
		return errBusy
	}
	if err := f.listed(ctx); err != nil {
		return err
	}
	for range 4 * f.directories() {
		found, err := f.comparePack(ctx)
		if err != nil || found > 0 {
			return err
		}
	}
	return nil
}

// stored reads all accounts: their JWTs, "" for tombstones, and the digest of
// the living ones.
func (f *Fleet) stored(ctx context.Context) (map[string]string, digest, error) {
	all := map[string]string{}
	var sum digest
	err := f.cfg.Source.View(ctx, func(r store.Reader) error {
		clear(all)
		sum = digest{}
		return r.Scan(store.Account, "", func(rec store.Record) bool {
			all[rec.Key] = ""
			if !rec.Deleted {
				all[rec.Key] = rec.JWT
				sum.add(rec.JWT)
			}
			return true
		})
	})
	return all, sum, err
}

// comparePack asks one directory for its digest, and for its content if that
// differs, and queues the accounts that do. It returns how many.
func (f *Fleet) comparePack(ctx context.Context) (int, error) {
	all, sum, err := f.stored(ctx)
	if err != nil {
		return 0, err
	}
	held, whole, err := f.pack(ctx, sum)
	if err != nil || len(held) == 0 {
		return 0, err
	}
	var differ []string
	for key, token := range held {
		if want, known := all[key]; known && want != token && !(want == "" && permitsNobody(token)) {
			differ = append(differ, key)
		}
	}
	if whole {
		for key, want := range all {
			if _, ok := held[key]; !ok && want != "" {
				differ = append(differ, key)
			}
		}
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
func (f *Fleet) pack(ctx context.Context, sum digest) (map[string]string, bool, error) {
	held := map[string]string{}
	if f.directories() == 0 {
		return held, true, nil
	}
	sub, err := f.nc.SubscribeSync(f.nc.NewInbox())
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
	for ends := 0; ends <= f.cfg.Doors; {
		within, cancel := context.WithTimeout(ctx, f.cfg.Answer)
		m, err := sub.NextMsgWithContext(within)
		cancel()
		if err != nil {
			return held, false, ctx.Err() // what came is compared; the next time brings the rest
		}
		if len(m.Data) == 0 {
			ends++
		}
		for line := range strings.Lines(string(bytes.TrimSpace(m.Data))) {
			if key, token, ok := strings.Cut(strings.TrimSpace(line), "|"); ok {
				if have := held[key]; have == "" || f.cfg.Doors == 0 {
					held[key] = token
				}
			}
		}
	}
	return held, true, nil
}

// listed finds which directory lacks an account, or has a deleted one, by name.
func (f *Fleet) listed(ctx context.Context) error {
	up := f.upNow()
	missing := map[string]bool{}
	for id, s := range up {
		if f.kindOf(s) == Full {
			missing[id] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	all, _, err := f.stored(ctx)
	if err != nil {
		return err
	}
	differ := map[string]bool{}
	if _, err := f.ask.gather(ctx, subjectList, nil, f.cfg.Answer, f.stirred, func(m *nats.Msg) bool {
		if m != nil {
			f.compareList(m, up, all, missing, differ)
		}
		return len(missing) == 0
	}); err != nil {
		return err
	}
	keys := make([]string, 0, len(differ))
	for key := range differ {
		keys = append(keys, key)
	}
	return f.repair(ctx, keys)
}

func (f *Fleet) compareList(m *nats.Msg, up map[string]*Server, all map[string]string, missing, differ map[string]bool) {
	var a answer[[]string]
	if json.Unmarshal(m.Data, &a) != nil || !missing[a.Server.ID] {
		return
	}
	delete(missing, a.Server.ID)
	f.mu.Lock()
	undeletable := up[a.Server.ID].undeletable
	f.mu.Unlock()
	has := make(map[string]bool, len(a.Data))
	for _, key := range a.Data {
		has[key] = true
		if want, known := all[key]; known && want == "" && !undeletable {
			differ[key] = true
		}
	}
	for key, want := range all {
		if want != "" && !has[key] {
			differ[key] = true
		}
	}
}
