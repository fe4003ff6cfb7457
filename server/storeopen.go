package server

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
	"github.com/accountd/accountd/store/bolt"
	"github.com/accountd/accountd/store/pg"
)

const boltScheme = "bolt:"

// isPostgres reports whether spec is the address of a PostgreSQL database.
func isPostgres(spec string) bool {
	return strings.HasPrefix(spec, "postgres://") || strings.HasPrefix(spec, "postgresql://")
}

// checkStore refuses a spec that is neither bolt:PATH nor postgres://…, and one
// that holds a password, which everybody on the machine could read.
func checkStore(spec string) error {
	path, isBolt := strings.CutPrefix(spec, boltScheme)
	switch {
	case isPostgres(spec) && hidePassword(spec) != spec:
		return fault.New(fault.Usage, "--store %s: a password does not belong on the command line", hidePassword(spec)).
			WithHint("put it into PGPASSWORD or a password file (PGPASSFILE)")
	case isPostgres(spec), isBolt && filepath.IsAbs(path):
		return nil
	}
	return fault.New(fault.Usage, "--store %s: expected bolt:PATH or postgres://user@host/database", hidePassword(spec)).
		WithHint("accountd dev --store bolt:./accountd.db")
}

// hidePassword is spec as it may be shown.
func hidePassword(spec string) string {
	u, err := url.Parse(spec)
	if err != nil {
		return strings.SplitN(spec, "@", 2)[0]
	}
	_, inUser := u.User.Password()
	q := u.Query()
	if !inUser && !q.Has("password") {
		return spec
	}
	if inUser {
		u.User = url.User(u.User.Username())
	}
	q.Del("password")
	u.RawQuery = q.Encode()
	return u.String()
}

// shared is a store whose processes agree on who does what only one may do.
// Hold calls f while this process is the one called name, again whenever it
// becomes it, until f returns by itself or ctx ends. The context of f ends when
// another process may have become it.
type shared interface {
	store.Store
	Hold(ctx context.Context, name string, f func(context.Context) error) error
}

// openStore opens the store that spec names. mustExist refuses to make a new
// file; migrate brings the schema of a database up to this program's.
func openStore(ctx context.Context, spec string, mustExist, migrate bool) (shared, error) {
	if err := checkStore(spec); err != nil {
		return nil, err
	}
	if path, ok := strings.CutPrefix(spec, boltScheme); ok {
		st, err := bolt.Open(path, bolt.Options{MustExist: mustExist})
		if mustExist && errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Invalid, "the store %s is missing", path).About("store", path).ByRule("file-missing").
				WithHint("restore it from a backup; starting without it would forget every revocation")
		}
		if err != nil {
			return nil, err
		}
		return st, nil
	}
	if migrate {
		if _, err := pg.Migrate(ctx, spec); err != nil {
			return nil, err
		}
	}
	st, err := pg.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// Migration is one step of a database's schema.
type Migration = pg.Step

// MigrateStore brings the schema of the database that spec names up to this
// program's and returns the steps that it made.
func MigrateStore(ctx context.Context, spec string) ([]Migration, error) {
	if err := onlyPostgres(spec); err != nil {
		return nil, err
	}
	return pg.Migrate(ctx, spec)
}

// StoreStatus returns the steps of the schema and whether the database has them.
func StoreStatus(ctx context.Context, spec string) ([]Migration, error) {
	if err := onlyPostgres(spec); err != nil {
		return nil, err
	}
	return pg.Status(ctx, spec)
}

func onlyPostgres(spec string) error {
	if isPostgres(spec) {
		return checkStore(spec)
	}
	return fault.New(fault.Usage, "--store %s: only a PostgreSQL database has migrations", hidePassword(spec)).
		WithHint("accountd migrate status --store postgres://user@host/database")
}
