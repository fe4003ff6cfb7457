package cli

import (
	"context"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/fault"
)

// addImportOptions are the flags of add import.
type addImportOptions struct {
	account, token, from string
	all                  bool
	add                  accounts.NewImport
}

func newAddImport(a *app) *cobra.Command {
	var o addImportOptions
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Import what another account exports",
		Long: `Import a stream or a service: a public one by its account and subject, a private
one by an activation that its account made. --local-subject renames it here; $1 in
it is what the first wildcard matches. --all imports everything that an account
exports to all, streams and services, below its namespace, so that what two accounts
call the same stays apart here; repeated, it takes up what has changed. Renaming or
deleting the account moves or removes these imports.`,
		Example: `  nsc add import -a shop --src-account app --remote-subject 'orders.*' --local-subject 'app.orders.$1'
  nsc add import -a shop --src-account app --remote-subject price.get --service
  nsc add import -a shop --src-account app --all
  nsc add import -a shop --token orders.jwt
  nsc add import -a shop --token - --local-subject 'audit.>' --dry-run`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd.Flags().Changed("service")); err != nil {
				return err
			}
			if o.all {
				return a.finish(a.importAll(cmd.Context(), o))
			}
			return a.finish(a.addImport(cmd.Context(), o))
		},
	}
	accountFlag(cmd, &o.account)
	f := cmd.Flags()
	f.StringVarP(&o.token, "token", "u", "", "file with the activation of a private export, - for stdin")
	f.StringVarP(&o.add.Name, "name", "n", "", "name of the import (default the subject or the activation's name)")
	f.StringVar(&o.from, "src-account", "", "name or public key of the account that exports it")
	f.StringVar(&o.add.Subject, "remote-subject", "", "subject that it exports")
	f.StringVarP(&o.add.Local, "local-subject", "s", "", "subject here (default the same)")
	f.BoolVar(&o.all, "all", false, "import all that it exports, below its namespace")
	f.BoolVar(&o.add.Service, "service", false, "import a service, not a stream")
	f.BoolVar(&o.add.Share, "share", false, "services: let the exporter see who asked, in measurements of latency")
	f.BoolVar(&o.add.AllowTrace, "allow-trace", false, "streams: traces go on in this account")
	return cmd
}

func (o addImportOptions) check(service bool) error {
	switch {
	case o.all && (o.from == "" || o.token != "" || service || o.add != (accounts.NewImport{})):
		return usage("--all goes with --src-account alone")
	case o.all:
		return nil
	case o.token != "" && (o.from != "" || o.add.Subject != "" || service):
		return usage("an activation says account, subject and type by itself").WithHint("leave out --src-account, --remote-subject and --service")
	case o.token == "" && (o.from == "" || o.add.Subject == ""):
		return usage("what to import is missing").WithHint("name it with --src-account and --remote-subject, or with --token <file>")
	}
	return nil
}

func (a *app) addImport(ctx context.Context, o addImportOptions) (*receipt, error) {
	s, r, ac, err := a.open(ctx, o.account)
	if err != nil {
		return nil, err
	}
	if o.token != "" {
		o.add.Activation, err = a.readToken(o.token)
	} else {
		o.add.Account, err = r.accountKey(o.from)
	}
	if err != nil {
		return nil, err
	}
	known := r.book()
	subject, exporter := o.add.Subject, o.add.Account
	if act, err := jwt.DecodeActivationClaims(o.add.Activation); err == nil { // else Add says what is wrong
		subject, exporter = string(act.ImportSubject), first(act.IssuerAccount, act.Issuer)
	}
	var missed []string
	rec, err := s.share(ctx, r, ac, "import "+subject, change{edit: func(c *jwt.AccountClaims) error {
		err := o.add.Add(c, known.lookup, s.now)
		if err == nil && o.token != "" {
			missed = termWarnings(c, c.Imports[len(c.Imports)-1], s.now)
		}
		return err
	}})
	if rec == nil {
		return nil, err
	}
	rec.Warnings = append(rec.Warnings, missed...)
	foreign, ferr := r.foreignSpace(ac, exporter, first(o.add.Local, subject))
	rec.Warnings = append(rec.Warnings, foreign...)
	return rec, firstErr(err, ferr)
}

// readToken reads the JWT in a file, decorated or bare.
func (a *app) readToken(name string) (string, error) {
	data, err := a.readJWT(name)
	if err != nil {
		return "", err
	}
	token, err := jwt.ParseDecoratedJWT(data)
	if err != nil {
		return "", fault.New(fault.Invalid, "%s holds no JWT", name).About("file", name)
	}
	return strings.TrimSpace(token), nil
}
