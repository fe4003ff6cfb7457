package node

import (
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// Streams returns the names of the JetStream streams of an account that have a
// replica on this node, sorted.
func (n *Node) Streams(account string) ([]string, error) {
	acc := n.kernel.loaded(n.srv, account)
	if acc == nil || !acc.JetStreamEnabled() {
		return nil, nil // servers load every account that has streams when they start
	}
	info, err := n.srv.Jsz(&server.JSzOptions{Account: account, Streams: true})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, a := range info.AccountDetails {
		for _, s := range a.Streams {
			out = append(out, s.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}
