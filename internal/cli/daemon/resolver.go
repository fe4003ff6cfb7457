package daemon

import (
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/server"
)

// resolverFlags are the flags of accountd resolver, which a file may hold too.
type resolverFlags struct {
	Operator      string `json:"operator"`
	SystemAccount string `json:"system_account"`
	SystemCreds   string `json:"system_creds"`
	SigningKey    string `json:"signing_key"`
	Identity      string `json:"identity"`
	Servers       string `json:"servers"`
	Store         string `json:"store"`
	HTTP          string `json:"http"`
	InsecureHTTP  bool   `json:"insecure_http"`
	ReadyFile     string `json:"ready_file"`
	LogLevel      string `json:"log_level"`
}

func newResolver(env Env) *cobra.Command {
	var f resolverFlags
	var file string
	cmd := &cobra.Command{
		Use:   "resolver",
		Short: "Run the service alone, for a cluster of stock nats-servers",
		Long: `accountd resolver holds the claims of an operator and brings them into force on
stock nats-servers, which it finds over a connection to the system account. It
proves what each server holds and enforces, and undoes what is sent to the
servers past it.

Servers with resolver: full or cache get pushes. Servers with resolver: URL(...)
are served at http://ADDRESS/jwt/v1/accounts/ and told of changes. Servers with
resolver: MEMORY are named, not served. Give every server a name: it is expected
from the first time on, and what it misses while it is away it gets when it
returns. Full servers need allow_delete: true for deletions.

--config names a JSON file with the flags' names, with _ for -, as fields; what
is given on the command line goes first. The password of a database comes from
PGPASSWORD or a password file.

With --signing-key accountd signs deletions itself; without one they wait for a
signature. SIGTERM or an interrupt ends it; the servers go on without it.

Exit codes: 2 the command line is wrong; 3 a file does not exist; 4 the servers
refuse the credentials; 6 the HTTP address is taken or the store cannot be
reached; 7 a file or the store is not the operator's, or is damaged.`,
		Example: `  accountd resolver --operator acme.jwt --system-creds sys.creds --servers nats://127.0.0.1:4222 --store bolt:./accountd.db
  accountd resolver --operator acme.jwt --system-creds sys.creds --servers nats://a:4222,nats://b:4222 --store postgres://accountd@db/accountd --signing-key accountd.nk
  accountd resolver --config resolver.json
  accountd resolver --config resolver.json --http off --ready-file /run/accountd.ready`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				if err := f.read(env.absolute(file), cmd.Flags().Changed); err != nil {
					return err
				}
			}
			opts, err := f.options(env)
			if err != nil {
				return err
			}
			return server.Resolver(cmd.Context(), opts)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&file, "config", "", "JSON file with values of these flags")
	fl.StringVar(&f.Operator, "operator", "", "file with the operator's JWT")
	fl.StringVar(&f.SystemAccount, "system-account", "", "file with the system account's JWT, for the first start without a server that has it")
	fl.StringVar(&f.SystemCreds, "system-creds", "", "credentials file of a user of the system account")
	fl.StringVar(&f.SigningKey, "signing-key", "", "file with the seed of an operator's signing key for accountd itself, plain or sealed")
	fl.StringVar(&f.Identity, "identity", "", "file with the identity that opens a sealed signing key")
	fl.StringVar(&f.Servers, "servers", "", "nats:// URLs of the servers, separated by commas")
	fl.StringVar(&f.Store, "store", "", "bolt:PATH or postgres://user@host/database")
	fl.StringVar(&f.HTTP, "http", "127.0.0.1:9222", "address of the HTTP listener; off for none")
	fl.BoolVar(&f.InsecureHTTP, "insecure-http", false, "allow HTTP without TLS beyond this machine")
	fl.StringVar(&f.ReadyFile, "ready-file", "", "file to write when the first server is served")
	fl.StringVar(&f.LogLevel, "log-level", "warn", "what to log on stderr: debug, info, warn or error")
	return cmd
}

// options turns the flags into options.
func (f resolverFlags) options(env Env) (server.ResolverOptions, error) {
	for _, need := range []struct{ name, value string }{
		{"operator", f.Operator}, {"system-creds", f.SystemCreds}, {"servers", f.Servers}, {"store", f.Store},
	} {
		if need.value == "" {
			return server.ResolverOptions{}, fault.New(fault.Usage, "--%s is missing", need.name).
				WithHint("accountd resolver --operator FILE --system-creds FILE --servers URL --store bolt:PATH")
		}
	}
	log, err := env.logger(f.LogLevel)
	if err != nil {
		return server.ResolverOptions{}, err
	}
	return server.ResolverOptions{
		Operator: env.absolute(f.Operator), SystemAccount: env.absolute(f.SystemAccount), SystemCreds: env.absolute(f.SystemCreds),
		SigningKey: env.absolute(f.SigningKey), Identity: env.absolute(f.Identity), Servers: f.Servers, Store: env.storeSpec(f.Store),
		HTTP: f.HTTP, InsecureHTTP: f.InsecureHTTP, ReadyFile: env.absolute(f.ReadyFile),
		Out: env.Stdout, Logger: log, Now: env.Now,
	}, nil
}
