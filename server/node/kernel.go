package node

import (
	"maps"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/accountd/accountd/fault"
)

// This file is the only one that reaches behind the exported API of
// nats-server. Some functions are linked by name: if one moves, the program
// does not link. A few fields are read through offsets that reflection
// finds; if one changes its name or type, Start refuses. The empty kernel.s
// lets the compiler accept functions without a body.

// applyClaims is what the server's own resolvers run for a loaded account: it
// verifies the JWT, sets its effect, and then the JWT itself. An equal JWT is
// ignored unless the account is incomplete.
//
//go:linkname applyClaims github.com/nats-io/nats-server/v2/server.(*Server).updateAccountWithClaimJWT
func applyClaims(s *server.Server, acc *server.Account, claimJWT string) error

// removeAccount is what the server's directory resolver runs when the JWT of a
// loaded account goes: no new clients, the connected ones closed, JetStream
// disabled.
//
//go:linkname removeAccount github.com/nats-io/nats-server/v2/server.removeCb
func removeAccount(s *server.Server, key string)

// expireActivation is what the server's own timer runs when an activation ends by
// which acc imports from exporter: it looks whether that import, named by the
// exporter's subject of a stream and by the importer's of a service, still holds,
// and ends it where it does not.
//
//go:linkname expireActivation github.com/nats-io/nats-server/v2/server.(*Account).activationExpired
func expireActivation(acc, exporter *server.Account, subject string, kind jwt.ExportType)

// accountClients returns the connections that are registered with acc,
// internal ones included, as pointers to the server's client.
//
//go:linkname accountClients github.com/nats-io/nats-server/v2/server.(*Account).getClients
func accountClients(acc *server.Account) []unsafe.Pointer

// jetStreamOf returns the server's JetStream, nil without one.
//
//go:linkname jetStreamOf github.com/nats-io/nats-server/v2/server.(*Server).getJetStream
func jetStreamOf(s *server.Server) unsafe.Pointer

// metaGroup returns the group that leads JetStream in the cluster, nil if the
// server is not part of one.
//
//go:linkname metaGroup github.com/nats-io/nats-server/v2/server.(*jetStream).getMetaGroup
func metaGroup(js unsafe.Pointer) server.RaftNode

// kernel reads what the server does not export.
type kernel struct {
	accounts uintptr // Server.accounts sync.Map

	accMu, accUpdated, accJWT, accRevoked, accSigners uintptr

	cliMu, cliKind, cliID, cliStart, cliUser, cliOpts, cliWS, cliMQTT uintptr
}

// newKernel finds the fields. It fails when the server's types are not the
// ones that this package was written for.
func newKernel() (*kernel, error) {
	client := reflect.TypeOf((*server.Server)(nil).GetClient).Out(0).Elem()
	srv, acc := reflect.TypeFor[server.Server](), reflect.TypeFor[server.Account]()
	k := &kernel{}
	for _, f := range []struct {
		in   reflect.Type
		name string
		want reflect.Type // nil: any pointer
		at   *uintptr
	}{
		{srv, "accounts", reflect.TypeFor[sync.Map](), &k.accounts},
		{acc, "mu", reflect.TypeFor[sync.RWMutex](), &k.accMu},
		{acc, "updated", reflect.TypeFor[time.Time](), &k.accUpdated},
		{acc, "claimJWT", reflect.TypeFor[string](), &k.accJWT},
		{acc, "usersRevoked", reflect.TypeFor[map[string]int64](), &k.accRevoked},
		{acc, "signingKeys", reflect.TypeFor[map[string]jwt.Scope](), &k.accSigners},
		{client, "mu", reflect.TypeFor[sync.RWMutex](), &k.cliMu},
		{client, "kind", reflect.TypeFor[int](), &k.cliKind},
		{client, "cid", reflect.TypeFor[uint64](), &k.cliID},
		{client, "start", reflect.TypeFor[time.Time](), &k.cliStart},
		{client, "user", reflect.TypeFor[*server.NkeyUser](), &k.cliUser},
		{client, "opts", reflect.TypeFor[server.ClientOpts](), &k.cliOpts},
		{client, "ws", nil, &k.cliWS},
		{client, "mqtt", nil, &k.cliMQTT},
	} {
		field, ok := f.in.FieldByName(f.name)
		if !ok || len(field.Index) != 1 || f.want != nil && field.Type != f.want ||
			f.want == nil && field.Type.Kind() != reflect.Pointer {
			return nil, fault.New(fault.Internal, "nats-server %s: field %s.%s is not what this program was built for",
				server.VERSION, f.in.Name(), f.name)
		}
		*f.at = field.Offset
	}
	return k, nil
}

