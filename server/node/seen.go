package node

import (
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
)

// Seen tells which of the JWTs asked for live connections of this node use.
func (n *Node) Seen(req api.SeenRequest) api.SeenReply {
	reply := api.SeenReply{Schema: api.Schema}
	acc := n.kernel.loaded(n.srv, req.Account)
	if acc == nil {
		return reply
	}
	n.kernel.peers(acc, func(p peer) {
		if p.user == nil {
			return
		}
		s, ok := n.kernel.session(p)
		if !ok {
			return
		}
		jwt := api.SeenJWT{Key: p.user.Nkey, Issuer: p.user.SigningKey, IssuedAt: p.user.Issued}
		if len(req.Names) > 0 { // only the JWT itself has the name
			_ = claims.Peek(s.jwt, &jwt) // the server has read it, too
		}
		reply.Note(req, jwt)
	})
	return reply
}
