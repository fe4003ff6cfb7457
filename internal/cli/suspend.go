package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

func newSuspend(a *app) *cobra.Command {
	cmd := group("suspend", "Let nobody connect to an account, and keep its data")
	cmd.AddCommand(&cobra.Command{
		Use:   "account [name]",
		Short: "Cut the connections of an account and refuse new ones",
		Long: `Cut all connections of an account, the current one if none is named, and refuse
new ones, until it is resumed. Its streams and what they hold stay, and so do its
exports and imports: what others send to subjects that it stores is stored.`,
		Example: `  nsc suspend account app
  nsc suspend account app --dry-run
  nsc suspend account app --json`,
		Args: args(0, 1, "the account's name"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.finish(a.suspendAccount(cmd.Context(), given))
		},
	})
	return cmd
}

func newResume(a *app) *cobra.Command {
	cmd := group("resume", "Let the users of a suspended account connect again")
	cmd.AddCommand(&cobra.Command{
		Use:   "account [name]",
		Short: "Let the users of a suspended account connect again",
		Long: `Take the suspension of an account back: it has the limits of connections that it
had, and its credentials are valid as before.`,
		Example: `  nsc resume account app
  nsc resume account app --dry-run
  nsc resume account app --json`,
		Args: args(0, 1, "the account's name"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return a.finish(a.resumeAccount(cmd.Context(), given))
		},
	})
	return cmd
}

func (a *app) suspendAccount(ctx context.Context, given []string) (*receipt, error) {
	s, r, ac, err := a.openNamed(ctx, given)
	if err != nil {
		return nil, err
	}
	if r.sysOf(ac) {
		return nil, fault.New(fault.Denied, "%s is the system account, and nobody could resume it", ac.name).About("account", ac.name).ByRule("system account")
	}
	rec, err := s.toggle(ctx, r, ac, "suspended", func(c *jwt.AccountClaims) (bool, error) { return accounts.Suspend(c), nil })
	if rec != nil && rec.Outcome == outcomeDry {
		at, serr := s.stakeOf(ctx, r, ac)
		rec.Lines, err = append(rec.Lines, at.lines()...), firstErr(err, serr)
	}
	if rec != nil && rec.Outcome != outcomeSame {
		rec.Cuts, rec.Proved = true, "refused everywhere, "+sweepText(rec.Nodes)
		rec.Undo = "nsc resume account " + shellWords([]string{ac.name})
	}
	return rec, err
}

func (a *app) resumeAccount(ctx context.Context, given []string) (*receipt, error) {
	s, r, ac, err := a.openNamed(ctx, given)
	if err != nil {
		return nil, err
	}
	return s.toggle(ctx, r, ac, "resumed", accounts.Resume)
}

func (a *app) openNamed(ctx context.Context, given []string) (*session, *root, *account, error) {
	name, err := optionalName("", given, "the account's name")
	if err != nil {
		return nil, nil, nil, err
	}
	return a.open(ctx, name)
}

// toggle changes an account that flip leaves alone if it is as wanted.
func (s *session) toggle(ctx context.Context, r *root, ac *account, done string, flip func(*jwt.AccountClaims) (bool, error)) (*receipt, error) {
	var e edited
	rec, err := s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
		return apply(&e, c, func(c *jwt.AccountClaims) error {
			_, err := flip(c)
			return err
		})
	}})
	if rec == nil {
		return nil, err
	}
	s.describe(&e, rec, done+" account "+ac.name+"  "+keys.Short(ac.key))
	return rec, err
}
