package api

import "slices"

// SeenRequest asks which JWTs live connections of an account use: those of a
// user, of the users of some names, or those that some keys signed.
type SeenRequest struct {
	Account string   `json:"account"`           // public key
	User    string   `json:"user,omitempty"`    // public key, or * for all
	Names   []string `json:"names,omitempty"`   // as the JWTs say, at most MaxSeenNames
	Issuers []string `json:"issuers,omitempty"` // public keys
}

// MaxSeenNames bounds the names of a request, and the JWTs of an answer.
const MaxSeenNames = 1000

// SeenReply answers SeenRequest.
type SeenReply struct {
	Schema      int            `json:"schema"`
	IssuedAt    int64          `json:"iat"` // the latest, Unix seconds, 0 for none
	Connections int            `json:"connections"`
	Named       []SeenJWT      `json:"named,omitempty"`   // those of the names asked for
	Servers     map[string]int `json:"servers,omitempty"` // connections by server
	Error       *Error         `json:"error,omitempty"`
}

// SeenJWT is the JWT of a live connection.
type SeenJWT struct {
	Name     string `json:"name"`
	Key      string `json:"sub"`
	Issuer   string `json:"iss"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp,omitempty"`
}

// Note counts a connection if the request asks for its JWT.
func (r *SeenReply) Note(req SeenRequest, s SeenJWT) {
	named := s.Name != "" && slices.Contains(req.Names, s.Name)
	if !named && req.User != "*" && req.User != s.Key && !slices.Contains(req.Issuers, s.Issuer) {
		return
	}
	r.Connections++
	r.IssuedAt = max(r.IssuedAt, s.IssuedAt)
	if named && len(r.Named) < MaxSeenNames && !slices.Contains(r.Named, s) {
		r.Named = append(r.Named, s)
	}
}

// Merge adds what another server saw.
func (r *SeenReply) Merge(server string, o SeenReply) {
	r.IssuedAt = max(r.IssuedAt, o.IssuedAt)
	r.Connections += o.Connections
	for _, s := range o.Named {
		if len(r.Named) < MaxSeenNames && !slices.Contains(r.Named, s) {
			r.Named = append(r.Named, s)
		}
	}
	if o.Connections == 0 {
		return
	}
	if r.Servers == nil {
		r.Servers = map[string]int{}
	}
	r.Servers[server] += o.Connections
}
