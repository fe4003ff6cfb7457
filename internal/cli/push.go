package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

// maxBatch bounds the JWTs of one request, in bytes: with the envelope it must
// fit into one message of 1 MiB.
const maxBatch = 700 << 10

// maxBatchItems bounds the items of one request.
const maxBatchItems = 500

// pushOptions are the flags of push.
type pushOptions struct {
	accounts []string
	all      bool
	sysUser  string
	aim      aim

	remove      string // account to remove, name or public key
	prune, diff bool
	force       bool
}

// publishes reports whether accounts are to be published at all.
func (o pushOptions) publishes() bool {
	return o.all || len(o.accounts) > 0 || !o.prune && !o.diff && o.remove == ""
}

// check refuses flags that exclude each other.
func (o pushOptions) check() error {
	others := 0
	for _, given := range []bool{o.remove != "", o.prune, o.diff} {
		if given {
			others++
		}
	}
	switch {
	case o.all && len(o.accounts) > 0:
		return usage("--all and --account exclude each other")
	case others > 1:
		return usage("--account-removal, --prune and --diff exclude each other")
	}
	return nil
}

func newPush(a *app) *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push",
		Short: "Publish accounts of the local store and wait for the proof",
		Long: `Publish the local versions of accounts, exporters before importers, several in
one request. A version that is published already is only proven. Without accountd,
the servers themselves are given the accounts, and nothing is proven.`,
		Example: `  nsc push
  nsc push -a app
  nsc push -a app -a billing
  nsc push --all --timeout 60s
  nsc push --diff
  nsc push --all --prune --yes`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			a.flags.sysUser = first(a.flags.sysUser, o.sysUser)
			a.flags.incomplete = a.flags.incomplete || o.force
			if o.diff {
				return a.pushDiff(cmd.Context(), o)
			}
			return a.finishAll(a.push(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&o.accounts, "account", "a", nil, "account names or public keys (default the current account)")
	f.BoolVarP(&o.all, "all", "A", false, "all accounts of the operator")
	f.StringVar(&o.sysUser, "system-user", "", "official name of --sys-user")
	f.StringVarP(&o.remove, "account-removal", "R", "", "remove this account, name or public key, from the servers; it stays in the local store")
	f.BoolVarP(&o.prune, "prune", "P", false, "remove the accounts that the local store does not have from the servers")
	f.BoolVarP(&o.diff, "diff", "D", false, "compare the accounts here with those on the servers")
	f.BoolVarP(&o.force, "force", "F", false, "publish what has findings, and remove accounts that others import from")
	o.aim.flags(cmd, true)
	a.tlsFlags(cmd)
	return cmd
}

// push publishes accounts and removes some. It returns one receipt an account.
func (a *app) push(ctx context.Context, o pushOptions) ([]*receipt, error) {
	s, err := a.session()
	if err != nil {
		return nil, err
	}
	r, err := s.root(ctx)
	if err != nil {
		return nil, err
	}
	if err := o.aim.at(r); err != nil {
		return nil, err
	}
	if r.tenant {
		return s.publishOwn(ctx, r, o)
	}
	if err := s.dial(ctx, r); err != nil {
		return nil, err
	}
	var recs []*receipt
	if o.publishes() {
		if recs, err = s.publish(ctx, r, o); err != nil {
			return recs, err
		}
	}
	removed, err := s.removeRemote(ctx, r, o)
	return append(recs, removed...), err
}

// publish publishes the accounts that flags name.
func (s *session) publish(ctx context.Context, r *root, o pushOptions) ([]*receipt, error) {
	accounts, err := s.selected(r, o)
	if err != nil {
		return nil, err
	}
	p := s.progress(len(accounts), "accounts pushed", "proven")
	defer p.stop()
	var pushed []*receipt
	var waits []func()
	for _, batch := range batches(exportersFirst(accounts), func(ac *account) int { return len(ac.doc.Token) }) {
		recs, err := s.pushBatch(ctx, r, batch)
		pushed = append(pushed, recs...)
		if err != nil {
			return pushed, err
		}
		p.sent(len(batch))
		if !s.flags.dryRun {
			waits = append(waits, s.proofs(ctx, recs, p.proven))
		}
	}
	for _, wait := range waits {
		wait()
	}
	return pushed, nil
}

