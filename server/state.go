package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"

	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/server/node"
)

// What the operator's account server URL is of.
const (
	toolsNATS = "nats"
	toolsHTTP = "http"
)

// stateSchema is the version of state.json that this version reads and writes.
const stateSchema = 1

// state is what accountd dev remembers between starts.
type state struct {
	Schema   int         `json:"schema"`
	Dir      string      `json:"dir"`      // the folder, absolute, as of the last start
	Operator string      `json:"operator"` // public key
	System   string      `json:"system"`   // public key of the system account
	Founded  bool        `json:"founded"`  // the claims are in the store: it must exist from now on
	Host     string      `json:"host"`     // address of the nodes' listeners
	HTTP     string      `json:"http"`     // address of the HTTP listener, "off" for none
	Store    string      `json:"store"`    // bolt:PATH or postgres://…
	Tools    string      `json:"tools"`    // what the operator's account server URL is of: nats or http
	URLs     []string    `json:"urls"`     // as last written into the operator's JWT: the nodes', then the account server's
	Socket   string      `json:"socket"`   // control socket, absolute
	Nodes    []nodeState `json:"nodes"`
}

// nodeState is a node's name and the ports of its listeners.
type nodeState struct {
	Name      string `json:"name"`
	Client    int    `json:"client"`
	Cluster   int    `json:"cluster"`
	Leaf      int    `json:"leaf"`
	WebSocket int    `json:"websocket"`
	MQTT      int    `json:"mqtt"`
}

func (n nodeState) ports() node.Ports {
	return node.Ports{Client: n.Client, Cluster: n.Cluster, Leaf: n.Leaf, WebSocket: n.WebSocket, MQTT: n.MQTT}
}

// each calls f for every listener of the nodes and returns its first error.
func (st state) each(f func(node, kind string, port int) error) error {
	for _, n := range st.Nodes {
		for _, l := range []struct {
			kind string
			port int
		}{{"client", n.Client}, {"cluster", n.Cluster}, {"leaf", n.Leaf}, {"websocket", n.WebSocket}, {"mqtt", n.MQTT}} {
			if l.kind == "cluster" && len(st.Nodes) == 1 {
				continue // it has none
			}
			if err := f(n.Name, l.kind, l.port); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadState reads state.json; fs.ErrNotExist without one, fault.Invalid if it
// is damaged or of a newer version.
func (l layout) loadState() (state, error) {
	var st state
	if _, err := os.Lstat(l.state()); errors.Is(err, fs.ErrNotExist) {
		return st, err
	}
	raw, err := readOwn(l.state())
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(raw, &st); err != nil {
		return st, damagedFile(l.state(), err)
	}
	switch {
	case st.Schema > stateSchema:
		return st, fault.New(fault.Invalid, "%s was written by a newer version of accountd", l.state()).
			About("file", l.state()).ByRule("schema").WithHint("use that version, or a later one")
	case st.Schema < 1 || len(st.Nodes) == 0 || st.Operator == "" || st.System == "":
		return st, damagedFile(l.state(), errors.New("it is incomplete"))
	}
	return st, nil
}

// saveState writes state.json durably.
func (l layout) saveState(st state) error {
	st.Schema, st.Dir = stateSchema, string(l)
	return l.writeState(st)
}

func (l layout) writeState(st state) error {
	raw, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fault.New(fault.Internal, "encode state: %w", err)
	}
	if err := durable.WriteFile(l.state(), append(raw, '\n'), 0o600); err != nil {
		return unwritable(l.state(), err)
	}
	return nil
}

// dialHost is the address under which clients on this machine reach a listener
// on host.
func dialHost(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}

// address is host:port as clients dial it.
func (st state) address(port int) string {
	return net.JoinHostPort(dialHost(st.Host), strconv.Itoa(port))
}

// urls returns scheme://host:port of one port of every node.
func (st state) urls(scheme string, port func(nodeState) int) []string {
	var out []string
	for _, n := range st.Nodes {
		out = append(out, fmt.Sprintf("%s://%s", scheme, st.address(port(n))))
	}
	return out
}

func (st state) clientURLs() []string {
	return st.urls("nats", func(n nodeState) int { return n.Client })
}

// accountServer is the URL under which tools find the service.
func (st state) accountServer() string {
	if st.Tools == toolsHTTP {
		return "http://" + st.HTTP + "/jwt/v1"
	}
	return st.clientURLs()[0]
}

// written are the URLs that the operator's JWT holds.
func (st state) written() []string { return append(st.clientURLs(), st.accountServer()) }

// nodeConfig says how to run the i-th node.
func (st state) nodeConfig(l layout, i int) node.Config {
	self := st.Nodes[i]
	cfg := node.Config{
		Name: self.Name, Cluster: devOperator, Host: st.Host, Ports: self.ports(),
		Dir: l.node(self.Name), Domain: jsDomain,
	}
	if len(st.Nodes) == 1 {
		cfg.Ports.Cluster = 0
		return cfg
	}
	for j, other := range st.Nodes {
		if j != i {
			cfg.Routes = append(cfg.Routes, "nats-route://"+st.address(other.Cluster))
		}
	}
	return cfg
}
