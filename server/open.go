package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/enroll"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/store"
)

// dev is one run of accountd dev.
type dev struct {
	opts  DevOptions
	log   *slog.Logger
	began time.Time

	policy *policyFile

	folder  *claimed
	state   state
	secrets secrets
	web     net.Listener // nil without HTTP
	control net.Listener
	servers *serverLog
	store   store.Store
	service *resolver.Service
	enroll  *enroll.Service
	members []*member
	beside  beside
	metrics *metrics
	ready   atomic.Bool
	founded bool // by this run
}

// open does everything up to the nodes. What it opened, close closes. What an
// earlier start left is looked at as a whole before anything is changed.
func (d *dev) open(ctx context.Context) (err error) {
	if d.folder, err = claim(ctx, d.opts.Dir); err != nil {
		return err
	}
	ready := readyFile(d.opts.ReadyFile) // it may be in the folder
	if err := ready.check(); err != nil {
		return err
	}
	if err := ready.remove(); err != nil { // of a run that was killed
		return err
	}
	if err := d.settle(ctx); err != nil {
		return err
	}
	if d.secrets, err = loadSecrets(d.folder.layout); err != nil {
		return err
	}
	if err := d.requireOperator(ctx); err != nil {
		return err
	}
	if err := d.openStore(ctx); err != nil {
		return err
	}
	if err := d.checkClock(ctx); err != nil {
		return err
	}
	if err := warn(ctx, d.service, d.log); err != nil {
		return err
	}
	if err := d.record(ctx); err != nil {
		return err
	}
	if d.servers, err = openServerLog(d.folder.log()); err != nil {
		return err
	}
	return d.writeEnv()
}

// settle decides the ports, and creates what a first start needs. Nothing is
// created before every port is known to be free.
func (d *dev) settle(ctx context.Context) error {
	l := d.folder.layout
	if exists(l.complete()) {
		if err := adopt(l); err != nil {
			return err
		}
	}
	st, err := l.loadState()
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return err
	}
	if fresh && slices.ContainsFunc([]string{l.nsc(), l.store(), l.own(), l.nodes()}, exists) {
		return missingFile(l.state())
	}
	if err := st.plan(d.opts); err != nil {
		return err
	}
	if err := st.taken(); err != nil {
		return err
	}
	if d.web, err = d.listenHTTP(&st); err != nil {
		return err
	}
	if !fresh {
		d.state = st
		return nil
	}
	d.founded = true
	err = found(ctx, l, st, d.opts.Now())
	if fault.Is(err, fault.Unavailable) { // the disk takes no more
		err = unwritable(l.nsc(), err)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(l.staging()))
	}
	if err := adopt(l); err != nil {
		return err
	}
	d.state, err = l.loadState()
	return err
}

// record notes what this start decided.
func (d *dev) record(ctx context.Context) error {
	l := d.folder.layout
	if err := os.RemoveAll(l.staging()); err != nil {
		return unwritable(l.staging(), err)
	}
	if d.state.Dir != string(l) { // the folder was moved
		if err := pointConfig(ctx, l, l.nsc(), d.opts.Now()); err != nil {
			return err
		}
	}
	return l.saveState(d.state)
}

// openStore opens the store and makes sure that it is this operator's and holds
// its first claims.
func (d *dev) openStore(ctx context.Context) (err error) {
	l := d.folder.layout
	if d.store, err = openStore(ctx, d.state.Store, d.state.Founded, true); err != nil {
		return errors.Join(err, d.unfound())
	}
	if d.service, err = d.newService(); err != nil {
		return err
	}
	if d.state.Founded {
		return d.requireOwnStore(ctx)
	}
	ns, err := nscstore.Open(l.dirs())
	if err != nil {
		return err
	}
	op, err := ns.Operator(ctx, devOperator)
	if err != nil {
		return err
	}
	opJWT, err1 := op.JWT()
	sysJWT, err2 := op.AccountJWT(systemName)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	err = d.service.Bootstrap(ctx, opJWT, sysJWT)
	if fault.Is(err, fault.Invalid) { // the store is another operator's
		return errors.Join(err, d.unfound())
	}
	if err != nil {
		return err
	}
	d.state.Founded = true
	return l.saveState(d.state)
}

// unfound removes the operator that this run made, and that no store holds.
func (d *dev) unfound() error {
	if !d.founded {
		return nil
	}
	return errors.Join(os.RemoveAll(d.folder.nsc()), os.RemoveAll(d.folder.own()))
}

