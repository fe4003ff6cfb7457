package enroll

import (
	"crypto/sha256"
	"sync"

	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/accounts/fleet"
)

// ruleClone marks what was given to a device whose key two seem to have.
const ruleClone = "clone"

// clones remembers of the devices that renewed last which credentials each showed
// and which it got. Whoever keeps what he gets shows the one or, if the answer was
// lost, the other; who shows an older one is a second holder of the key, or was
// brought back from a copy. What is newer comes from another process.
type clones struct {
	mu    sync.Mutex
	known lately[fleet.Mark, lineage]
}

type lineage struct {
	shown, got [8]byte
	issued     int64 // Unix seconds, of what it got
}

// renewed notes a renewal and reports whether two seem to have the key.
func (c *clones) renewed(key, shown string, says bulk.Issued, got string, issued int64) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id, mark := fleet.MarkKey(key), markJWT(shown)
	last, known := c.known.get(id)
	c.known.put(id, lineage{shown: mark, got: markJWT(got), issued: issued})
	return known && mark != last.shown && mark != last.got && says.IssuedAt < last.issued
}

func markJWT(token string) (m [8]byte) {
	sum := sha256.Sum256([]byte(token))
	copy(m[:], sum[:])
	return m
}
