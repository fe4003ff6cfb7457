package cli

import (
	"context"
	"maps"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

func newUnrevoke(a *app) *cobra.Command {
	cmd := group("unrevoke", "Take revocations back")
	cmd.AddCommand(newUnrevokeUser(a), newUnrevokeDevice(a))
	return cmd
}

func newUnrevokeUser(a *app) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use:   "user <name>...",
		Short: "Accept the credentials of revoked users again",
		Long: `Take back the revocation of users, by name, public key, or '*' for the one of all
users. A user that the revocation of all users covers stays refused, so that is
an error; issue the user anew instead.`,
		Example: `  nsc unrevoke user device1 -a app
  nsc unrevoke user '*' -a app
  nsc unrevoke user device1 -a app --dry-run`,
		Args: args(1, 1000, "the user's name"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.finish(a.unrevokeUsers(cmd.Context(), account, given))
		},
	}
	accountFlag(cmd, &account)
	return cmd
}

func (a *app) unrevokeUsers(ctx context.Context, accountName string, users []string) (*receipt, error) {
	s, r, ac, err := a.open(ctx, accountName)
	if err != nil {
		return nil, err
	}
	targets, err := r.targets(ac, users)
	if err != nil {
		return nil, err
	}
	ch := change{edit: func(c *jwt.AccountClaims) error { return removeRevocations(c, ac.name, targets, s.started) }}
	for _, t := range targets {
		ch.unrevoke = append(ch.unrevoke, t.key)
	}
	rec, err := s.editAccount(ctx, r, ac, ch)
	if rec == nil {
		return nil, err
	}
	rec.did(ac, targets, "unrevoked", "would un-revoke", "took back, in the local store, the revocation of")
	rec.Undo = onTargets("nsc revoke user", ac, targets)
	return rec, err
}

// removeRevocations takes targets off the list. It refuses what would have no
// effect, since * refuses the user all the same.
func removeRevocations(c *jwt.AccountClaims, accountName string, targets []target, now time.Time) error {
	list := revocation.List(c.Revocations)
	found := false
	for _, t := range targets {
		at, has := list[t.key]
		all, hasAll := list[revocation.All]
		probe := t.iat
		if probe == 0 {
			probe = at
		}
		if t.key != revocation.All && hasAll && all >= probe {
			return fault.New(fault.Denied, "user %s stays refused: the revocation of all users (*) of %s covers it", t.word(), clock(all)).
				About("user", t.word()).ByRule("covered").
				WithHint("issue it anew with: nsc add user %s -a %s --reissue, or lift it for all with: nsc unrevoke user '*' -a %s",
					shellWords([]string{t.word()}), shellWords([]string{accountName}), shellWords([]string{accountName}))
		}
		found = found || has
	}
	if !found {
		return errUnchanged
	}
	before := maps.Clone(c.Revocations)
	for _, t := range targets {
		delete(c.Revocations, t.key)
	}
	// Where all users are short-lived, * goes back as far as it may.
	if all, had := before[revocation.All]; had {
		if horizon, only := fleet.Horizon(c, now); only && c.Revocations[revocation.All] == 0 {
			c.Revocations[revocation.All] = min(all, horizon)
		}
	}
	if maps.Equal(before, c.Revocations) {
		return errUnchanged
	}
	return nil
}
