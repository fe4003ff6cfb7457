package pg

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/accountd/accountd/internal/pgtest"
	"github.com/accountd/accountd/store/storetest"
)

// BenchmarkCommit measures a change beside a plain statement that commits by
// itself, on a server that syncs, unlike that of the tests.
func BenchmarkCommit(b *testing.B) {
	ctx := context.Background()
	durable, err := pgtest.Start(ctx, "fsync=on")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = durable.Close() })
	dsn := durable.Database(b)
	if _, err := Migrate(ctx, dsn); err != nil {
		b.Fatal(err)
	}
	s := open(b, dsn)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(ctx) })
	if _, err := conn.Exec(ctx, `CREATE TABLE raw (key text PRIMARY KEY, value bytea NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	storetest.BenchmarkCommit(b, s, func(key string, value []byte) error {
		_, err := conn.Exec(ctx, `INSERT INTO raw (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
		return err
	})
}