// selected returns the accounts that flags name.
func (s *session) selected(r *root, o pushOptions) ([]*account, error) {
	names := o.accounts
	if o.all {
		var err error
		if names, err = r.Accounts(); err != nil {
			return nil, err
		}
	} else if len(names) == 0 {
		names = []string{""}
	}
	var out []*account
	seen := map[string]bool{}
	for _, n := range names {
		ac, err := s.account(r, n)
		if err != nil {
			return nil, err
		}
		if !seen[ac.key] {
			seen[ac.key] = true
			out = append(out, ac)
		}
	}
	return out, nil
}

// lockAll locks accounts in the order of their keys.
func (s *session) lockAll(ctx context.Context, r *root, accounts []*account) (func(), error) {
	var keys []string
	for _, ac := range accounts {
		keys = append(keys, ac.key)
	}
	slices.Sort(keys)
	var held []func()
	free := func() {
		for _, f := range held {
			f()
		}
	}
	for _, k := range keys {
		unlock, err := s.lock(ctx, r, k)
		if err != nil {
			free()
			return nil, err
		}
		held = append(held, unlock)
	}
	return free, nil
}

// exportersFirst orders accounts so that an account follows those that it
// imports from, as far as there is no cycle, else by name.
func exportersFirst(accounts []*account) []*account {
	byKey := map[string]*account{}
	for _, ac := range accounts {
		byKey[ac.key] = ac
	}
	var out []*account
	seen := map[string]bool{}
	var visit func(*account)
	visit = func(ac *account) {
		if seen[ac.key] {
			return
		}
		seen[ac.key] = true
		for _, im := range ac.claims.Imports {
			if from := byKey[im.Account]; from != nil {
				visit(from)
			}
		}
		out = append(out, ac)
	}
	for _, ac := range accounts {
		visit(ac)
	}
	return out
}

// batches splits items into requests, by the number of bytes that each takes.
func batches[T any](items []T, bytes func(T) int) [][]T {
	var out [][]T
	size := 0
	for _, item := range items {
		n := bytes(item)
		if last := len(out) - 1; last < 0 || size+n > maxBatch || len(out[last]) == maxBatchItems {
			out, size = append(out, nil), 0
		}
		out[len(out)-1] = append(out[len(out)-1], item)
		size += n
	}
	return out
}

func dryPush(works []*work) []*receipt {
	var out []*receipt
	for _, w := range works {
		rec := &receipt{Kind: "account", Name: w.name, Key: w.key, ID: w.cur.ID, Outcome: outcomeDry}
		rec.Lines = []string{"  to publish on revision " + fmt.Sprint(w.pub.Revision)}
		if !w.dirty {
			rec.Lines = []string{"  published as revision " + fmt.Sprint(w.pub.Revision)}
		}
		out = append(out, rec)
	}
	return out
}

// pushBatch sends the accounts in one request, holding their locks, and records
// what was taken. An error means that nothing is known of the batch.
func (s *session) pushBatch(ctx context.Context, r *root, batch []*account) ([]*receipt, error) {
	unlock, err := s.lockAll(ctx, r, batch)
	if err != nil {
		return nil, err
	}
	defer unlock()
	works := make([]*work, len(batch))
	items := make([]api.Item, len(batch))
	for i, ac := range batch {
		ac, err := r.reload(ac)
		if err != nil {
			return nil, err
		}
		w, err := r.work(ac)
		if err != nil {
			return nil, err
		}
		w.next = w.cur
		works[i], items[i] = w, api.Item{JWT: w.next.Token, Base: w.pub.ID, Drop: dropsOf(w.next)}
	}
	if s.flags.dryRun {
		return dryPush(works), nil
	}
	results, err := s.putAll(ctx, r, items, works[0].next.Issuer)
	if err != nil {
		return nil, err
	}
	recs := make([]*receipt, len(works))
	err = s.store.Update(ctx, r.Name(), func(tx *nscstore.Tx) error {
		for i, w := range works {
			recs[i] = pushReceipt(w, results[i])
			if recs[i].err != nil {
				continue
			}
			if err := tx.SetPublished(w.key, nscstore.Publication{ID: w.next.ID, Revision: recs[i].Revision}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "the accounts were published, and recording it failed: %w", err).
			WithHint("nsc push -A")
	}
	return recs, nil
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
