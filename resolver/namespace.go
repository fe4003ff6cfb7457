package resolver

import (
	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/accounts"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// namespaces knows the namespace of every stored account.
type namespaces struct {
	index
	taken accounts.Namespaces
}

// rival returns another account whose namespace meets space, "" without one. It
// must be asked before r writes.
func (n *namespaces) rival(r store.Reader, key, space string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	reset := func() { n.taken = accounts.Namespaces{} }
	if err := n.update(r, reset, func(rec store.Record) { n.taken.Set(rec.Key, namespaceOf(rec)) }); err != nil {
		return "", err
	}
	return n.taken.Rival(key, space), nil
}

// namespaceOf returns the namespace of a stored account, "" if it has none.
func namespaceOf(rec store.Record) string {
	if rec.JWT == "" || rec.Deleted {
		return ""
	}
	var ac jwt.AccountClaims
	if claims.Peek(rec.JWT, &ac) != nil { // it was checked when it was stored
		return ""
	}
	space, err := accounts.Namespace(&ac)
	if err != nil {
		return ""
	}
	return space
}

// claimed is what the items of one request share: the namespaces that earlier
// ones take, and the stock servers once one has asked for them.
type claimed struct {
	taken   accounts.Namespaces
	names   map[string]string // by key
	servers []StockServer
}

// checkNamespace: no account of another tenant has the namespace of a new or
// changed one, or one above or below it. What is stored already stays as it is.
func (s *Service) checkNamespace(r store.Reader, c *change, trust operator.Trust) error {
	if c.bootstrap || c.key == trust.SystemAccount {
		return nil
	}
	space, err := accounts.Namespace(c.ac)
	if c.oldAC != nil && !c.old.Deleted {
		if old, oldErr := accounts.Namespace(c.oldAC); old == space && (oldErr == nil) == (err == nil) {
			return nil
		}
	}
	if err != nil || space == "" {
		return err
	}
	rival, err := s.spaces.rival(r, c.key, space)
	if err != nil {
		return err
	}
	if rival != "" && rival != trust.SystemAccount {
		rec, err := r.Get(store.Account, rival)
		if err != nil {
			return err
		}
		return accounts.NamespaceTaken(c.name(), space, rec.Name, c.oldAC != nil)
	}
	if c.claimed == nil {
		return nil
	}
	if rival := c.claimed.taken.Rival(c.key, space); rival != "" {
		return accounts.NamespaceTaken(c.name(), space, c.claimed.names[rival], c.oldAC != nil)
	}
	c.claimed.taken.Set(c.key, space)
	c.claimed.names[c.key] = c.name()
	return nil
}
