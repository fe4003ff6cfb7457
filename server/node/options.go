package node

import (
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/accountd/accountd/fault"
)

// Ports are the listeners of a node. 0 leaves a listener out (the client
// listener is always there), -1 picks a free port.
type Ports struct {
	Client, Cluster, Leaf, WebSocket, MQTT int
}

// Config says how to run a node. Name, Dir and Source are required.
type Config struct {
	Name    string   // the server's name, unique in the cluster: nats-0 …
	Cluster string   // name of the cluster; used only with Routes
	Host    string   // address of all listeners, 127.0.0.1 if empty
	Ports   Ports    // Ports.Cluster must be fixed when there are Routes
	Routes  []string // nats-route://host:port of the other nodes; none: a single node
	Dir     string   // the node's own folder: claims.db and JetStream data
	Domain  string   // JetStream domain, "" for none

	Operator string // operator JWT for a first start without a reachable Source
	Source   Source

	MaxMemory int64 // JetStream memory in bytes, 256 MiB if 0
	MaxStore  int64 // JetStream disk in bytes, 10 GiB if 0

	CatchUp   time.Duration // how long Start waits for an answer of the Source, 2 s if 0
	Reconcile time.Duration // between two comparisons of all loaded accounts, 30 s if 0

	Logger *slog.Logger     // discards if nil
	Now    func() time.Time // time.Now if nil
}

const (
	lameDuck      = 3 * time.Second
	lameDuckGrace = time.Second
	mebibyte      = 1 << 20
)

// withDefaults checks the configuration and fills what was left out.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Name == "" || c.Dir == "" || c.Source == nil:
		return c, fault.New(fault.Internal, "node needs a name, a folder and a source")
	case len(c.Routes) > 0 && (c.Ports.Cluster <= 0 || c.Cluster == ""):
		return c, fault.New(fault.Invalid, "node %s has routes but no cluster name and port", c.Name).About("node", c.Name)
	}
	set(&c.Host, "127.0.0.1")
	set(&c.Ports.Client, -1)
	set(&c.MaxMemory, 256*mebibyte)
	set(&c.MaxStore, 10*1024*mebibyte)
	set(&c.CatchUp, 2*time.Second)
	set(&c.Reconcile, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func set[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// streams is the folder of the JetStream data.
func (c Config) streams() string { return filepath.Join(c.Dir, "jetstream") }

// serverOptions makes fresh options: a server keeps and changes what it is given.
func (c Config) serverOptions(op *jwt.OperatorClaims, res *resolver) (*server.Options, error) {
	o := &server.Options{
		ServerName: c.Name,
		Host:       c.Host,
		Port:       c.Ports.Client,
		NoSigs:     true,

		TrustedOperators: []*jwt.OperatorClaims{op},
		SystemAccount:    op.SystemAccount,
		AccountResolver:  res,

		JetStream:          true,
		JetStreamDomain:    c.Domain,
		JetStreamMaxMemory: c.MaxMemory,
		JetStreamMaxStore:  c.MaxStore,
		StoreDir:           c.streams(),

		LeafNode:  server.LeafNodeOpts{Host: c.Host, Port: c.Ports.Leaf},
		Websocket: server.WebsocketOpts{Host: c.Host, Port: c.Ports.WebSocket, NoTLS: true},
		MQTT:      server.MQTTOpts{Host: c.Host, Port: c.Ports.MQTT},

		LameDuckDuration:    lameDuck,
		LameDuckGracePeriod: lameDuckGrace,
	}
	if len(c.Routes) == 0 {
		return o, nil
	}
	o.Cluster = server.ClusterOpts{Name: c.Cluster, Host: c.Host, Port: c.Ports.Cluster}
	for _, route := range c.Routes {
		u, err := url.Parse(route)
		if err != nil {
			return nil, fault.New(fault.Invalid, "node %s: route: %w", c.Name, err).About("node", c.Name)
		}
		o.Routes = append(o.Routes, u)
	}
	return o, nil
}

// portsOf returns the ports that a server listens on; it writes the ones that
// it picked back into its options.
func portsOf(o *server.Options) Ports {
	return Ports{
		Client:    o.Port,
		Cluster:   o.Cluster.Port,
		Leaf:      o.LeafNode.Port,
		WebSocket: o.Websocket.Port,
		MQTT:      o.MQTT.Port,
	}
}

// listenError explains a listener that could not be opened.
func (c Config) listenError(msg string) error {
	p := c.Ports
	return fault.New(fault.Unavailable, "node %s: %s", c.Name, msg).About("node", c.Name).
		WithHint("%s", fmt.Sprintf("free the port, or start with others (client %d, cluster %d, leaf %d, websocket %d, mqtt %d)",
			p.Client, p.Cluster, p.Leaf, p.WebSocket, p.MQTT))
}
