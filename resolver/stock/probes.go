package stock

import (
	"net/http"
	"path"
	"sync"
)

// Probes recognise servers that get their accounts from our HTTP address: they
// ask it for accounts that exist nowhere and that only they were asked about.
// The zero value is ready. It is made before the Fleet, since servers ask while
// the Fleet starts.
type Probes struct {
	mu   sync.Mutex
	open map[string]chan struct{}
}

func (p *Probes) add(key string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[string]chan struct{}{}
	}
	p.open[key] = make(chan struct{}, 1)
	return p.open[key]
}

func (p *Probes) remove(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, key)
}

func (p *Probes) see(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.open[key] <- struct{}{}: // nil for any other account
	default:
	}
}

// Handler passes all requests to next, and learns from them who asks. The
// account server's address is to be served through it.
func (p *Probes) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.see(path.Base(r.URL.Path))
		next.ServeHTTP(w, r)
	})
}
