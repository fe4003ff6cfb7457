package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/accountd/accountd/fault"
)

// Bounds and steps of ports in accountd dev: node i has client P+i, cluster
// P+10+i, leaf P+20+i, WebSocket P+30+i and MQTT P+40+i.
const (
	maxNodes     = 10
	portSpan     = 40 + maxNodes // from P to behind the last port
	defaultNodes = 3
	defaultPort  = 4222
	defaultHost  = "127.0.0.1"
	defaultHTTP  = "127.0.0.1:9222"
	httpOff      = "off"
)

// Free ports are sought below those that systems hand out to outgoing
// connections, which would take them between two starts.
const (
	freeFrom  = 10240
	freeUntil = 32000
	freeTries = 50
)

// plan fills in what opts asks for over what st recorded, and picks the free
// ports. It is the only place that decides ports.
func (st *state) plan(opts DevOptions) error {
	count, err := st.count(opts)
	if err != nil {
		return err
	}
	if err := errors.Join(st.planStore(opts), st.planTools(opts)); err != nil {
		return err
	}
	if opts.Host != "" {
		st.Host = opts.Host
	}
	if st.Host == "" {
		st.Host = defaultHost
	}
	recorded := len(st.Nodes) > 0
	switch {
	case opts.Port == FreePorts:
		return st.planFree(opts, count)
	case opts.Port == 0 && recorded:
	case opts.Port == 0:
		st.Nodes = portsFrom(defaultPort, count)
	default:
		if last := opts.Port + portSpan; opts.Port < 0 || last > 65535 {
			return fault.New(fault.Usage, "--port %d: the nodes need ports up to %d", opts.Port, last).
				WithHint("choose a port from 1 to %d, or 0 for free ones", 65535-portSpan)
		}
		st.Nodes = portsFrom(opts.Port, count)
	}
	st.HTTP = firstSet(opts.HTTP, st.HTTP, defaultHTTP)
	return st.apart()
}

// apart refuses the HTTP address that a node needs.
func (st *state) apart() error {
	host, port, err := net.SplitHostPort(st.HTTP)
	if err != nil || host != st.Host {
		return nil
	}
	return st.each(func(node, kind string, p int) error {
		if strconv.Itoa(p) != port {
			return nil
		}
		return fault.New(fault.Usage, "--http %s: that is the %s port of %s", st.HTTP, kind, node).
			WithHint("choose another: accountd dev --http 127.0.0.1:PORT, or --http off")
	})
}

// planStore fixes the store at the first start: another one would not know what
// is revoked.
func (st *state) planStore(opts DevOptions) error {
	if opts.Store != "" {
		if err := checkStore(opts.Store); err != nil {
			return err
		}
	}
	own := boltScheme + layout(opts.Dir).store()
	switch {
	case opts.Store == "" && (st.Store == "" || strings.HasPrefix(st.Store, boltScheme+st.Dir+"/")):
		st.Store = own // also after the folder was moved
	case opts.Store == "" || opts.Store == st.Store:
	case st.Founded:
		return fault.New(fault.Usage, "--store %s: this folder's operator has its claims in %s", opts.Store, firstSet(st.Store, own)).
			WithHint("leave --store out, or use another folder: accountd dev --dir DIR")
	default:
		st.Store = opts.Store
	}
	return nil
}

// planTools says how tools find the service; managed operators need HTTP.
func (st *state) planTools(opts DevOptions) error {
	st.Tools = firstSet(opts.AccountServer, st.Tools, toolsNATS)
	switch {
	case st.Tools != toolsNATS && st.Tools != toolsHTTP:
		return fault.New(fault.Usage, "--account-server %s: expected nats or http", st.Tools).WithHint("accountd dev --account-server http")
	case st.Tools == toolsHTTP && firstSet(opts.HTTP, st.HTTP) == httpOff:
		return fault.New(fault.Usage, "--account-server http needs the HTTP listener, which is off").WithHint("accountd dev --http %s", defaultHTTP)
	}
	return nil
}

// planFree keeps the recorded ports if they are all free, and else finds
// others, the HTTP port among them unless the person named one.
func (st *state) planFree(opts DevOptions, count int) error {
	try := func(next state) error {
		if opts.HTTP != "" {
			next.HTTP = opts.HTTP
			return errors.Join(next.taken(), next.apart())
		}
		return errors.Join(next.taken(), next.httpTaken())
	}
	err := errors.New("nothing recorded")
	if len(st.Nodes) > 0 {
		err = try(*st)
	}
	for range freeTries {
		if err == nil {
			break
		}
		first := freeFrom + rand.IntN(freeUntil-freeFrom-portSpan)
		st.Nodes = portsFrom(first, count)
		if st.HTTP != httpOff {
			st.HTTP = net.JoinHostPort("127.0.0.1", strconv.Itoa(first+portSpan))
		}
		err = try(*st)
	}
	st.HTTP = firstSet(opts.HTTP, st.HTTP)
	return err
}

func firstSet(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}

// count is the number of nodes, which is fixed at the first start.
func (st *state) count(opts DevOptions) (int, error) {
	want := opts.Nodes
	switch have := len(st.Nodes); {
	case want < 0 || want > maxNodes:
		return 0, fault.New(fault.Usage, "--nodes %d: accountd dev runs 1 to %d nodes", want, maxNodes).
			WithHint("accountd dev --nodes %d", defaultNodes)
	case want == 0 && have == 0:
		return defaultNodes, nil
	case want == 0:
		return have, nil
	case have != 0 && want != have:
		return 0, fault.New(fault.Usage, "--nodes %d: this folder holds a cluster of %d, whose streams depend on that number", want, have).
			WithHint("leave --nodes out, or start another cluster: accountd dev --nodes %d --dir OTHER --port 0", want)
	}
	return want, nil
}

// portsFrom lays the ports of count nodes out from p.
func portsFrom(p, count int) []nodeState {
	nodes := make([]nodeState, count)
	for i := range nodes {
		nodes[i] = nodeState{
			Name: fmt.Sprintf("nats-%d", i), Client: p + i, Cluster: p + 10 + i, Leaf: p + 20 + i, WebSocket: p + 30 + i, MQTT: p + 40 + i,
		}
	}
	return nodes
}

// httpTaken returns why the HTTP address cannot be listened on.
func (st *state) httpTaken() error {
	if st.HTTP == httpOff {
		return nil
	}
	ln, err := net.Listen("tcp", st.HTTP)
	if err == nil {
		err = ln.Close()
	}
	return err
}

// taken returns why not all ports can be listened on, nil if they can.
func (st *state) taken() error {
	return st.each(func(node, kind string, port int) error { return probe(st.Host, node, kind, port) })
}

// probe opens and closes one listener.
func probe(host, name, kind string, port int) error {
	ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err == nil {
		return ln.Close()
	}
	return listenFault(err, fmt.Sprintf("%s port %d of %s", kind, port, name), "start with others: accountd dev --port %d, or --port 0 for free ones", max(port+100, defaultPort+1000))
}

// listenFault explains why what cannot be listened on.
func listenFault(err error, what, hint string, args ...any) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.New(fault.Unavailable, "%s is in use by another program", what).About("port", what).ByRule("port-free").WithHint(hint, args...)
	case errors.Is(err, syscall.EACCES):
		return fault.New(fault.Denied, "%s needs rights that this user lacks", what).About("port", what).ByRule("port-free").WithHint(hint, args...)
	}
	return fault.New(fault.Unavailable, "%s cannot be listened on: %w", what, err).About("port", what).ByRule("port-free").
		WithHint("check --host and --http")
}
