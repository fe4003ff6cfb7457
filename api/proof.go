// Package api holds the request and reply types that nsc and accountd share,
// and the client that speaks them.
package api

import "strings"

// State says how far a version of a claim has come on one server.
type State string

// The states. Only InForce is proven to be what the server enforces.
const (
	InForce  State = "in force" // read back and, where needed, swept clean
	Stored   State = "stored"   // held by a server that has not loaded the account
	Pending  State = "pending"  // not there yet, or not proven yet
	Rejected State = "rejected" // the server refuses it; Reason says why
)

// Done reports whether a server shows all that it can: the version is in force,
// or will be as soon as the account is loaded.
func (s State) Done() bool { return s == InForce || s == Stored }

// RestartNeeded is the reason of a server that takes something only when it
// restarts: stale says what.
func RestartNeeded(stale []string) string { return "restart needed: " + strings.Join(stale, ", ") }

// Closed is one client connection that a server closed.
type Closed struct {
	User  string  `json:"user"`           // public key of the user
	Kind  string  `json:"kind"`           // client, websocket, mqtt, leaf
	Name  string  `json:"name,omitempty"` // what the client called itself
	CID   uint64  `json:"cid"`            // the server's number for it
	Ms    float64 `json:"ms"`             // from receiving the change to the close, in milliseconds
	Found string  `json:"found"`          // how: index, or the sweep that found it
}

// NodeProof is what one server can show for one version of one claim.
type NodeProof struct {
	Server   string   `json:"server"` // nats-0 …
	State    State    `json:"state"`
	Reason   string   `json:"reason,omitempty"`
	Revision uint64   `json:"revision"` // the version that the server holds, 0 for none
	Loaded   bool     `json:"loaded"`   // the server has the account in memory
	Closed   []Closed `json:"closed,omitempty"`
	Swept    bool     `json:"swept"`             // a complete sweep after the change found no connection that must not be
	Restart  bool     `json:"restart,omitempty"` // takes effect when this server restarts
	Ms       float64  `json:"ms"`                // from receiving the change to this state, in milliseconds
}
