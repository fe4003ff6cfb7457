package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/accountd/accountd/enroll"
	"github.com/accountd/accountd/fault"
)

// FreePorts as DevOptions.Port picks free ports at the first start, and again
// when a recorded one was taken meanwhile.
const FreePorts = -1

// DevOptions say how to run accountd dev. Dir is required; what is left out is
// as recorded by an earlier start, else the default.
type DevOptions struct {
	Dir  string // folder of everything, absolute
	Show string // how to name Dir to the person, Dir if empty

	Nodes int    // 1 to 10, default 3; fixed at the first start
	Port  int    // first client port, default 4222, or FreePorts
	Host  string // address of the nodes' listeners, default 127.0.0.1
	HTTP  string // address of the HTTP listener, default 127.0.0.1:9222, or "off"
	Store string // bolt:PATH, absolute, or postgres://…; default bolt:DIR/accountd.db, fixed at the first start
	// AccountServer is what the operator's account server URL is of: nats, the
	// default, or http.
	AccountServer string
	InsecureHTTP  bool             // allow HTTP without TLS beyond this machine
	Policy        string           // file of what no change of an account may break, absolute; "" for none
	Reload        <-chan os.Signal // asks for the policy to be read again; nil for never
	Devices       enroll.Options

	ReadyFile  string // written when everything is in force, removed at the end; absolute
	BinDir     string // folder of the programs, for PATH in DIR/env; "" leaves PATH alone
	RuntimeDir string // for the control socket when Dir is too long for one; "" for the system's temporary folder

	Out    io.Writer        // addresses and next steps
	Logger *slog.Logger     // discards if nil
	Now    func() time.Time // time.Now if nil
}

func (o DevOptions) withDefaults() (DevOptions, error) {
	if !filepath.IsAbs(o.Dir) {
		return o, fault.New(fault.Internal, "accountd dev needs an absolute folder")
	}
	if err := o.Devices.Check(); err != nil {
		return o, err
	}
	o.Dir = filepath.Clean(o.Dir)
	if o.Show == "" {
		o.Show = o.Dir
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Limits of the end: clients are sent away within drainTime, and what then
// still runs is cut.
const drainTime = 7 * time.Second

// Dev runs an operator, a cluster of bundled nodes and the service in one
// process, and makes what is missing, until ctx ends; then it drains and
// returns nil.
//
// Errors before it is ready: fault.Conflict when another process runs on Dir,
// fault.Invalid when Dir is not ours, a file in it is damaged or missing, or
// the clock is before the claims, fault.Denied when it cannot be written,
// fault.Unavailable when a port is taken, fault.Usage for options that cannot
// be met. Each says what would help.
func Dev(ctx context.Context, opts DevOptions) (err error) {
	opts, err = opts.withDefaults()
	if err != nil {
		return err
	}
	policy, err := openPolicy(opts.Policy, opts.Reload, opts.Logger)
	if err != nil {
		return err
	}
	d := &dev{opts: opts, log: opts.Logger, began: opts.Now(), policy: policy}
	defer func() {
		if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			err = nil // asked to end before it was ready
		}
		err = errors.Join(err, d.close())
	}()
	if err := d.open(ctx); err != nil {
		return err
	}
	if err := d.listenControl(); err != nil {
		return err
	}
	if err := d.startNodes(ctx); err != nil {
		return err
	}
	return d.run(ctx)
}

func (d *dev) keepPolicy(ctx context.Context) error { return d.policy.watch(ctx, d.service) }

// run does everything that lasts as long as the service, under one context:
// the first task that fails ends all.
func (d *dev) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, task := range []func(context.Context) error{d.serveHTTP, d.serveControl, d.serveBeside, d.becomeReady, d.service.Upkeep, d.enroll.Sweep, d.keepPolicy} {
		g.Go(func() error { return task(ctx) })
	}
	return g.Wait()
}