// newService makes the resolver over the store.
func (d *dev) newService() (*resolver.Service, error) {
	user, _, err := d.secrets.claims()
	if err != nil {
		return nil, err
	}
	d.metrics = newMetrics(d.expected, headOf(d.store))
	if d.enroll, err = d.metrics.enrolling(enroll.Config{Store: d.store, Identity: d.secrets.identity, Now: d.opts.Now, Logger: d.log, Options: d.opts.Devices}); err != nil {
		return nil, err
	}
	return d.metrics.measured(resolver.Config{
		Keyring: d.enroll.Keyring(),
		Streams: d.streams, Forget: d.forget,
		Unaware: func() bool { return len(fleetNodes(d.beside.fleet.Load())) > 0 },
		Notify: func(ctx context.Context, account string) error {
			return notifyServers(ctx, d.beside.fleet.Load(), account)
		},
		Store: d.store, Nodes: d.expected,
		Self:      resolver.Self{User: user.Subject, Issuer: user.Issuer, IssuedAt: user.IssuedAt},
		Delegated: d.secrets.delegated.PublicKey(), Signer: d.secrets.delegated, Server: d.secrets.server.Key(),
		Policy: d.policy.first, Now: d.opts.Now, Logger: d.log,
	})
}

// warn logs what is wrong with the operator.
func warn(ctx context.Context, s *resolver.Service, log *slog.Logger) error {
	warnings, err := s.Warnings(ctx)
	for _, w := range warnings {
		log.Warn("operator", "warning", w)
	}
	return err
}

// expected returns the servers that must prove every claim.
func (d *dev) expected() []resolver.Node {
	nodes := make([]resolver.Node, len(d.members))
	for i, m := range d.members {
		nodes[i] = m
	}
	return append(nodes, d.beside.nodes()...)
}

// streams says what an account has in JetStream on the nodes that run.
func (d *dev) streams(_ context.Context, account string) (use api.JetStreamUse, err error) {
	for _, m := range d.members {
		n, _ := m.current()
		if n == nil {
			continue
		}
		of, err := n.JetStream(account)
		if err != nil {
			return use, err
		}
		use.Merge(of)
	}
	return use, nil
}

// requireOwnStore refuses the store of another operator.
func (d *dev) requireOwnStore(ctx context.Context) error {
	err := d.store.View(ctx, func(r store.Reader) error {
		_, err := r.Get(store.Operator, d.state.Operator)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		path := d.state.Store
		return fault.New(fault.Invalid, "the store %s is not the one of this operator", path).About("store", path).
			ByRule("foreign-store").WithHint("put the operator's own store back, or use another folder: accountd dev --dir DIR")
	}
	return err
}

// checkClock refuses to run when the clock is before the claims: they would not
// be valid yet, and new ones would look older than those in force.
func (d *dev) checkClock(ctx context.Context) error {
	latest, what := int64(0), ""
	note := func(iat int64, name string) {
		if iat > latest {
			latest, what = iat, name
		}
	}
	err := d.store.View(ctx, func(r store.Reader) error {
		for _, of := range []struct {
			kind store.Kind
			key  string
		}{{store.Operator, d.state.Operator}, {store.Account, d.state.System}} {
			rec, err := r.Get(of.kind, of.key)
			if err != nil {
				return fmt.Errorf("read %s %s: %w", of.kind, of.key, err)
			}
			note(rec.IssuedAt, fmt.Sprintf("the JWT of %s %s", of.kind, rec.Name))
		}
		head, err := r.Head()
		if err != nil || head == 0 {
			return err
		}
		last, err := r.Changes(head-1, 1)
		if err == nil && len(last) == 1 {
			note(last[0].Time.Unix(), "the last change in the store")
		}
		return err
	})
	if err != nil {
		return err
	}
	if user, _, err := d.secrets.claims(); err == nil {
		note(user.IssuedAt, "the JWT of accountd's system user")
	}
	now := d.opts.Now().UTC()
	if now.Add(api.RequestSkew).Unix() >= latest {
		return nil
	}
	return fault.New(fault.Invalid, "the clock shows %s, but %s is of %s", now.Format(time.RFC3339), what, time.Unix(latest, 0).UTC().Format(time.RFC3339)).
		About("clock", "").ByRule("clock").WithHint("set the clock of this machine right, then start again")
}

// storedOperator returns the operator's JWT that is in force.
func (d *dev) storedOperator(ctx context.Context) (*claims.Document, store.Record, error) {
	var rec store.Record
	err := d.store.View(ctx, func(r store.Reader) (err error) {
		rec, err = r.Get(store.Operator, d.state.Operator)
		return err
	})
	if err != nil {
		return nil, rec, fmt.Errorf("read operator: %w", err)
	}
	doc, err := claims.Decode(rec.JWT)
	return doc, rec, err
}
