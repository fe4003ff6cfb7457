package cli

import (
	"context"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/accounts"
)

// exportOptions are the flags of add export and edit export.
type exportOptions struct {
	account, subject string
	edit             accounts.ExportEdit
}

func newAddExport(a *app) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export --subject <subject>",
		Short: "Let other accounts import a subject of an account",
		Long: `Export a subject: a stream, which importers subscribe to, or a service, which they
send requests to. Everybody may import a public export; a private one asks for
an activation, which nsc generate activation makes.`,
		Example: `  nsc add export -a app --subject 'orders.>'
  nsc add export -a app --subject price.get --service --response-type Stream
  nsc add export -a app --subject 'audit.>' --private
  nsc add export -a app --subject 'billing.*.get' --service --account-token-position 2
  nsc add export -a app --subject price.get --service --latency price.latency --sampling 10 --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.subject == "" {
				return usage("the subject is missing").WithHint("name it with --subject")
			}
			return a.finish(a.addExport(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	exportFlags(cmd.Flags(), &o)
	return cmd
}

// exportFlags adds what add export and edit export have in common.
func exportFlags(f *pflag.FlagSet, o *exportOptions) {
	e := &o.edit
	f.StringVarP(&o.subject, "subject", "s", "", "subject of the export")
	textFlagP(f, &e.Name, "name", "n", "name of the export (default its subject)")
	switchFlagP(f, &e.Service, "service", "r", "export a service, not a stream")
	switchFlagP(f, &e.Private, "private", "p", "importers need an activation")
	textFlag(f, &e.Latency, "latency", "services: subject that measurements of latency go to")
	f.Var(given[int]{&e.Sampling, "string", accounts.ParseSampling}, "sampling", "services: percentage of requests to measure, or header for those with a tracing header")
	f.Var(given[string]{&e.ResponseType, "string", accounts.ParseResponseType}, "response-type", "services: Singleton, Stream or Chunked responses (default Singleton)")
	f.Var(given[time.Duration]{&e.ResponseThreshold, "duration", accounts.ParseSpan}, "response-threshold", "services: how long a response may take, such as 5s")
	f.Var(given[uint]{&e.TokenPosition, "uint", parsePosition}, "account-token-position", "public exports: token of the subject, from 1, that must be the importer's key")
	switchFlag(f, &e.AllowTrace, "allow-trace", "services: traces go on in this account")
	switchFlag(f, &e.Advertise, "advertise", "advertise the export")
	hide(f, "advertise")
}

func parsePosition(s string) (uint, error) {
	n, err := parseCount(s)
	if err != nil || n < 0 {
		return 0, usage("expected the number of a token, from 1; 0 is none")
	}
	return uint(n), nil
}

func (a *app) addExport(ctx context.Context, o exportOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	rec, err := s.share(ctx, r, ac, "export "+o.subject, change{edit: func(c *jwt.AccountClaims) error { return o.edit.Add(c, o.subject) }})
	if rec != nil {
		rec.Undo = "nsc delete export -a " + shellWords([]string{ac.name}) + " -s " + shellWords([]string{o.subject})
	}
	return rec, err
}
