// Package store is the state of the service: the current claims, the tombstones
// of deleted ones, what must never be forgotten about either, and the sequence
// of changes that nodes and replicas follow and that is the audit log.
//
// # The contract
//
// Every implementation keeps these promises; storetest checks them.
//
// Atomicity. Update runs its function in one transaction: all of what it did
// is committed, or none. The function may run more than once and must have no
// effect outside the Tx. An error from the function rolls back and is returned
// as it is.
//
// Durability. When Update has returned nil, the change survives a kill of the
// process, a power loss and a full disk. When it has returned an error that
// wraps ErrUnknown, the change may or may not have been committed: the caller
// must say "not known to be committed" and may repeat a conditional write
// safely. Any other error means that nothing was committed.
//
// Isolation. Transactions are serializable. A View sees one committed state.
//
// Order. Every Put appends exactly one Change. Sequence numbers start at 1 and
// grow by one in commit order without gaps: who has seen n has seen all up to n.
//
// Conditional writes. Put names the revision that it replaces (0: the record
// must not exist) and fails with ErrConflict when the stored one differs.
//
// Nothing is deleted. A deleted account is a record with Deleted set: the
// tombstone keeps the last JWT, the lists and the retired keys for ever.
//
// Wakeups. Changed returns a channel that is closed at the next commit that
// appends a change, and at Close. Take the channel, then read, then wait.
// Wakeups may be spurious, never lost.
//
// Concurrency. All methods of a Store may be called from any goroutine. A
// Reader or Tx belongs to its function and must not be used after it. A View
// must not call Update, nor an Update another.
//
// Context. A transaction whose context has ended does not begin, nor does it
// wait for another one to end; once its function runs, it runs to its end.
//
// Closing. Close waits for the transactions that run; View and Update then fail
// with ErrClosed. Closing again does nothing.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/accountd/accountd/revocation"
)

// Errors of every implementation; wrapped with the operation and key.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("stored revision differs")
	ErrReplay   = errors.New("nonce was used before")
	ErrTaken    = errors.New("another key took this device")
	ErrSpent    = errors.New("every use of the token was made")
	ErrUnknown  = errors.New("not known to be committed")
	ErrClosed   = errors.New("store is closed")
	ErrLocked   = errors.New("store is in use by another process")
	ErrSchema   = errors.New("store was written by a newer version")
)

// Kind is the kind of claim that a record holds.
type Kind string

// The kinds.
const (
	Operator Kind = "operator"
	Account  Kind = "account"
	// Permit lets an account that is not stored yet be made by who has its key;
	// Deleted takes that back.
	Permit Kind = "permit"
	// Proposal holds a version of an account that its own key signed, until an
	// operator key has signed what comes of it, or nobody will; then it is Deleted.
	Proposal Kind = "proposal"
	// DeviceKeys holds the keys of an account's fleets that were given to
	// accountd, sealed.
	DeviceKeys Kind = "device-keys"
	// Denied holds the devices of an account that get no new credentials.
	Denied Kind = "denied"
	// Spared holds the retired keys of an account by which devices still renew.
	Spared Kind = "spared"
)

// Enrolment is one use of a token: a device that got credentials for its key.
type Enrolment struct {
	Token  string // which
	Uses   int    // for how many devices it is
	Device string // id
	Key    string // public key of the device
	Until  time.Time
}

// ExportList is the revocation list of one export: of a live one inside the
// JWT, or of one that has left the JWT and is remembered by the record.
type ExportList struct {
	Type    string          `json:"type"` // "stream" or "service"
	Subject string          `json:"subject"`
	Revoked revocation.List `json:"revoked"`
}

