package enroll

import (
	"context"
	"time"

	"github.com/accountd/accountd/store"
)

// sweepEvery is how often uses of expired tokens are forgotten, whether or not
// anybody enrols.
const sweepEvery = 10 * time.Minute

// Sweep forgets uses of expired tokens, now and again until ctx ends. Several
// processes on one store may do it.
func (s *Service) Sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("uses of expired tokens are not forgotten yet", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep forgets all that is due, a part in each transaction: devices enrol in
// between.
func (s *Service) sweep(ctx context.Context) error {
	for {
		var n int
		err := s.cfg.Store.Update(ctx, func(tx store.Tx) (err error) {
			n, err = tx.ForgetUses(s.cfg.Now())
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}
