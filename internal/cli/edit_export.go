package cli

import (
	"context"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
)

func newEditExport(a *app) *cobra.Command {
	var o exportOptions
	var noLatency bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Change an export of an account",
		Long: `Change an export, which --subject names unless it is the only one. Flags that are
not given leave what they name as it is, and revoked activations stay revoked.
Where an account exports a subject as a stream and as a service, --service and
--service=false say which; else they change the type.`,
		Example: `  nsc edit export -a app --subject 'orders.>' --private
  nsc edit export -a app --subject price.get --response-type Chunked --response-threshold 5s
  nsc edit export -a shop --description 'prices, every second'
  nsc edit export -a app --subject price.get --rm-latency-sampling --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := nothingGiven(cmd, "account", "subject"); err != nil {
				return err
			}
			if noLatency {
				if o.edit.Latency != nil || o.edit.Sampling != nil {
					return usage("measuring latency is both set and removed")
				}
				o.edit.Latency = new(string)
			}
			return a.finish(a.editExport(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	exportFlags(f, &o)
	f.BoolVar(&noLatency, "rm-latency-sampling", false, "services: measure latency no more")
	textFlag(f, &o.edit.Description, "description", "what the export is for")
	textFlag(f, &o.edit.InfoURL, "info-url", "where to read more about the export")
	return cmd
}

func (a *app) editExport(ctx context.Context, o exportOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	at := accounts.ExportRef{Subject: o.subject}
	if at.Subject == "" {
		ex, err := at.Find(ac.claims)
		if err != nil {
			return nil, err
		}
		at.Subject = string(ex.Subject)
	}
	return s.share(ctx, r, ac, "export "+at.Subject, change{edit: func(c *jwt.AccountClaims) error {
		return nearExport(o.edit.Apply(c, at), c, at.Subject)
	}})
}
