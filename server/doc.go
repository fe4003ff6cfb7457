// Package server is accountd itself: the lifecycle of the service, its bundled
// nodes and its listeners.
//
// # accountd dev
//
// [Dev] runs everything in one process and makes up what is missing. It owns
// one folder:
//
//	DIR/
//	  accountd.db     the store: claims, tombstones, the change sequence
//	  nsc/            the operator as the official nsc tool lays it out (NSC_HOME)
//	    nsc.json stores/ keys/
//	  accountd/       what only accountd reads (0700)
//	    identity      age identity that opens the sealed files
//	    *.sealed      delegated signing key, system user, server key
//	    state.json    what was recorded: ports, addresses, number of nodes
//	    control.sock  takes commands while accountd runs
//	  nodes/nats-0 …  each node's copy of the claims, and its JetStream data
//	  nodes/servers.log   what the nats-servers log; at most twice 4 MiB
//	  nats/context/   a context for the nats tool (XDG_CONFIG_HOME=DIR)
//	  env             for the shell: . DIR/env
//	  .lock           held while accountd runs; its content is the process id
//
// # What it promises
//
// The first start is all or nothing: the operator is made in a staging folder
// and moved into place when it is complete, so that a kill at any instant is
// followed by a start that finishes it or begins anew. Later starts create
// nothing twice. What should exist and is gone is refused, never made up.
//
// One process runs on a folder. A second is refused before it has written
// anything.
//
// # How it ends
//
// When its context ends, Dev stops accepting, sends the clients of all nodes
// away (lame duck), and closes the store last, within 10 s.
package server
