package cli

import (
	"context"

	"github.com/spf13/cobra"
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
	s, r, err := a.operator(ctx)
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

// selected returns the accounts that flags name, in the order in which they are
// named, those of --all by name.
func (s *session) selected(r *root, o pushOptions) ([]*account, error) {
	if o.all {
		names, err := r.Accounts()
		if err != nil {
			return nil, err
		}
		return r.loadAll(names)
	}
	var out []*account
	seen := map[string]bool{}
	names := o.accounts
	if len(names) == 0 {
		names = []string{""}
	}
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

// exportersFirst orders accounts so that an account follows those that it
// imports from, as far as there is no cycle, else by key: neighbours share the
// files of the store that are locked and written for them.
func exportersFirst(accounts []*account) []*account {
	byKey := map[string]*account{}
	for _, ac := range accounts {
		byKey[ac.key] = ac
	}
	out := make([]*account, 0, len(byKey))
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
	for _, key := range sortedNames(byKey) {
		visit(byKey[key])
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
