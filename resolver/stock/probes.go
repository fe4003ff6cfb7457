package stock

import (
	"net/http"
	"path"
	"sync"
)

// probes are accounts that exist nowhere: who asks our HTTP address for one has
// heard of it from us. The zero value is ready.
type probes struct {
	mu   sync.Mutex
	open map[string]chan struct{}
}

func (p *probes) add(key string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[string]chan struct{}{}
	}
	p.open[key] = make(chan struct{}, 1)
	return p.open[key]
}

func (p *probes) remove(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, key)
}

func (p *probes) see(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.open[key] <- struct{}{}: // nil for any other account
	default:
	}
}

// Handler passes all requests to next, and learns from them which servers get
// their accounts over HTTP. Servers with resolver: URL(...) are recognised only
// if the account server's address is served through it.
func (f *Fleet) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.probes.see(path.Base(r.URL.Path))
		next.ServeHTTP(w, r)
	})
}
