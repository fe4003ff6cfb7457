package cli

import (
	"context"
	"fmt"
	"sync"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

// publish publishes the accounts that flags name.
func (s *session) publish(ctx context.Context, r *root, o pushOptions) ([]*receipt, error) {
	accounts, err := s.selected(r, o)
	if err != nil {
		return nil, err
	}
	var there map[string]api.Version
	if o.all && !s.flags.dryRun {
		if there, err = s.versionsByKey(ctx, r); err != nil {
			return nil, err
		}
	}
	return s.publishAll(ctx, r, accounts, there)
}

// publishAll publishes accounts, but for those that accountd has as they are
// here, if it was asked. While a batch is decided, the one before it is recorded
// in the local store, and all before that are proven.
func (s *session) publishAll(ctx context.Context, r *root, accounts []*account, there map[string]api.Version) (_ []*receipt, err error) {
	p := s.progress(len(accounts), "accounts pushed", "proven")
	defer p.stop()
	taken := s.recordPublications(ctx, r)
	byKey := map[string]*receipt{}
	var waits []func()
	for _, batch := range batches(exportersFirst(accounts), func(ac *account) int { return len(ac.doc.Token) }) {
		var recs []*receipt
		recs, err = s.pushBatch(ctx, r, batch, there, taken)
		for _, rec := range recs {
			byKey[rec.Key] = rec
		}
		p.sent(len(recs))
		if !s.flags.dryRun {
			waits = append(waits, s.proofs(ctx, recs, p.proven))
		}
		if err != nil {
			break
		}
	}
	if rerr := taken.finish(); rerr != nil && err == nil {
		err = fault.New(fault.CodeOf(rerr), "the accounts were published, and recording it failed: %w", rerr).WithHint("nsc push -A")
	}
	for _, wait := range waits {
		wait()
	}
	var pushed []*receipt
	for _, ac := range accounts {
		if rec := byKey[ac.key]; rec != nil {
			pushed = append(pushed, rec)
		}
	}
	return pushed, err
}

// versionsByKey returns the versions of all accounts that accountd has, nil where
// there is none.
func (s *session) versionsByKey(ctx context.Context, r *root) (map[string]api.Version, error) {
	c, err := s.client(ctx, r)
	if noService(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	versions, err := s.versions(ctx, c)
	out := map[string]api.Version{}
	for _, v := range versions {
		out[v.Key] = v
	}
	return out, err
}

// pushBatch publishes accounts in one request, but for those that accountd has as
// they are here. An error means that nothing is known of the batch.
func (s *session) pushBatch(ctx context.Context, r *root, batch []*account, there map[string]api.Version, taken *recorder) ([]*receipt, error) {
	var same, open []*account
	for _, ac := range batch {
		if v := there[ac.key]; v.ID == ac.doc.ID && !v.Deleted {
			same = append(same, ac)
		} else {
			open = append(open, ac)
		}
	}
	works, err := r.works(same...)
	if err != nil {
		return nil, err
	}
	recs := make([]*receipt, len(works), len(batch))
	for i, w := range works {
		v := there[w.key]
		recs[i] = &receipt{
			Kind: "account", Name: w.name, Key: w.key, ID: v.ID, Revision: v.Revision,
			Outcome: outcomeSame, Findings: v.Findings, Sent: true,
		}
		taken.took(w, recs[i])
	}
	if len(open) == 0 {
		return recs, nil
	}
	sent, err := s.send(ctx, r, open)
	for _, w := range sent {
		if w.rec.err == nil {
			taken.took(w.work, w.rec)
		}
		recs = append(recs, w.rec)
	}
	return recs, err
}

// sent is a version that was sent, and what became of it.
type sent struct {
	*work
	rec *receipt
}

// send sends accounts in one request, holding their locks.
func (s *session) send(ctx context.Context, r *root, accounts []*account) ([]sent, error) {
	unlock, err := s.lockAll(ctx, r, accounts)
	if err != nil {
		return nil, err
	}
	defer unlock()
	items := make([]api.Item, len(accounts))
	current, err := r.reload(accounts)
	if err != nil {
		return nil, err
	}
	works, err := r.works(current...)
	if err != nil {
		return nil, err
	}
	for i, w := range works {
		w.next = w.cur
		items[i] = api.Item{JWT: w.next.Token, Base: w.pub.ID, Drop: fleet.Drops(current[i].claims)}
	}
	out := make([]sent, len(works))
	if s.flags.dryRun {
		for i, w := range works {
			out[i] = sent{w, dryPush(w)}
		}
		return out, nil
	}
	results, err := s.putAll(ctx, r, items, works[0].next.Issuer)
	if err == nil {
		err = s.again(ctx, r, works, items, results)
	}
	if err != nil {
		return nil, err
	}
	for i, w := range works {
		out[i] = sent{w, pushReceipt(w, results[i])}
	}
	return out, nil
}

func dryPush(w *work) *receipt {
	rec := &receipt{Kind: "account", Name: w.name, Key: w.key, ID: w.cur.ID, Outcome: outcomeDry}
	switch {
	case !w.dirty:
		rec.Lines = []string{"  published as revision " + fmt.Sprint(w.pub.Revision)}
	case w.pub.ID == "":
		rec.Lines = []string{"  to publish for the first time"}
	default:
		rec.Lines = []string{"  to publish on revision " + fmt.Sprint(w.pub.Revision)}
	}
	return rec
}

// pushReceipt says what became of w. A conflict with the very version that is
// pushed is none.
func pushReceipt(w *work, res api.Result) *receipt {
	rec := &receipt{
		Kind: "account", Name: w.name, Key: w.key, ID: w.next.ID,
		Revision: res.Revision, Outcome: res.Outcome, Findings: res.Findings, Sent: true,
	}
	err := res.Error.Fault()
	switch {
	case err == nil:
	case fault.Is(err, fault.Conflict) && res.Current != nil && res.Current.ID == w.next.ID && !res.Current.Deleted:
		rec.Revision, rec.Outcome = res.Current.Revision, outcomeSame
	case fault.Is(err, fault.Conflict):
		rec.Outcome = outcomeRefused
		rec.fail(conflict(w, res))
	default:
		rec.Outcome = outcomeRefused
		rec.fail(err)
	}
	return rec
}

// recorder writes to the local store what accountd took, several batches at a
// time if they come faster than the disk takes them. No account is locked for
// that: of one that another command has recorded meanwhile, that stays.
type recorder struct {
	done chan struct{} // closed when all is written
	err  error         // of the first that failed; then nothing more is written

	mu    sync.Mutex
	more  *sync.Cond // something waits, or ended is set
	queue []publication
	ended bool
}

// publication is one version that accountd took.
type publication struct {
	key      string
	was, now nscstore.Publication
}

// recordPublications begins to record, until finish.
func (s *session) recordPublications(ctx context.Context, r *root) *recorder {
	rec := &recorder{done: make(chan struct{})}
	rec.more = sync.NewCond(&rec.mu)
	go func() {
		defer close(rec.done)
		for {
			list := rec.next()
			if len(list) == 0 {
				return
			}
			if rec.err == nil {
				rec.err = s.store.Update(context.WithoutCancel(ctx), r.Name(), func(tx *nscstore.Tx) error { return recordAll(tx, list) })
			}
		}
	}()
	return rec
}

// took hands over that accountd has what the receipt of w says.
func (rec *recorder) took(w *work, is *receipt) {
	now := nscstore.Publication{ID: is.ID, Revision: is.Revision}
	if w.pub == now || is.Outcome == outcomeDry {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.queue = append(rec.queue, publication{w.key, w.pub, now})
	rec.more.Signal()
}

// next returns what waits to be written; nothing at the end.
func (rec *recorder) next() []publication {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for len(rec.queue) == 0 && !rec.ended {
		rec.more.Wait()
	}
	list := rec.queue
	rec.queue = nil
	return list
}

// finish waits until all is written.
func (rec *recorder) finish() error {
	rec.mu.Lock()
	rec.ended = true
	rec.more.Signal()
	rec.mu.Unlock()
	<-rec.done
	return rec.err
}

func recordAll(tx *nscstore.Tx, list []publication) error {
	for _, t := range list {
		pub, _, err := tx.Published(t.key)
		if err == nil && pub == t.was {
			err = tx.SetPublished(t.key, t.now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
