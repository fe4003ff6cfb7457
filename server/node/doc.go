// Package node runs one bundled nats-server that follows the claims of a store
// by itself: it keeps a durable copy, authenticates from that copy alone,
// brings each new version into force, cuts the connections that a version ends,
// and proves the result from what the server shows.
//
// # The parts
//
//	Source ── follow ──▶ copy: staged ──▶ claims.db
//	              │         ▲
//	              │         └── resolver (Fetch: one local read)
//	              └─▶ lane (one an account) ─▶ apply ─▶ cut ─▶ sweep ─▶ proof
//	                                       reconcile: loaded JWT and effect = copy
//
//	                     terms: imports start and end with their activations
//
// # What it promises
//
// Order. A version is in the copy before the server is told of it, so that
// what the server reads by itself is never older than what it was told. The
// copy never goes back to an older revision. A version takes effect while the
// disk writes it, and is proven only when it is written.
//
// Claim and effect together. A version is applied through the server's own
// path for updates and removals (see kernel.go), so that the JWT that the
// server shows is the one that it enforces.
//
// Cut. From the moment a version is in effect no client that it refuses can
// connect. Those connected are closed at once, and complete sweeps at the end
// of the apply, +50 ms, +200 ms and +2 s find those that were half-way through
// their authentication.
//
// Ends. An import ends with its activation, on live subscriptions too, also where
// the server's own timer misses it. This costs one timer a node.
//
// Independence. Without the Source the node serves, and starts, from its copy.
package node
