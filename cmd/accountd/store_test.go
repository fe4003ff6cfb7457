package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/internal/pgtest"
)

// TestDatabaseAsStore: a first start makes the schema and its claims in
// PostgreSQL; a later one finds them there, also after a kill; another store is
// refused, since it would know of no revocation.
func TestDatabaseAsStore(t *testing.T) {
	pg, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Close() })
	url := pg.Database(t)
	exits(t, 0, []string{"migrate", "status", "--store", url}, "missing", "00001_claims.sql")

	dir, flags := filepath.Join(t.TempDir(), "dev"), ports(t)
	d := dev(t, dir, append(flags, "--store", url)...)
	account := d.putAccount(t, "qcon")
	d.Kill()
	if !strings.Contains(d.Output(), "store "+url) {
		t.Errorf("it does not name its store:\n%s", d.Output())
	}
	exits(t, 0, []string{"migrate", "status", "--store", url}, "made")
	exits(t, 0, []string{"migrate", "up", "--store", url}, "up to date")
	exits(t, 2, []string{"dev", "--dir", dir, "--store", "bolt:" + filepath.Join(dir, "other.db")}, "has its claims in postgres://")

	d = dev(t, dir, flags...)
	client := d.client(t)
	natstest.Eventually(t, readyWithin, func() error {
		got, err := client.Get(t.Context(), api.GetRequest{Account: account.PublicKey()})
		if err == nil && (got.Error != nil || got.Version.Revision != 1) {
			err = fmt.Errorf("%+v", got)
		}
		return err
	})
	d.readyz(t, 200)
	pg.Stop()
	d.readyz(t, 503, "store")
	d.connect(t, 0) // the servers authenticate on their own
	if err := pg.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.readyz(t, 200)
	d.ends(t)
}

// TestStoreFlags: what is no store, and what would show a password.
func TestStoreFlags(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dev")
	exits(t, 2, []string{"dev", "--dir", dir, "--store", "mysql://x"}, "expected bolt:PATH or postgres://")
	exits(t, 2, []string{"migrate", "up"}, "--store is missing")
	exits(t, 2, []string{"migrate", "up", "--store", "bolt:x.db"}, "only a PostgreSQL database")
	exits(t, 6, []string{"migrate", "up", "--store", "postgres://a@127.0.0.1:1/x"})
	for _, verb := range [][]string{{"dev", "--dir", dir}, {"migrate", "up"}} {
		out := exits(t, 2, append(verb, "--store", "postgres://a:hunter2@127.0.0.1/x"), "PGPASSWORD")
		if strings.Contains(out, "hunter2") {
			t.Errorf("the password shows: %s", out)
		}
	}
}