func at[T any](p unsafe.Pointer, offset uintptr) *T { return (*T)(unsafe.Add(p, offset)) }

// loaded returns the account if the server has it in memory, expired ones
// included, and never loads it. What the server registers without claims, to
// note which other servers have subscribers, is as good as not loaded: its
// first client makes the server read the copy.
func (k *kernel) loaded(s *server.Server, key string) *server.Account {
	v, ok := at[sync.Map](unsafe.Pointer(s), k.accounts).Load(key)
	if !ok {
		return nil
	}
	acc := v.(*server.Account)
	if acc.IsExpired() && k.claimJWT(acc) == "" {
		return nil
	}
	return acc
}

// effect is what the server enforces for a loaded account right now.
type effect struct {
	jwt     string
	updated time.Time
	revoked map[string]int64
	signers map[string]jwt.Scope
}

// updated returns when the server last changed the effect of a claim: set
// together with the revocations, before connected clients are looked at.
func (k *kernel) updated(acc *server.Account) time.Time {
	p := unsafe.Pointer(acc)
	mu := at[sync.RWMutex](p, k.accMu)
	mu.RLock()
	defer mu.RUnlock()
	return *at[time.Time](p, k.accUpdated)
}

// claimJWT returns the JWT that the server shows for acc.
func (k *kernel) claimJWT(acc *server.Account) string {
	p := unsafe.Pointer(acc)
	mu := at[sync.RWMutex](p, k.accMu)
	mu.RLock()
	defer mu.RUnlock()
	return *at[string](p, k.accJWT)
}

// effect returns a copy of what is in effect for acc.
func (k *kernel) effect(acc *server.Account) effect {
	p := unsafe.Pointer(acc)
	mu := at[sync.RWMutex](p, k.accMu)
	mu.RLock()
	defer mu.RUnlock()
	return effect{
		jwt:     *at[string](p, k.accJWT),
		updated: *at[time.Time](p, k.accUpdated),
		revoked: maps.Clone(*at[map[string]int64](p, k.accRevoked)),
		signers: maps.Clone(*at[map[string]jwt.Scope](p, k.accSigners)),
	}
}

// peer is one connection that is registered with an account, as far as a scan
// of thousands needs it. Who it is comes from the verified user JWT, never from
// what the client calls itself. user is nil for the server's own connections
// and while an authentication has not finished.
type peer struct {
	ptr  unsafe.Pointer
	user *server.NkeyUser // its key, signing key and issue time never change
}

// peers calls f for every connection that is registered with acc.
func (k *kernel) peers(acc *server.Account, f func(peer)) {
	for _, c := range accountClients(acc) {
		f(k.peer(c))
	}
}

func (k *kernel) peer(c unsafe.Pointer) peer {
	mu := at[sync.RWMutex](c, k.cliMu)
	mu.RLock()
	defer mu.RUnlock()
	return peer{c, *at[*server.NkeyUser](c, k.cliUser)}
}

// session describes the connection of a client or a leaf node.
type session struct {
	cid   uint64
	kind  string // client, websocket, mqtt, leaf
	name  string // what it calls itself
	jwt   string
	user  string // public key
	start time.Time
}

// session describes a peer; false for the server's own connections.
func (k *kernel) session(p peer) (session, bool) {
	mu := at[sync.RWMutex](p.ptr, k.cliMu)
	mu.RLock()
	defer mu.RUnlock()
	s := session{
		cid:   *at[uint64](p.ptr, k.cliID),
		name:  at[server.ClientOpts](p.ptr, k.cliOpts).Name,
		jwt:   at[server.ClientOpts](p.ptr, k.cliOpts).JWT,
		start: *at[time.Time](p.ptr, k.cliStart),
	}
	if p.user != nil {
		s.user = p.user.Nkey
	}
	switch *at[int](p.ptr, k.cliKind) {
	case server.LEAF:
		s.kind = "leaf"
	case server.CLIENT:
		switch {
		case *at[unsafe.Pointer](p.ptr, k.cliMQTT) != nil:
			s.kind = "mqtt"
		case *at[unsafe.Pointer](p.ptr, k.cliWS) != nil:
			s.kind = "websocket"
		default:
			s.kind = "client"
		}
	default:
		return session{}, false
	}
	return s, true
}
