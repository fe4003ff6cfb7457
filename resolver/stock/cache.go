package stock

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/fault"
)

// files returns the accounts that a cache server has in its folder. It refuses
// updates of those that it has not loaded, and would load the old version.
func (f *Fleet) files(ctx context.Context, who info) (map[string]bool, error) {
	out := map[string]bool{}
	whole, err := f.ask.gather(ctx, subjectList, nil, listTime*f.cfg.Answer, func() <-chan struct{} { return nil }, func(m *nats.Msg) bool {
		var a answer[[]string]
		if m == nil || json.Unmarshal(m.Data, &a) != nil || a.Server.ID != who.ID {
			return false
		}
		for _, key := range a.Data {
			out[key] = true
		}
		return true
	})
	if err == nil && !whole {
		err = fault.New(fault.Unavailable, "server %s does not list its accounts", who.Name)
	}
	return out, err
}

// listTime is how many times the usual patience a list may take: a server reads
// every file for it.
const listTime = time.Duration(6)

// wakeCaches makes cache servers load the account where they have an old file
// of it: only then do they take an update.
func (r *round) wakeCaches(ctx context.Context) {
	for id := range r.runs(func(v *verdict) bool { return !r.rec.Deleted && r.f.hasFile(v.server, r.rec.Key) }) {
		body := fmt.Appendf(nil, `{"acc":%q,"limit":1}`, r.rec.Key)
		// Without an answer it stays unloaded, and the attempt is repeated.
		_, _ = r.f.ask.one(ctx, fmt.Sprintf(subjectServer, id, "CONNZ"), body, r.f.cfg.Answer)
	}
}

// hasFile reports whether a cache server may have an old version in its folder.
func (f *Fleet) hasFile(s *Server, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.kind == Cache && s.files[key]
}
