package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/store"
)

// readyTime bounds how long the cluster may take to form.
const readyTime = 60 * time.Second

// Ready is the content of the file of --ready-file: one JSON object.
type Ready struct {
	Schema   int         `json:"schema"`
	PID      int         `json:"pid"`
	Dir      string      `json:"dir"`
	Env      string      `json:"env"`      // file to source
	Operator string      `json:"operator"` // public key
	HTTP     string      `json:"http"`     // URL, "" for none
	Creds    string      `json:"sys_creds"`
	Nodes    []ReadyNode `json:"nodes"`
	Ms       float64     `json:"ms"` // from the start to ready, in milliseconds
}

// ReadyNode are the addresses of one node.
type ReadyNode struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	Leaf string `json:"leaf"`
	WS   string `json:"ws"`
	MQTT string `json:"mqtt"` // host:port
}

// becomeReady waits until the nodes are healthy and the claims in force, says
// so, and keeps the ready file until ctx ends.
func (d *dev) becomeReady(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := d.awaitAll(wait); err != nil {
		switch {
		case ctx.Err() != nil:
			return nil
		case wait.Err() == nil:
			return err
		}
		return fault.New(fault.Unavailable, "not ready after %s: %w", readyTime, err).
			WithHint("the reasons by node: curl %s/readyz", d.httpURL())
	}
	if err := d.moveOperator(wait); err != nil {
		return err
	}
	d.ready.Store(true)
	defer d.ready.Store(false)
	took := d.opts.Now().Sub(d.began)
	if err := d.writeReady(took); err != nil {
		return err
	}
	d.greet(took, d.hasAccounts(ctx))
	<-ctx.Done()
	return readyFile(d.opts.ReadyFile).remove()
}

func (d *dev) writeReady(took time.Duration) error {
	r := Ready{
		Schema: api.Schema, PID: os.Getpid(), Dir: string(d.folder.layout), Env: d.folder.env(),
		Operator: d.state.Operator, HTTP: d.httpURL(), Ms: float64(took.Microseconds()) / 1000,
		Creds: filepath.Join(d.folder.dirs().Keys, "creds", devOperator, systemName, systemUser+".creds"),
	}
	for _, n := range d.state.Nodes {
		r.Nodes = append(r.Nodes, ReadyNode{
			Name: n.Name, URL: "nats://" + d.state.address(n.Client), Leaf: "nats-leaf://" + d.state.address(n.Leaf),
			WS: "ws://" + d.state.address(n.WebSocket), MQTT: d.state.address(n.MQTT),
		})
	}
	return readyFile(d.opts.ReadyFile).write(r)
}

// httpURL is the base of the HTTP addresses, "" without HTTP.
func (d *dev) httpURL() string {
	if d.web == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(d.state.HTTP)
	if err != nil {
		return "http://" + d.state.HTTP
	}
	return "http://" + net.JoinHostPort(dialHost(host), port)
}

// hasAccounts reports whether there is an account beside the system account.
func (d *dev) hasAccounts(ctx context.Context) (has bool) {
	_ = d.store.View(ctx, func(r store.Reader) error { // without an answer, the greeting is that of the first start
		return r.Scan(store.Account, "", func(rec store.Record) bool {
			has = !rec.Deleted && rec.Key != d.state.System
			return !has
		})
	})
	return has
}

// greet prints the addresses and what to type next.
func (d *dev) greet(took time.Duration, again bool) {
	var b strings.Builder
	nodes := "nodes"
	if len(d.state.Nodes) == 1 {
		nodes = "node"
	}
	fmt.Fprintf(&b, "accountd dev: operator %s, %d %s, store %s\n", devOperator, len(d.state.Nodes), nodes, d.showStore())
	for _, n := range d.state.Nodes {
		fmt.Fprintf(&b, "  %s  nats://%s  leaf %d  ws %d  mqtt %d   healthy\n", n.Name, d.state.address(n.Client), n.Leaf, n.WebSocket, n.MQTT)
	}
	if d.web != nil {
		fmt.Fprintf(&b, "  http    %s\n", d.httpURL())
	}
	fmt.Fprintf(&b, "ready in %.1f s. In another terminal:\n", took.Seconds())
	next := "nsc add account qcon\n  nsc add user leaf1 -a qcon"
	if again {
		next = "nsc status\n  nsc list accounts"
	}
	fmt.Fprintf(&b, "  . %s\n  %s\n", quote(d.show("env")), next)
	_, _ = fmt.Fprint(d.opts.Out, b.String()) // a closed terminal does not stop the service
}

// showStore names the store, the one in the folder as the person named that.
func (d *dev) showStore() string {
	path, isFile := strings.CutPrefix(d.state.Store, boltScheme)
	if isFile && path == d.folder.store() {
		return d.show(filepath.Base(path))
	}
	return d.state.Store
}

// show names a file in the folder as the person named the folder.
func (d *dev) show(name string) string {
	return strings.TrimSuffix(d.opts.Show, "/") + "/" + name
}
