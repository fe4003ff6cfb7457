package node

import (
	"github.com/nats-io/nats-server/v2/server"

	"github.com/accountd/accountd/api"
)

// JetStream returns what an account has in JetStream as this node knows it: the
// streams are those with a replica here.
func (n *Node) JetStream(account string) (use api.JetStreamUse, err error) {
	acc := n.kernel.loaded(n.srv, account)
	if acc == nil || !acc.JetStreamEnabled() {
		return use, nil // servers load every account that has streams when they start
	}
	info, err := n.srv.Jsz(&server.JSzOptions{Account: account, Streams: true})
	if err != nil {
		return use, err
	}
	for _, a := range info.AccountDetails {
		of := api.JetStreamUse{Memory: a.Memory, Disk: a.Store}
		for _, s := range a.Streams {
			of.Streams = append(of.Streams, s.Name)
		}
		use.Merge(of)
	}
	return use, nil
}
