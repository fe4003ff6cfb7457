package bolt

import "go.etcd.io/bbolt"

// SetCommit replaces what commits a transaction. Not while one runs.
func (s *Store) SetCommit(f func(*bbolt.Tx) error) { s.commit = f }

// For the fuzz targets.
var (
	DecodeRecord = decodeRecord
	DecodeChange = decodeChange
	EncodeRecord = encodeRecord
	EncodeChange = encodeChange
)

// RecentChanges is how many of the last changes a store holds in memory.
const RecentChanges = recentChanges
