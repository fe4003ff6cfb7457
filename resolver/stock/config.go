package stock

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// Source is what a Fleet needs of a store.Store, with its promises about order,
// conditional writes and wakeups. Update is used only for the list of expected
// servers, which must outlive the process.
type Source interface {
	View(ctx context.Context, f func(store.Reader) error) error
	Update(ctx context.Context, f func(store.Tx) error) error
	Changed() <-chan struct{}
}

// Config of a Fleet. Source and Conn are required.
type Config struct {
	Source Source

	// Conn is a connection to the system account of the servers, opened with
	// nats.NoEcho: what accountd sends itself must not look like a push of
	// somebody else. The Fleet does not close it.
	Conn *nats.Conn

	// Exclude tells which servers are not stock ones: the bundled nodes.
	Exclude func(name string) bool

	// Probes sees the requests of the account server's HTTP address. Nil: there
	// is none, and no server with resolver: URL(...) is served.
	Probes *Probes

	// Signer signs deletions; nil in offline custody, where deletions wait.
	Signer claims.Signer

	// Admit decides about a JWT that somebody pushed straight to the servers,
	// as resolver.Service.Push does. Nil admits nothing.
	Admit func(ctx context.Context, token string) error

	// Renew signs the stored version of an account anew, if it is still that
	// revision, as resolver.Service.Renew does. Nil: nobody here can sign, and an
	// account that a server was made to remove stays dead there until a person
	// changes it.
	Renew func(ctx context.Context, account string, revision uint64) error

	Answer    time.Duration // how long a server may take to answer, 5 s if 0
	Ping      time.Duration // between two looks for servers, 1 s if 0
	Reconcile time.Duration // between two comparisons of all accounts, 1 min if 0

	Logger *slog.Logger     // discards if nil
	Now    func() time.Time // time.Now if nil
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Source == nil || c.Conn == nil:
		return c, fault.New(fault.Internal, "stock servers need a source and a connection")
	case !c.Conn.Opts.NoEcho:
		return c, fault.New(fault.Internal, "the connection to stock servers must be opened without echo")
	}
	if c.Probes == nil {
		c.Probes = &Probes{}
	}
	if c.Exclude == nil {
		c.Exclude = func(string) bool { return false }
	}
	set(&c.Answer, 5*time.Second)
	set(&c.Ping, time.Second)
	set(&c.Reconcile, time.Minute)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func set(v *time.Duration, to time.Duration) {
	if *v == 0 {
		*v = to
	}
}