// Record is the current state of one thing. All but the operator have the key of
// an account.
type Record struct {
	Kind     Kind   `json:"kind"`
	Key      string `json:"key"`      // public key: the JWT's subject
	Name     string `json:"name"`     // the JWT's name
	Revision uint64 `json:"revision"` // of this record: 1 for the first version
	Seq      uint64 `json:"seq"`      // of the change that wrote this revision
	ID       string `json:"id"`       // jti of JWT: the base of conditional puts
	IssuedAt int64  `json:"iat"`      // of JWT, Unix seconds
	Issuer   string `json:"iss"`      // of JWT
	JWT      string `json:"jwt"`      // the current one; a tombstone's: the last one
	Deleted  bool   `json:"deleted,omitempty"`

	// What the JWT does not say and must not be forgotten.
	Dropped  []revocation.Dropped `json:"dropped,omitempty"`  // user revocations that left the JWT
	Retired  map[string]int64     `json:"retired,omitempty"`  // signing keys gone for ever, and when
	Born     map[string]int64     `json:"born,omitempty"`     // signing keys of the JWT, and when each was first seen; none for those that were always there
	Exports  []ExportList         `json:"exports,omitempty"`  // lists of exports that left the JWT
	Findings []string             `json:"findings,omitempty"` // admitted findings of the JWT
	Deletion string               `json:"deletion,omitempty"` // of a tombstone: the signed request that stock servers obey, if there is one
}

// Change is one line of the audit log. It is written in the transaction of the
// change it describes and never altered.
type Change struct {
	Seq      uint64    `json:"seq"`
	Time     time.Time `json:"time"`             // UTC, the service's clock
	Actor    string    `json:"actor"`            // public key that authorised it, "" for a door without one
	Via      string    `json:"via"`              // door: nats, http, push, accountd
	Action   string    `json:"action"`           // put, delete, restore, operator.put
	Kind     Kind      `json:"kind"`             // entity
	Key      string    `json:"key"`              // entity
	Name     string    `json:"name"`             // entity, as named by this version
	Base     string    `json:"base"`             // jti it was built on, "" for none, "none" for a door without bases
	Revision uint64    `json:"revision"`         // of the record after the change
	ID       string    `json:"id"`               // jti after the change
	Before   string    `json:"before,omitempty"` // hex SHA-256 of the JWT before
	After    string    `json:"after"`            // hex SHA-256 of the JWT after
	Request  string    `json:"request"`          // request id
	Host     string    `json:"host,omitempty"`   // where the actor says it ran
	Summary  []string  `json:"summary,omitempty"`
}

// Reader reads one committed state.
type Reader interface {
	// Get returns the record, tombstones included, or ErrNotFound.
	Get(kind Kind, key string) (Record, error)
	// Scan calls f for the records of kind in key order, starting after the
	// given key ("" for the first), until f returns false.
	Scan(kind Kind, after string, f func(Record) bool) error
	// Changes returns up to limit changes that follow after, in order.
	Changes(after uint64, limit int) ([]Change, error)
	// Head returns the sequence number of the last change, 0 for none.
	Head() (uint64, error)
	// Meta returns a small named value, "" if it was never set.
	Meta(name string) (string, error)
}

// Tx reads and writes one state.
type Tx interface {
	Reader
	// Put replaces the record of (Kind, Key) whose revision is base, 0 for
	// none, or fails with ErrConflict. It sets Revision and Seq of the stored
	// record and of the change, appends the change, and returns the record.
	// The change is about this record: its Kind and Key may be left empty.
	Put(base uint64, rec Record, ch Change) (Record, error)
	// UseNonce remembers nonce until the given time and fails with ErrReplay
	// if it is remembered already. Nonces whose time is before now may be
	// forgotten.
	UseNonce(nonce string, now, until time.Time) error
	// Enroll counts a use of a token, and remembers it until the given time. The
	// same device with the same key once more is no further use. It fails with
	// ErrTaken if another key has taken the device with that token, and with
	// ErrSpent if no use is left. Uses whose time is before now may be
	// forgotten, so that a token must have expired by then.
	Enroll(e Enrolment, now time.Time) error
	// ForgetUses forgets uses of tokens whose time is before now, some thousands
	// at once, and returns how many.
	ForgetUses(now time.Time) (int, error)
	// SetMeta sets a small named value.
	SetMeta(name, value string) error
}

// Store is a transactional, durable state with a change sequence. See the
// package documentation for the promises.
type Store interface {
	View(ctx context.Context, f func(Reader) error) error
	Update(ctx context.Context, f func(Tx) error) error
	Changed() <-chan struct{}
	Close() error
}
