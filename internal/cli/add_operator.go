package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
)

// operatorOptions are the flags of add operator.
type operatorOptions struct {
	name, from             string
	signingKey, sys, force bool
	starts, expires        *int64 // Unix seconds, nil for always and never
}

func newAddOperator(a *app) *cobra.Command {
	var o operatorOptions
	cmd := &cobra.Command{
		Use:   "operator <name>",
		Short: "Add an operator, the root of trust",
		Long: `Add an operator with a new root key, kept in the keystore. With --sys it gets a
system account SYS and its user sys, which servers and accountd need; with
--generate-signing-key a key of its own signs accounts, so that the root key can
be taken offline.

With --url the operator is one of somebody else: its JWT is taken from a file, a
URL, or by a well-known name, whose URL is in NSC_<NAME>_OPERATOR. Its accounts
are signed by their own keys then, and by the operator when they are published.`,
		Example: `  nsc add operator acme --sys --generate-signing-key
  nsc add operator acme --dry-run
  nsc add operator acme -K ./root.nk
  nsc add operator --url ./acme.jwt
  nsc add operator --url https://accounts.acme.example/jwt/v1/operator`,
		Args: args(0, 1, "the operator's name"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if o.from != "" {
				if o.name, err = optionalName(o.name, given, "the operator's name"); err != nil {
					return err
				}
				return a.finish(a.importOperator(cmd.Context(), o))
			}
			if o.name, err = newNameOf(o.name, given, "the operator's name"); err != nil {
				return err
			}
			return a.finish(a.addOperator(cmd.Context(), o))
		},
	}
	nameFlag(cmd, &o.name, "operator name")
	f := cmd.Flags()
	f.StringVarP(&o.from, "url", "u", "", "import an operator's JWT: a file, a URL or a well-known name")
	f.BoolVar(&o.signingKey, "generate-signing-key", false, "also make a signing key")
	f.BoolVarP(&o.sys, "sys", "s", false, "also make a system account and its user")
	a.timeFlags(f, &o.starts, &o.expires)
	f.BoolVar(&o.force, "force", false, "with --url: replace an operator that exists")
	return cmd
}

func (a *app) addOperator(ctx context.Context, o operatorOptions) (*receipt, error) {
	s, err := a.session()
	if err != nil {
		return nil, err
	}
	if err := s.newOperatorName(o.name); err != nil {
		return nil, err
	}
	if s.flags.dryRun {
		oc := jwt.NewOperatorClaims("new key")
		oc.Name = o.name
		return dryNew("operator", o.name, oc)
	}
	b, err := s.newOperator(o)
	if err != nil {
		return nil, err
	}
	defer b.wipe()
	doc, err := b.sign()
	if err != nil {
		return nil, err
	}
	if err := s.store.Create(ctx, o.name, false, func(tx *nscstore.Tx) error { return b.stage(tx, doc) }); err != nil {
		return nil, err
	}
	rec := &receipt{Kind: "operator", Name: o.name, Key: doc.Subject, ID: doc.ID, Outcome: "created", Lines: b.lines()}
	account := ""
	if b.sys != nil {
		account = systemName
	}
	return rec, s.remember(ctx, o.name, account)
}

func (s *session) newOperatorName(name string) error {
	if err := nscstore.ValidateName("operator", name); err != nil {
		return err
	}
	names, err := s.store.Operators()
	if err != nil {
		return err
	}
	for _, n := range names {
		if n == name {
			return fault.New(fault.Conflict, "operator %q exists already", name).About("operator", name).ByRule("operator-exists").
				WithHint("make it the current one with: nsc select operator %s", name)
		}
	}
	return nil
}
