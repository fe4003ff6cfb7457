package stock

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/store"
)

// doorTime is how long accountd's own door gets to admit what somebody sent to
// it and to the servers alike.
const doorTime = 250 * time.Millisecond

// maxForeign bounds the messages of others that are being checked.
const maxForeign = 64

// foreign takes an update or a deletion that somebody else sent to the servers.
// They have obeyed it by now, whatever it is.
func (f *Fleet) foreign(ctx context.Context, m *nats.Msg) {
	c, err := parse(string(m.Data))
	if err != nil {
		return // servers refuse it too
	}
	accounts := c.NATS.Accounts
	token := ""
	if m.Subject != subjectDelete {
		accounts, token = []string{c.Subject}, string(m.Data)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if f.checking >= maxForeign {
		f.soon()
		return
	}
	f.checking++
	f.wg.Go(func() {
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.checking--
		}()
		for _, key := range accounts {
			f.check(ctx, key, token, c)
		}
	})
}

// check undoes what somebody sent for an account unless the store holds it, or
// takes it. A deletion has no token.
func (f *Fleet) check(ctx context.Context, key, token string, c claim) {
	if len(f.Servers()) == 0 { // nobody there who could have taken it
		return
	}
	rec, err := f.record(ctx, key)
	if err == nil && rec.JWT == token && !rec.Deleted {
		return
	}
	if stale := err == nil && token != "" && c.IssuedAt < rec.IssuedAt; !stale {
		pause(ctx, doorTime)
		if rec, err = f.admitted(ctx, key, token); err == nil && rec.JWT == token && !rec.Deleted {
			return
		}
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		f.log.Warn("somebody pushed an account that is not stored; accountd does not serve it", "account", key, "issuer", c.Issuer)
		return
	case err != nil:
		f.reconcileSoon()
		return
	case rec.Deleted && token == "":
		return
	}
	f.undone.Add(1)
	f.log.Warn("undoing what somebody sent straight to the servers", "account", key, "issuer", c.Issuer, "jti", c.ID,
		"deletion", token == "", "revision", rec.Revision)
	f.redo(rec)
}

// admitted reads what is stored after the door had its time, and asks for
// admission itself if it is not what was sent.
func (f *Fleet) admitted(ctx context.Context, key, token string) (store.Record, error) {
	rec, err := f.record(ctx, key)
	if token == "" || f.cfg.Admit == nil || err == nil && rec.JWT == token {
		return rec, err
	}
	if refusal := f.cfg.Admit(ctx, token); refusal != nil {
		f.log.Info("a push is not admitted", "account", key, "err", refusal)
	}
	return f.record(ctx, key)
}

// redo brings the stored version to all servers again: any of them may have
// lost it.
func (f *Fleet) redo(rec store.Record) {
	now := f.cfg.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.servers {
		s.open[rec.Key] = max(s.open[rec.Key], rec.Seq)
	}
	f.dirty = true
	f.enqueue(rec, now)
}
