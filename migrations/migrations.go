// Package migrations holds the schema of the PostgreSQL store, as numbered
// files that only go forward.
package migrations

import "embed"

// Files are the migrations, in the form of goose.
//
//go:embed *.sql
var Files embed.FS
