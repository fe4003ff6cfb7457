package node

import (
	"context"
	"time"
)

// Campaign waits until all routes are up, and makes the node stand for leader
// of JetStream's meta group if it knows none. A cluster that restarts as a
// whole otherwise waits for the first of its election timers, 4 to 9 s; one
// node is to call it.
func (n *Node) Campaign(ctx context.Context) error {
	for n.srv.NumRemotes() < len(n.cfg.Routes) {
		if !pause(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
	js := jetStreamOf(n.srv)
	if js == nil {
		return nil
	}
	if meta := metaGroup(js); meta != nil && meta.GroupLeader() == "" {
		_ = meta.Campaign() // the only failure is that it leads already
	}
	return nil
}
