package pg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // goose speaks database/sql
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/migrations"
	"github.com/accountd/accountd/store"
)

// Step is one migration and whether the database has it.
type Step struct {
	Version int64
	Name    string
	Applied bool
}

// Migrate brings the schema of the database at dsn up to this program's, under
// a lock of the session, and returns the steps that it made. A database of a
// newer program is refused with store.ErrSchema.
func Migrate(ctx context.Context, dsn string) (made []Step, err error) {
	err = withProvider(ctx, dsn, func(p *goose.Provider) error {
		if err := refuseNewer(ctx, p); err != nil {
			return err
		}
		results, err := p.Up(ctx)
		for _, r := range results {
			made = append(made, Step{Version: r.Source.Version, Name: r.Source.Path, Applied: true})
		}
		return err
	})
	return made, err
}

// Status returns all migrations that this program knows.
func Status(ctx context.Context, dsn string) (steps []Step, err error) {
	err = withProvider(ctx, dsn, func(p *goose.Provider) error {
		if err := refuseNewer(ctx, p); err != nil {
			return err
		}
		list, err := p.Status(ctx)
		for _, m := range list {
			steps = append(steps, Step{Version: m.Source.Version, Name: m.Source.Path, Applied: m.State == goose.StateApplied})
		}
		return err
	})
	return steps, err
}

func withProvider(ctx context.Context, dsn string, f func(*goose.Provider) error) error {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return fault.New(fault.Usage, "the address of the database is not of the form postgres://user@host/database")
	}
	defer func() { _ = db.Close() }()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("make migration lock: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if err := f(p); err != nil {
		if fault.As(err) != nil {
			return err
		}
		return fault.New(fault.Unavailable, "reach database %s: %w", nameOf(dsn), err).
			WithHint("check that PostgreSQL runs there and lets this user in; its password comes from PGPASSWORD")
	}
	return nil
}

// refuseNewer refuses a database that has migrations that we do not know.
func refuseNewer(ctx context.Context, p *goose.Provider) error {
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	if known := latest(p); have > known {
		return newer(have, known)
	}
	return nil
}

func newer(have, known int64) error {
	return fault.New(fault.Invalid, "the database has schema %d, this program knows %d: %w", have, known, store.ErrSchema).
		WithHint("use the version of accountd that migrated it, or a newer one")
}

func latest(p *goose.Provider) int64 {
	sources := p.ListSources()
	return sources[len(sources)-1].Version
}

// checkSchema refuses to work on another schema than this program's. It reads
// goose's table and changes nothing.
func (s *Store) checkSchema(ctx context.Context, dsn string) error {
	var known int64
	if err := withProvider(ctx, dsn, func(p *goose.Provider) error {
		known = latest(p)
		return nil
	}); err != nil {
		return err
	}
	var have int64
	err := s.pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&have)
	const undefinedTable = "42P01"
	var answer *pgconn.PgError
	switch {
	case errors.As(err, &answer) && answer.Code == undefinedTable:
		have = 0
	case err != nil:
		return s.fail(ctx, "open", err)
	}
	switch {
	case have > known:
		return newer(have, known)
	case have < known:
		return fault.New(fault.Invalid, "the database has schema %d, this program needs %d", have, known).
			WithHint("accountd migrate up --store postgres://…")
	}
	return nil
}
