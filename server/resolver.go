package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/enroll"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/resolver/stock"
)

// ResolverOptions say how to run the resolver service alone, for a cluster of
// stock servers. Operator, SystemCreds, Servers and Store are required. Files
// are named by absolute paths.
type ResolverOptions struct {
	Operator      string           // file with the operator's JWT
	SystemAccount string           // file with the system account's JWT, for an empty store; "" asks the servers for it
	SystemCreds   string           // credentials file of a user of the system account
	SigningKey    string           // file with the seed of a signing key delegated to accountd, plain or sealed; "" for offline custody
	Identity      string           // file with the identity that opens a sealed SigningKey
	Servers       string           // nats:// URLs of the cluster, separated by commas
	Store         string           // bolt:PATH or postgres://…
	HTTP          string           // address of the HTTP listener, "off" for none
	HTTPCert      string           // file with the certificate of the HTTP listener and those that it needs, "" for none
	HTTPKey       string           // file with its key
	InsecureHTTP  bool             // allow HTTP without TLS beyond this machine
	Policy        string           // file of what no change of an account may break, "" for none
	Reload        <-chan os.Signal // asks for the policy to be read again; nil for never
	Devices       enroll.Options
	ReadyFile     string // written when a server is served, removed at the end

	Out    io.Writer        // what is being served
	Logger *slog.Logger     // discards if nil
	Now    func() time.Time // time.Now if nil
}

func (o ResolverOptions) withDefaults() ResolverOptions {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// alone is one run of accountd resolver.
type alone struct {
	opts  ResolverOptions
	log   *slog.Logger
	began time.Time

	credentials resolverKeys
	store       shared
	service     *resolver.Service
	enroll      *enroll.Service // nil without a key of the operator and an identity
	metrics     *metrics
	web         net.Listener // nil without HTTP
	secure      *tls.Config  // of web, nil without TLS
	probes      stock.Probes
	policy      *policyFile
	nc          atomic.Pointer[nats.Conn]
	ear         atomic.Pointer[nats.Conn]   // hears what nc answers, which nc does not
	fleet       atomic.Pointer[stock.Fleet] // nil while another process publishes
	ready       atomic.Bool
	shown       sync.Mutex // held to say what this process does
}

// Resolver runs the resolver service for a cluster of stock servers until ctx
// ends; then it returns nil. The servers go on without it.
//
// Errors before it is ready: fault.Usage for options that cannot be met,
// fault.Invalid for a file or store that is not the operator's, fault.Denied
// when the servers refuse the credentials, fault.Unavailable when a port is
// taken or the store cannot be reached. Servers that do not answer are waited
// for.
func Resolver(ctx context.Context, opts ResolverOptions) (err error) {
	a := &alone{opts: opts.withDefaults()}
	a.log, a.began = a.opts.Logger, a.opts.Now()
	if a.policy, err = openPolicy(a.opts.Policy, a.opts.Reload, a.log); err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			err = nil // asked to end before it was ready
		}
		err = errors.Join(err, a.close())
	}()
	if err := a.open(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, task := range []func(context.Context) error{a.serveHTTP, a.serveServers, a.keepPolicy} {
		g.Go(func() error { return task(ctx) })
	}
	return g.Wait()
}

func (a *alone) keepPolicy(ctx context.Context) error { return a.policy.watch(ctx, a.service) }

// open does everything that needs no server.
func (a *alone) open(ctx context.Context) (err error) {
	ready := readyFile(a.opts.ReadyFile)
	if err := ready.check(); err != nil {
		return err
	}
	if err := ready.remove(); err != nil { // of a run that was killed
		return err
	}
	if a.credentials, err = loadResolverKeys(a.opts); err != nil {
		return err
	}
	if a.secure, err = secureHTTP(a.opts); err != nil {
		return err
	}
	if a.web, err = listenResolver(a.opts); err != nil {
		return err
	}
	if a.store, err = openStore(ctx, a.opts.Store, false, false); err != nil {
		return err
	}
	a.metrics = newMetrics(a.nodes, headOf(a.store))
	if a.service, err = a.newService(ctx); err != nil {
		return err
	}
	if a.opts.SystemAccount == "" {
		return nil
	}
	sys, err := readToken(a.opts.SystemAccount)
	if err != nil {
		return err
	}
	return a.service.Bootstrap(ctx, a.credentials.operator.Token, sys)
}

func (a *alone) newService(ctx context.Context) (*resolver.Service, error) {
	id, err := serviceIdentity(ctx, a.store)
	if err != nil {
		return nil, err
	}
	k := a.credentials
	cfg := resolver.Config{
		Store: a.store, Nodes: a.nodes, Server: id,
		Self:   resolver.Self{User: k.user.Subject, Issuer: k.user.Issuer, IssuedAt: k.user.IssuedAt},
		Policy: a.policy.first, Now: a.opts.Now, Logger: a.log,
		Forget:  func(ctx context.Context, name string) error { return forgetServer(ctx, a.fleet.Load(), name) },
		Peer:    a.peer,
		Unaware: func() bool { return true },
		Known:   stock.Known,
		Streams: func(ctx context.Context, account string) (api.JetStreamUse, error) {
			if f := a.fleet.Load(); f != nil {
				return f.JetStream(ctx, account)
			}
			return api.JetStreamUse{}, fault.New(fault.Unavailable, "this accountd does not publish to the servers")
		},
		Notify: func(ctx context.Context, account string) error { return notifyServers(ctx, a.fleet.Load(), account) },
	}
	if k.delegated != nil {
		cfg.Delegated, cfg.Signer = k.delegated.PublicKey(), *k.delegated
	}
	if k.delegated != nil && k.identity != "" {
		if a.enroll, err = a.metrics.enrolling(enroll.Config{Store: a.store, Identity: k.identity, Now: a.opts.Now, Logger: a.log, Options: a.opts.Devices}); err != nil {
			return nil, err
		}
		cfg.Keyring = a.enroll.Keyring()
	}
	return a.metrics.measured(cfg)
}

