package node

import "github.com/accountd/accountd/api"

// Seen tells how many live connections of this node belong to user, "*" for all
// users of the account, and the latest issue time among their JWTs.
func (n *Node) Seen(account, user string) api.SeenReply {
	reply := api.SeenReply{Schema: api.Schema}
	acc := n.kernel.loaded(n.srv, account)
	if acc == nil {
		return reply
	}
	n.kernel.peers(acc, func(p peer) {
		if p.user == nil || user != "*" && p.user.Nkey != user {
			return
		}
		if _, ok := n.kernel.session(p); ok {
			reply.Connections++
			reply.IssuedAt = max(reply.IssuedAt, p.user.Issued)
		}
	})
	return reply
}
