// Package resolver is the authority over claims: one admission for every door,
// convergence of every server, and the proof that a version is in force.
package resolver

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/accountd/accountd/accounts/isolation"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// Node is what the resolver needs of one expected server.
type Node interface {
	Name() string
	// Await waits until the server shows revision of key, or a newer one, in
	// force or rejected, or until ctx ends; then the state is api.Pending.
	Await(ctx context.Context, key string, revision uint64) api.NodeProof
	// Proof returns what the server can show at once.
	Proof(key string) api.NodeProof
	Status() api.NodeStatus
	// Trusts returns the operator keys whose accounts the running server takes,
	// none if it does not run.
	Trusts() []string
	// Seen tells which of the JWTs asked for live connections use.
	Seen(req api.SeenRequest) api.SeenReply
}

// Self is accountd's own user in the system account. No version of that account
// may lock it out.
type Self struct {
	User     string // public key
	Issuer   string // key that signed its JWT
	IssuedAt int64  // Unix seconds
}

// Custody says who holds the operator's signing keys.
const (
	Delegated = "delegated" // accountd has one of its own
	Offline   = "offline"   // nsc alone
)

// Config of a Service. Store, Nodes and Now are required.
type Config struct {
	Store  store.Store
	Nodes  func() []Node // the expected servers, in a fixed order
	Self   Self
	Server keys.Server // identity of the service, in the audience of signed requests
	// Delegated is the public key of accountd's own signing key, "" in offline
	// custody. Requests signed by it are refused: it opens no door from outside.
	Delegated string
	// Signer is that key, for what accountd signs itself; nil in offline custody.
	Signer claims.Signer
	// Keyring keeps the keys of fleets; nil where nothing opens what is sealed.
	Keyring Keyring
	// Policy is what no change of an account may break at first; nil for none. It
	// names no users: see [isolation.Policy.Users].
	Policy *isolation.Policy
	// Unaware reports whether servers are served that do not end every contract by
	// themselves; nil where there are none.
	Unaware func() bool
	// Streams says what an account has in JetStream, which its deletion would
	// lose; nil where nobody can tell.
	Streams func(ctx context.Context, account string) (api.JetStreamUse, error)
	// Forget expects a stock server no more; nil where there are none.
	Forget func(ctx context.Context, server string) error
	// Peer returns how to reach the process that watches the servers, nil while
	// this one does. Nil: it always does.
	Peer func() Peer
	// Known returns the stock servers as the process that watches them has stored
	// them; nil where there are none.
	Known func(r store.Reader) ([]StockServer, error)
	// Notify sends the stored version of an account to the stock servers again;
	// nil where there are none.
	Notify func(ctx context.Context, account string) error
	Now    func() time.Time
	Logger *slog.Logger // discards if nil
	Meter  Meter        // counts nothing if nil
}

// Service admits, stores, publishes and proves claims. Its methods may be
// called from any goroutine.
type Service struct {
	cfg       Config
	log       *slog.Logger
	lookups   *lookups
	importers importers
	spaces    namespaces
	policy    atomic.Pointer[policies]
	kept      atomic.Pointer[string] // why the policy is not the newest, nil if it is
	contracts contracts
	trusted   atomic.Pointer[trusted]
	agenda    agenda
}

// trusted is what the operator's JWT says, decoded once.
type trusted struct {
	jwt   string
	trust operator.Trust
}

// New returns a Service.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Nodes == nil || cfg.Now == nil {
		return nil, fault.New(fault.Internal, "resolver: store, nodes and clock are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Meter == nil {
		cfg.Meter = noMeter{}
	}
	s := &Service{cfg: cfg, log: cfg.Logger, lookups: &lookups{held: map[string]*lookup{}}}
	s.policy.Store(newPolicies(cfg.Policy, cfg.Now))
	return s, nil
}

// now returns the time of one operation, in whole seconds as it is signed.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Second) }

// Bootstrap stores the operator's JWT and the first accounts in an empty store.
// It is idempotent; a store of another operator is refused.
func (s *Service) Bootstrap(ctx context.Context, operatorJWT string, accountJWTs ...string) error {
	op, trust, err := decodeOperator(operatorJWT)
	if err != nil {
		return err
	}
	err = s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		have, err := operatorRecord(tx)
		switch {
		case err == nil && have.Key != string(trust.Key):
			return foreignStore(have)
		case err == nil:
			return nil
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		if err := tx.SetMeta(metaOperator, string(trust.Key)); err != nil {
			return err
		}
		now := s.now()
		rec := store.Record{Kind: store.Operator, Key: op.Subject}
		setVersion(&rec, op)
		who := actor{Key: op.Issuer, Via: "accountd"}
		if _, err := tx.Put(0, rec, who.change("operator.put", store.Record{}, rec, now, "")); err != nil {
			return err
		}
		for _, token := range accountJWTs {
			c := &change{item: api.Item{JWT: token}, bootstrap: true}
			c.decode()
			s.admit(tx, c, trust, rec, now)
			if c.err != nil {
				return c.err
			}
			if _, err := tx.Put(0, c.rec, who.change("put", store.Record{}, c.rec, now, "")); err != nil {
				return err
			}
		}
		return nil
	})
	return startFault(err)
}

// metaOperator names the store's operator: one store, one operator.
const metaOperator = "operator"

// operatorRecord returns the record of the store's operator.
func operatorRecord(r store.Reader) (store.Record, error) {
	key, err := r.Meta(metaOperator)
	if err != nil {
		return store.Record{}, err
	}
	if key == "" {
		return store.Record{}, store.ErrNotFound
	}
	return r.Get(store.Operator, key)
}

func foreignStore(have store.Record) error {
	return fault.New(fault.Invalid, "the store belongs to operator %s (%s)", have.Name, keys.Short(have.Key)).
		ByRule("operator").WithHint("use another directory or store for this operator")
}

// setVersion puts the version d into rec.
func setVersion(rec *store.Record, d *claims.Document) {
	rec.JWT, rec.ID, rec.IssuedAt, rec.Issuer, rec.Name = d.Token, d.ID, d.IssuedAt, d.Issuer, d.Name
}

// unavailable turns the store's own errors into ours: what is not a refusal
// may or may not have been committed. The cause, which names files and addresses,
// is for the log alone.
func unavailable(err error) error {
	if !ofStore(err) {
		return err
	}
	f := &fault.Error{Code: fault.Unavailable, Msg: "the store failed, nothing was committed", Err: err}
	if errors.Is(err, store.ErrUnknown) {
		f.Msg, f.Hint = "not known to be committed", "send it again; that is safe"
	}
	return f
}

// startFault is unavailable for who starts the service, with the cause.
func startFault(err error) error {
	if err == nil || fault.As(err) != nil {
		return err
	}
	return fault.New(fault.Unavailable, "the store failed: %w", err)
}

// ofStore reports whether err is the store's own, and no refusal.
func ofStore(err error) bool {
	f := fault.As(err)
	return err != nil && (f == nil || f.Entity == "store")
}
