package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// close ends what open and startNodes began, in the reverse order: clients are
// sent away while the store is still there, and the store goes last.
func (d *dev) close() error {
	d.ready.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	errs := []error{d.closeListeners()}
	var g errgroup.Group
	for _, m := range d.members {
		g.Go(func() error { return m.stop(ctx) })
	}
	errs = append(errs, g.Wait())
	if d.store != nil {
		if err := d.store.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close store: %w", err))
		}
	}
	if d.servers != nil {
		errs = append(errs, d.servers.Close())
	}
	d.secrets.wipe()
	if d.folder != nil {
		errs = append(errs, d.folder.release())
	}
	return errors.Join(errs...)
}

// closeListeners closes what the tasks of run have not closed already.
func (d *dev) closeListeners() error {
	var errs []error
	for _, ln := range []net.Listener{d.web, d.control} {
		if ln == nil {
			continue
		}
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if dir := filepath.Dir(d.state.Socket); d.control != nil && dir != d.folder.own() {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}
