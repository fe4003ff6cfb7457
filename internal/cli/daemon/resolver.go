package daemon

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/accountd/accountd/enroll"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/server"
)

// resolverFlags are the flags of accountd resolver, which a file may hold too.
type resolverFlags struct {
	operator, systemAccount, systemCreds string
	signingKey, identity                 string
	servers, store                       string
	http, httpCert, httpKey              string
	insecureHTTP                         bool
	readyFile, logLevel, policy          string
	devices                              enroll.Options
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

-c names a YAML file of lines such as "system_creds: sys.creds": the flags' names,
with _ for -. A name that is unknown or comes twice and a value of another type
are refused. What is given on the command line goes first. The password of a
database comes from PGPASSWORD or a password file.

With --policy every change that would break what the file demands is refused
(rule policy); what is broken at the start is said in the log and by nsc status.
It is read again when the file changes, and at SIGHUP; one that cannot be read
leaves the old one, and nsc status says so.

With --signing-key accountd signs deletions itself; without one they wait for a
signature. SIGTERM or an interrupt ends it; the servers go on without it.

Exit codes: 2 the command line is wrong; 3 a file does not exist; 4 the servers
refuse the credentials; 6 the HTTP address is taken or the store cannot be
reached; 7 a file or the store is not the operator's, or is damaged.`,
		Example: `  accountd resolver --operator acme.jwt --system-creds sys.creds --servers nats://127.0.0.1:4222 --store bolt:./accountd.db
  accountd resolver --operator acme.jwt --system-creds sys.creds --servers nats://a:4222,nats://b:4222 --store postgres://accountd@db/accountd --signing-key accountd.nk
  accountd resolver -c resolver.yaml
  accountd resolver -c resolver.yaml --http off --ready-file /run/accountd.ready`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				if err := readConfig(env.absolute(file), cmd.Flags()); err != nil {
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
	cmd.Flags().StringVarP(&file, "config", "c", "", "YAML file with values of these flags")
	f.register(cmd.Flags())
	return cmd
}

func (f *resolverFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.operator, "operator", "", "file with the operator's JWT")
	fl.StringVar(&f.systemAccount, "system-account", "", "file with the system account's JWT, for the first start without a server that has it")
	fl.StringVar(&f.systemCreds, "system-creds", "", "credentials file of a user of the system account")
	fl.StringVar(&f.signingKey, "signing-key", "", "file with the seed of an operator's signing key for accountd itself, plain or sealed")
	fl.StringVar(&f.identity, "identity", "", "file with the identity that opens a sealed signing key, and the keys of fleets, which devices need to enrol")
	fl.StringVar(&f.servers, "servers", "", "nats:// URLs of the servers, separated by commas")
	fl.StringVar(&f.store, "store", "", "bolt:PATH or postgres://user@host/database")
	fl.StringVar(&f.http, "http", "127.0.0.1:9222", "address of the HTTP listener; off for none")
	fl.StringVar(&f.httpCert, "http-cert", "", "file with the certificate of the HTTP listener and those that it needs; read at the start")
	fl.StringVar(&f.httpKey, "http-key", "", "file with its key")
	fl.BoolVar(&f.insecureHTTP, "insecure-http", false, "allow HTTP without TLS beyond this machine")
	fl.StringVar(&f.policy, "policy", "", "YAML file of what no change may break, as of nsc verify -f")
	deviceFlags(fl, &f.devices)
	fl.StringVar(&f.readyFile, "ready-file", "", "file to write when the first server is served")
	fl.StringVar(&f.logLevel, "log-level", "warn", "what to log on stderr: debug, info, warn or error")
}

// options turns the flags into options.
func (f resolverFlags) options(env Env) (server.ResolverOptions, error) {
	for _, need := range []struct{ name, value string }{
		{"operator", f.operator}, {"system-creds", f.systemCreds}, {"servers", f.servers}, {"store", f.store},
	} {
		if need.value == "" {
			return server.ResolverOptions{}, fault.New(fault.Usage, "--%s is missing", need.name).
				WithHint("accountd resolver --operator FILE --system-creds FILE --servers URL --store bolt:PATH")
		}
	}
	devices := deviceOptions(env, f.devices)
	if err := devices.Check(); err != nil {
		return server.ResolverOptions{}, err
	}
	log, err := env.logger(f.logLevel)
	if err != nil {
		return server.ResolverOptions{}, err
	}
	return server.ResolverOptions{
		Operator: env.absolute(f.operator), SystemAccount: env.absolute(f.systemAccount), SystemCreds: env.absolute(f.systemCreds),
		SigningKey: env.absolute(f.signingKey), Identity: env.absolute(f.identity), Servers: f.servers, Store: env.storeSpec(f.store),
		HTTP: f.http, HTTPCert: env.absolute(f.httpCert), HTTPKey: env.absolute(f.httpKey), InsecureHTTP: f.insecureHTTP, ReadyFile: env.absolute(f.readyFile),
		Policy: env.absolute(f.policy), Reload: env.Reload, Devices: devices, Out: env.Stdout, Logger: log, Now: env.Now,
	}, nil
}
