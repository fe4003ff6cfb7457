// Package stock keeps stock nats-servers in step with the store: it delivers
// the current claims to them over a connection to the system account, and
// proves what they hold and what they enforce.
//
// # What a stock server gives
//
// One request on an update subject reaches every server; none can be addressed
// alone. A server answers 200 when it has saved a JWT, whether or not it trusts
// its issuer and whatever it held before. So a delivery is proven by reading
// back: ACCOUNTZ shows what a server enforces for an account that it has
// loaded, LOOKUP what the directories hold of others, VARZ whom a server
// trusts. Deletions are requests signed by a key of the operator.
//
// # Kinds
//
// A server's resolver shows in how it answers an update: full servers save it,
// cache servers take it only for accounts that they have loaded, and the rest
// takes it for loaded accounts and keeps nothing. Of the rest, a server with
// resolver: URL(...) asks our HTTP address for an account that only we know of
// when it is asked about that account; one with resolver: MEMORY does not.
//
// # Expected servers
//
// A server is known by its cluster and its name. Once seen it is expected until
// it is forgotten by name, also over restarts: what it misses stays open for it
// and is delivered when it comes back.
package stock
