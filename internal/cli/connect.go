package cli

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/accountd/accountd/fault"
)

// tlsFlags say how connections to servers are secured. The files may also be
// named by NATS_CA, NATS_CERT and NATS_KEY, for every command.
type tlsFlags struct {
	handshakeFirst bool
	ca, cert, key  string
	curves         []string
}

// tlsFlags adds the flags of connections to cmd and what is below it.
func (a *app) tlsFlags(cmd *cobra.Command) {
	t, f := &a.flags.tls, cmd.PersistentFlags()
	f.BoolVar(&t.handshakeFirst, "tls-first", false, "begin with the TLS handshake, before the server says anything")
	f.BoolVar(&t.handshakeFirst, "tlsfirst", false, "as --tls-first")
	_ = f.MarkHidden("tlsfirst")
	f.StringVar(&t.ca, "ca-cert", "", "file with the certificates of authorities to trust (default $NATS_CA)")
	f.StringVar(&t.cert, "client-cert", "", "file with the client's certificate (default $NATS_CERT)")
	f.StringVar(&t.key, "client-key", "", "file with the key of the client's certificate (default $NATS_KEY)")
	f.StringSliceVar(&t.curves, "tls-curves", nil, "curves of the key exchange, in this order: P256, P384, P521, X25519")
}

// tlsConfig returns what the flags and the environment say, nil for nothing.
func (a *app) tlsConfig() (*tls.Config, error) {
	t := a.flags.tls
	ca, cert, key := first(t.ca, a.env.Getenv("NATS_CA")), first(t.cert, a.env.Getenv("NATS_CERT")), first(t.key, a.env.Getenv("NATS_KEY"))
	if ca == "" && cert == "" && key == "" && len(t.curves) == 0 {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(a.path(ca))
		if err != nil {
			return nil, tlsFault("--ca-cert", ca, err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.Invalid, "--ca-cert %s holds no certificate", ca).About("file", ca).ByRule("tls")
		}
	}
	if (cert == "") != (key == "") {
		return nil, usage("a client certificate and its key go together: --client-cert and --client-key")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(a.path(cert), a.path(key))
		if err != nil {
			return nil, tlsFault("--client-cert", cert, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	for _, name := range t.curves {
		curve, ok := map[string]tls.CurveID{"P256": tls.CurveP256, "P384": tls.CurveP384, "P521": tls.CurveP521, "X25519": tls.X25519}[strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(name)), "CURVE")]
		if !ok {
			return nil, usage("unknown curve %q; known are P256, P384, P521 and X25519", name)
		}
		cfg.CurvePreferences = append(cfg.CurvePreferences, curve)
	}
	return cfg, nil
}

func tlsFault(flag, file string, err error) error {
	return fault.New(fault.Invalid, "%s %s: %w", flag, file, err).About("file", file).ByRule("tls").
		WithHint("the files are in PEM form; a certificate and its key belong together")
}

// natsOptions are the options of every connection to a server. TLS is insisted
// on only where certificates were named; else the URL and the server decide.
func (a *app) natsOptions() ([]nats.Option, error) {
	cfg, err := a.tlsConfig()
	if err != nil {
		return nil, err
	}
	options := []nats.Option{nats.DontRandomize()}
	if cfg != nil {
		options = append(options, func(o *nats.Options) error {
			o.TLSConfig, o.Secure = cfg, cfg.RootCAs != nil || len(cfg.Certificates) > 0
			return nil
		})
	}
	if a.flags.tls.handshakeFirst {
		options = append(options, nats.TLSHandshakeFirst())
	}
	return options, nil
}

// aim is where push and pull go, if not where the operator says.
type aim struct {
	url, system string
}

func (o *aim) flags(cmd *cobra.Command, withURL bool) {
	f := cmd.Flags()
	if withURL {
		f.StringVarP(&o.url, "account-jwt-server-url", "u", "", "account server, or servers, in place of the operator's: nats, tls, ws, wss, http or https")
	}
	f.StringVar(&o.system, "system-account", "", "system account whose user carries the requests (default the operator's)")
}

// at makes r's claims, which are a copy, say what the flags do.
func (o aim) at(r *root) error {
	if o.url != "" {
		if !isNats(o.url) && !isHTTP(o.url) {
			return usage("%q is no URL of an account server", o.url).WithHint("such as nats://host:4222 or https://host/jwt/v1")
		}
		r.claims.AccountServerURL, r.claims.OperatorServiceURLs = o.url, nil
	}
	if o.system == "" {
		return nil
	}
	name, err := r.Account(o.system)
	if err != nil {
		return err
	}
	ac, err := r.load(name)
	if err != nil {
		return err
	}
	r.claims.SystemAccount = ac.key
	return nil
}
