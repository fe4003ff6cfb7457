package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/revocation"
)

// activationOptions are the flags of the revocations of activations.
type activationOptions struct {
	account, subject, target string
	service                  bool
	at                       int64 // Unix seconds, 0 for now
}

func (o activationOptions) export() accounts.ExportRef {
	return accounts.ExportRef{Subject: o.subject, Type: kindOf(&o.service)}
}

func (o *activationOptions) flags(cmd *cobra.Command, target bool) {
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.StringVarP(&o.subject, "subject", "s", "", "subject of the export, or within it (default the only export)")
	f.BoolVar(&o.service, "service", false, "an export of a service, not a stream")
	if target {
		f.StringVarP(&o.target, "target-account", "t", "", "account that imports, by name or public key, or '*' for all")
	}
}

func newRevocationsAddActivation(a *app) *cobra.Command {
	var o activationOptions
	cmd := &cobra.Command{
		Use: "add_activation", Aliases: []string{"add-activation"},
		Short: "Refuse the activations of an export that an account was given",
		Long: `Revoke what was issued until now to one account, or to all, for the import of a
private export. Their imports end at once; activations that are made later work.`,
		Example: `  nsc revocations add_activation -a app -s 'orders.>' -t shop
  nsc revocations add_activation -a app -s price.get --service -t '*'
  nsc revocations add_activation -a app -t shop --at 2026-01-31T10:00:00Z`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.finish(a.revokeActivations(cmd.Context(), o))
		},
	}
	o.flags(cmd, true)
	a.pastFlag(cmd.Flags(), &o.at, "at", "revoke what was issued until this time")
	return cmd
}

func newRevocationsDeleteActivation(a *app) *cobra.Command {
	var o activationOptions
	cmd := &cobra.Command{
		Use: "delete_activation", Aliases: []string{"delete-activation"},
		Short: "Accept revoked activations of an export again",
		Example: `  nsc revocations delete_activation -a app -s 'orders.>' -t shop
  nsc revocations delete_activation -a app -s price.get --service -t '*'
  nsc revocations delete_activation -a app -t shop --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.finish(a.unrevokeActivations(cmd.Context(), o))
		},
	}
	o.flags(cmd, true)
	return cmd
}

func newRevocationsListActivations(a *app) *cobra.Command {
	var o activationOptions
	cmd := &cobra.Command{
		Use: "list_activations", Aliases: []string{"list-activations"},
		Short: "List the revoked activations of an export",
		Example: `  nsc revocations list_activations -a app
  nsc revocations list_activations -a app -s price.get --service
  nsc revocations list_activations -a app -s 'orders.>' --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listRevokedActivations(cmd.Context(), o) },
	}
	o.flags(cmd, false)
	return cmd
}

// importer returns the key of the account whose activations are meant.
func (o activationOptions) importer(r *root) (string, error) {
	switch o.target {
	case "":
		return "", usage("the importing account is missing").WithHint("name it with --target-account, '*' for all")
	case revocation.All:
		return revocation.All, nil
	}
	return r.accountKey(o.target)
}

func (a *app) revokeActivations(ctx context.Context, o activationOptions) (*receipt, error) {
	if o.at > a.started.Unix()+maxAhead {
		return nil, usage("--at %s is in the future: what is issued until then would be refused, too", clock(o.at)).
			WithHint("leave --at out to refuse what was issued until now")
	}
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	importer, err := o.importer(r)
	if err != nil {
		return nil, err
	}
	if o.at == 0 {
		last, err := r.book().activated(ac.key, importer)
		if err != nil {
			return nil, err
		}
		o.at = max(s.now, last)
	}
	ex, err := o.export().Cover(ac.claims)
	if err != nil {
		return nil, nearExport(err, ac.claims, o.subject)
	}
	at := accounts.ExportRef{Subject: string(ex.Subject), Type: ex.Type}
	var stands int64 // a later revocation that is there stays
	rec, err := s.share(ctx, r, ac, "revocation of activations of the "+at.String(), change{edit: func(c *jwt.AccountClaims) (err error) {
		stands, err = accounts.RevokeActivations(c, at, importer, o.at)
		return err
	}})
	if rec != nil {
		rec.Lines = append(rec.Lines, "refused is what was issued to "+o.target+" until "+clock(stands))
		rec.Undo = "nsc revocations delete_activation -a " + shellWords([]string{ac.name, "-s", at.Subject, "-t", o.target})
		if o.service {
			rec.Undo += " --service"
		}
		if !ex.TokenReq {
			rec.Warnings = append(rec.Warnings, "the export is public: everybody may import it without an activation")
		}
	}
	return rec, err
}

// activated returns the latest time at which an activation of exporter was
// issued to importer, [revocation.All] for everybody, as far as imports of the
// local store show; 0 for none.
func (b *book) activated(exporter, importer string) (at int64, err error) {
	if importer == revocation.All {
		err = b.readNaming(exporter)
	} else {
		b.lookup(importer)
	}
	for _, ac := range b.known {
		if ac != nil {
			at = max(at, accounts.Activated(ac, exporter))
		}
	}
	return at, err
}

func (a *app) unrevokeActivations(ctx context.Context, o activationOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	importer, err := o.importer(r)
	if err != nil {
		return nil, err
	}
	ex, err := o.export().Cover(ac.claims)
	if err != nil {
		return nil, nearExport(err, ac.claims, o.subject)
	}
	at := accounts.ExportRef{Subject: string(ex.Subject), Type: ex.Type}
	return s.share(ctx, r, ac, "revocation of activations of the "+at.String(), change{
		edit:     func(c *jwt.AccountClaims) error { return accounts.UnrevokeActivations(c, at, importer) },
		unrevoke: []string{ex.Type.String() + " " + at.Subject + " " + importer},
	})
}

func (a *app) listRevokedActivations(ctx context.Context, o activationOptions) error {
	_, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return err
	}
	ex, err := o.export().Cover(ac.claims)
	if err != nil {
		return nearExport(err, ac.claims, o.subject)
	}
	list := revokedList{Account: ac.name, Key: ac.key, Export: string(ex.Subject), Type: ex.Type.String()}
	known := r.book()
	for _, e := range revocation.List(ex.Revocations).Added(nil) {
		list.Revoked = append(list.Revoked, revokedKey{Name: known.account(e.Key), Key: e.Key, At: e.At})
	}
	if len(list.Revoked) == 0 && !a.flags.json {
		return fault.New(fault.NotFound, "the %s export %s of account %q has no revoked activations", ex.Type, ex.Subject, ac.name).About("export", list.Export).
			WithHint("revoke one with: nsc revocations add_activation -a %s -s %s -t <account>", shellWords([]string{ac.name}), shellWords([]string{string(ex.Subject)}))
	}
	return a.printRevoked(list, "all importers")
}
