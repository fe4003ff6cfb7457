package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// calloutOptions are the flags of edit authcallout.
type calloutOptions struct {
	account string
	named   accounts.CalloutEdit // with names for keys
	curve   []string
	noCurve bool
}

func newEditAuthCallout(a *app) *cobra.Command {
	var o calloutOptions
	cmd := &cobra.Command{
		Use:   "authcallout [account]",
		Short: "Let a service of an account decide who connects",
		Long: `Let users of an account, which are services, decide about everybody else who
connects to it: servers ask them, and they answer with the JWT of a user, in this
account or in those that --allowed-account names. Requests can be encrypted for a
curve key. Users and accounts are named by name or public key.`,
		Example: `  nsc edit authcallout app --auth-user decider
  nsc edit authcallout app --auth-user decider --allowed-account '*' --curve generate
  nsc edit authcallout app --rm-allowed-account '*' --allowed-account shop
  nsc edit authcallout app --disable --dry-run`,
		Args: args(0, 1, "the account's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.account, err = optionalName(o.account, given, "the account's name"); err != nil {
				return err
			}
			if err := nothingGiven(cmd, "account"); err != nil {
				return err
			}
			return a.finish(a.editCallout(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	listFlag(f, &o.named.AddUsers, "auth-user", "users that decide and connect without being asked about")
	listFlag(f, &o.named.RemoveUsers, "rm-auth-user", "remove such users")
	listFlag(f, &o.named.AddAccounts, "allowed-account", "accounts that they may let people into, '*' for every account")
	listFlag(f, &o.named.RemoveAccounts, "rm-allowed-account", "remove such accounts")
	f.VarP(list{to: []*[]string{&o.curve}}, "curve", "x", "encrypt requests for a curve key: generate, a public key, or a file with its seed")
	f.BoolVar(&o.noCurve, "rm-curve", false, "encrypt requests no more")
	f.BoolVar(&o.named.Disable, "disable", false, "ask nobody any more")
	return cmd
}

func (a *app) editCallout(ctx context.Context, o calloutOptions) (*receipt, error) {
	if len(o.curve) > 1 || len(o.curve) > 0 && o.noCurve {
		return nil, usage("one curve key at a time")
	}
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	e, err := s.calloutKeys(r, ac, o.named)
	if err != nil {
		return nil, err
	}
	fresh, err := s.curveKeys(o.curve)
	if err != nil {
		return nil, err
	}
	switch {
	case len(fresh) > 0:
		e.Curve = &fresh[0].public
	case o.noCurve:
		e.Curve = new(string)
	}
	named := func(key string) bool {
		stored, err := r.load(ac.name)
		return err == nil && stored.claims.Authorization.XKey == key
	}
	rec, err := s.withSeeds(ctx, fresh, named, func() (*receipt, error) {
		return s.share(ctx, r, ac, "authentication callout", change{edit: e.Apply})
	})
	if rec != nil {
		rec.Lines = append(rec.Lines, madeLines("curve key", fresh)...)
	}
	return rec, err
}

// calloutKeys puts keys for the names in e.
func (s *session) calloutKeys(r *root, ac *account, e accounts.CalloutEdit) (accounts.CalloutEdit, error) {
	user := func(v string) (string, error) {
		return s.memberKey(v, userKeys("--auth-user"), func() (string, error) {
			t, err := r.target(ac, v)
			return t.key, err
		})
	}
	account := func(v string) (string, error) {
		if v == jwt.AnyAccount {
			return v, nil
		}
		return s.memberKey(v, accountKeys("--allowed-account"), func() (string, error) { return r.accountKey(v) })
	}
	for _, x := range []struct {
		names *[]string
		key   func(string) (string, error)
	}{{&e.AddUsers, user}, {&e.RemoveUsers, user}, {&e.AddAccounts, account}, {&e.RemoveAccounts, account}} {
		var out []string
		for _, v := range *x.names {
			key, err := x.key(v)
			if err != nil {
				return e, err
			}
			out = append(out, key)
		}
		*x.names = out
	}
	return e, nil
}

// memberKey resolves a name, a public key, or a file with a seed.
func (s *session) memberKey(v string, flag keyFlag, byName func() (string, error)) (string, error) {
	key, err := s.givenPublicKey(v, flag)
	if err == nil || fault.Is(err, fault.Usage) {
		return key, err
	}
	return byName()
}

func (s *session) curveKeys(values []string) ([]newKey, error) {
	return s.newKeys(values, keyFlag{
		name: "--curve", kind: kindCurve,
		generate: func() (pair, error) { return keys.NewCurve() },
		valid: func(key string) error {
			_, err := keys.ParseCurve(key)
			return err
		},
		parse: func(seed []byte) (pair, error) { return keys.CurveFromSeed(seed) },
	})
}

func userKeys(flag string) keyFlag {
	return keyFlag{
		name: flag, kind: kindUser,
		generate: func() (pair, error) { return keys.NewUser() },
		valid: func(key string) error {
			_, err := keys.ParseUser(key)
			return err
		},
		parse: func(seed []byte) (pair, error) { return keys.UserFromSeed(seed) },
	}
}
