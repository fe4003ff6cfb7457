package server

import (
	"context"
	"encoding/json"
	"net"
	"net/http"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/enroll"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/store"
)

// listenHTTP opens the HTTP listener that st plans, and records its address.
func (d *dev) listenHTTP(st *state) (net.Listener, error) {
	if st.HTTP == httpOff {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(st.HTTP)
	if err != nil {
		return nil, fault.New(fault.Usage, "--http %s: expected host:port, or off", st.HTTP).WithHint("accountd dev --http %s", defaultHTTP)
	}
	if !isLoopback(host) && !d.opts.InsecureHTTP {
		return nil, fault.New(fault.Usage, "--http %s: beyond this machine HTTP needs TLS, which accountd dev does not have", st.HTTP).
			ByRule("http-loopback").WithHint("listen on %s, or accept the risk with --insecure-http", defaultHTTP)
	}
	ln, err := net.Listen("tcp", st.HTTP)
	if err != nil {
		return nil, listenFault(err, "HTTP address "+st.HTTP, "choose another: accountd dev --http 127.0.0.1:PORT, or --http off")
	}
	st.HTTP = ln.Addr().String()
	return ln, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serveHTTP answers until ctx ends.
func (d *dev) serveHTTP(ctx context.Context) error {
	if d.web == nil {
		return nil
	}
	h := routes(d.notReady, d.metrics, d.service, d.enroll)
	return serveOn(ctx, d.web, nil, d.beside.handler(h), d.service.Ready, defaultLimits(), d.log)
}

// routes answers the probes and the metrics, and leaves the rest to the resolver
// and to the enrolment of devices, which may be nil.
// notReady returns why the service is not ready, by part; empty when it is.
func routes(notReady func(context.Context) map[string]string, m *metrics, service *resolver.Service, devices *enroll.Service) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"schema": api.Schema, "status": "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if reasons := notReady(r.Context()); len(reasons) > 0 {
			answer(w, http.StatusServiceUnavailable, map[string]any{"schema": api.Schema, "status": "not ready", "reasons": reasons})
			return
		}
		answer(w, http.StatusOK, map[string]any{"schema": api.Schema, "status": "ready"})
	})
	mux.Handle("GET /metrics", m.handler())
	service.Register(mux)
	if devices != nil {
		devices.Register(mux)
	}
	return mux
}

// notReady returns why the service is not ready, by part; empty when it is.
func (d *dev) notReady(ctx context.Context) map[string]string {
	reasons := map[string]string{}
	if !d.ready.Load() {
		reasons["accountd"] = "starting or stopping"
	}
	if err := d.store.View(ctx, func(r store.Reader) error { _, err := r.Head(); return err }); err != nil {
		reasons["store"] = "cannot be read"
		d.log.Error("read store", "error", err)
	}
	for _, m := range d.members {
		if st := m.Status(); !st.Healthy {
			reasons[st.Server] = st.Reason
		} else if err := m.answered(ctx); err != nil {
			reasons[st.Server] = err.Error()
		}
	}
	return reasons
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