// nodes returns the expected servers.
func (a *alone) nodes() []resolver.Node { return fleetNodes(a.fleet.Load()) }

// fleetNodes returns the expected servers of a fleet, none before it runs.
func fleetNodes(f *stock.Fleet) []resolver.Node {
	if f == nil {
		return nil
	}
	servers := f.Servers()
	out := make([]resolver.Node, len(servers))
	for i, s := range servers {
		out[i] = s
	}
	return out
}

// serveServers connects to the cluster, and serves it until ctx ends. What the
// store answers is answered all the while; one process on a store publishes.
func (a *alone) serveServers(ctx context.Context) (err error) {
	nc, err := a.connect(ctx)
	if err != nil {
		return err
	}
	a.nc.Store(nc)
	if err := a.bootstrap(ctx); err != nil {
		return err
	}
	if err := warn(ctx, a.service, a.log); err != nil {
		return err
	}
	stop, err := a.service.ServeNATS(nc, "accountd", resolver.Claims)
	if err != nil {
		return err
	}
	defer stop()
	if a.enroll != nil {
		endDevices, err := a.enroll.ServeNATS(nc)
		if err != nil {
			return err
		}
		defer endDevices()
	}
	ear, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer ear.Close()
	a.ear.Store(ear)
	if err := countUndone(a.metrics, a.fleet.Load); err != nil {
		return err
	}
	waiting := time.AfterFunc(standbyAfter, func() { a.standBy(ctx) })
	defer waiting.Stop()
	return a.store.Hold(ctx, "publisher", a.publish)
}

// publish brings the claims to the servers until ctx ends.
func (a *alone) publish(ctx context.Context) error {
	nc := a.nc.Load()
	cfg := stock.Config{
		Source: a.store, Conn: nc, Probes: &a.probes, Now: a.opts.Now, Logger: a.log,
		Admit: func(ctx context.Context, token string) error {
			_, err := a.service.Push(ctx, "push", token)
			return err
		},
	}
	if a.credentials.delegated != nil {
		cfg.Signer, cfg.Renew = a.credentials.delegated, a.service.Renew
	}
	fleet, err := stock.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer fleet.Close()
	a.fleet.Store(fleet)
	defer a.fleet.Store(nil)
	stop, err := a.service.ServeNATS(nc, "accountd", resolver.Servers)
	if err != nil {
		return err
	}
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.becomeReady(ctx, fleet) })
	g.Go(func() error { return a.service.Upkeep(ctx) })
	if a.enroll != nil {
		g.Go(func() error { return a.enroll.Sweep(ctx) })
	}
	return g.Wait()
}

// close ends what serveServers and open began.
func (a *alone) close() error {
	a.ready.Store(false)
	var errs []error
	if nc := a.nc.Load(); nc != nil {
		nc.Close()
	}
	if a.web != nil {
		if err := a.web.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.store != nil {
		if err := a.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close store: %w", err))
		}
	}
	a.credentials.wipe()
	errs = append(errs, readyFile(a.opts.ReadyFile).remove())
	return errors.Join(errs...)
}

// secureHTTP reads the certificate of the HTTP listener, nil for none.
func secureHTTP(opts ResolverOptions) (*tls.Config, error) {
	if opts.HTTPCert == "" && opts.HTTPKey == "" {
		return nil, nil
	}
	if opts.HTTPCert == "" || opts.HTTPKey == "" {
		return nil, fault.New(fault.Usage, "--http-cert and --http-key go together").WithHint("accountd resolver --http-cert FILE --http-key FILE")
	}
	cert, err := readGiven(opts.HTTPCert)
	if err != nil {
		return nil, err
	}
	key, err := readGiven(opts.HTTPKey)
	if err != nil {
		return nil, err
	}
	defer nscstore.Wipe(key)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, unusableFile(opts.HTTPCert, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// listenResolver opens the HTTP listener, nil for none.
func listenResolver(opts ResolverOptions) (net.Listener, error) {
	if opts.HTTP == httpOff || opts.HTTP == "" {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(opts.HTTP)
	if err != nil {
		return nil, fault.New(fault.Usage, "--http %s: expected host:port, or off", opts.HTTP).WithHint("accountd resolver --http %s", defaultHTTP)
	}
	if !isLoopback(host) && opts.HTTPCert == "" && !opts.InsecureHTTP {
		return nil, fault.New(fault.Usage, "--http %s: beyond this machine HTTP needs TLS", opts.HTTP).ByRule("http-loopback").
			WithHint("give it a certificate with --http-cert and --http-key, or accept the risk with --insecure-http")
	}
	ln, err := net.Listen("tcp", opts.HTTP)
	if err != nil {
		return nil, listenFault(err, "HTTP address "+opts.HTTP, "choose another: accountd resolver --http 127.0.0.1:PORT, or --http off")
	}
	return ln, nil
}
