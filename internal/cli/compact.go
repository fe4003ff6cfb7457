package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/revocation"
)

func newCompact(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "compact [account]",
		Short: "Take out of an account what is of no use any more",
		Long: `Retire keys of fleets whose time has come: of stations, and of cohorts that have
newer ones. In an account with --fleet-only, refuse what was issued longer ago than
credentials may live, and take out the revocations that this covers. Where accountd
has a signing key of its own, it does the same by itself when it is due; where it
has none, it is listed by "nsc proposals list" and signed by "nsc sign proposals".`,
		Example: `  nsc compact iot
  nsc compact iot --dry-run
  nsc compact --account iot --json`,
		Args: args(0, 1, "the account"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if name, err = optionalName(name, given, "the account's name"); err != nil {
				return err
			}
			return a.finish(a.compact(cmd.Context(), name))
		},
	}
	accountFlag(cmd, &name)
	return cmd
}

func (a *app) compact(ctx context.Context, name string) (*receipt, error) {
	s, r, ac, err := a.open(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.compact(ctx, r, ac)
}

// compact takes out of an account what is of no use any more.
func (s *session) compact(ctx context.Context, r *root, ac *account) (*receipt, error) {
	if err := s.allShortLived(r, ac); err != nil {
		return nil, err
	}
	var done fleet.Compacted
	rec, err := s.editAccount(ctx, r, ac, change{edit: func(c *jwt.AccountClaims) error {
		if done = fleet.Compact(c, s.started, r.trust.Strict); done.Empty() {
			return errUnchanged
		}
		return nil
	}})
	if rec == nil {
		return nil, err
	}
	rec.Title = "account " + ac.name + "  " + keys.Short(ac.key)
	if rec.Outcome == outcomeSame {
		rec.Title += "  nothing to take out"
		return rec, err
	}
	if rec.Revision > 0 {
		rec.Title += "  " + revision(rec.Revision)
	}
	for _, k := range done.Keys {
		rec.Cuts = true
		rec.Lines = append(rec.Lines, fmt.Sprintf("signing key %s of role %q %s", keys.Short(k.Public), k.Role, retirement(rec)))
	}
	if done.Horizon > 0 {
		rec.Lines = append(rec.Lines, "refused is what was issued until "+clock(done.Horizon)+", and so lives longer than it may")
	}
	if done.Entries > 0 {
		rec.Lines = append(rec.Lines, fmt.Sprintf("%s of credentials that have expired or whose keys are retired taken out", count(done.Entries, "revocation")))
	}
	return rec, err
}

// allShortLived refuses to move the horizon over users of the local store that
// may live longer.
func (s *session) allShortLived(r *root, ac *account) error {
	if _, only := fleet.Only(ac.claims); !only {
		return nil
	}
	var long []string
	err := r.eachUser(ac.name, func(name string, doc *claims.Document) error {
		if fleet.CheckUser(ac.claims, name, doc.IssuedAt, doc.Expires) != nil {
			long = append(long, name)
		}
		return nil
	})
	if err != nil || len(long) == 0 {
		return err
	}
	return fault.New(fault.Conflict, "account %q is for short-lived users, and has others: %s", ac.name, strings.Join(long, ", ")).
		About("account", ac.name).ByRule("fleet-only").
		WithHint("issue them anew with an end: nsc edit user %s", shellWords([]string{long[0], "-a", ac.name, "--expiry", "1d"}))
}

// dropsOf names the revocations that a version may lack.
func dropsOf(doc *claims.Document) []revocation.Drop {
	ac, err := claims.As[jwt.AccountClaims](doc)
	if err != nil {
		return nil
	}
	return fleet.Drops(ac)
}
