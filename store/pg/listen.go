package pg

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
)

// channel is the name under which commits notify.
const channel = "accountd_changes"

// listen wakes followers at the commits of all processes, and whenever it has
// connected anew, since it may have missed some.
func (s *Store) listen(ctx context.Context) {
	defer close(s.ended)
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 50*time.Millisecond, 5*time.Second
	for ctx.Err() == nil {
		if s.hear(ctx) {
			wait.Reset()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// hear listens until its connection ends, and reports whether it had one.
func (s *Store) hear(ctx context.Context) bool {
	conn, err := pgx.ConnectConfig(ctx, s.conn)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return false
	}
	for {
		s.wake(make(chan struct{}))
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return true
		}
	}
}
