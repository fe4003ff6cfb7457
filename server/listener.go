package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// httpLimits bound what a listener gives to whom it does not know.
type httpLimits struct {
	header  time.Duration // until a request's header is there
	request time.Duration // until the request is there, and again until its answer is
	idle    time.Duration // between two requests on one connection
	conns   int           // connections at a time
}

func defaultLimits() httpLimits {
	return httpLimits{header: 5 * time.Second, request: 30 * time.Second, idle: time.Minute, conns: 1024}
}

const (
	headerBytes = 16 << 10
	closeTime   = time.Second // for requests in flight at the end
	refuseTime  = time.Second // for a client that is one too many to read why
	refuseMax   = 64          // clients at a time that are told
)

// serveOn answers on ln until ctx ends, within limits; with TLS if secure is not
// nil. Without it, what lookups knows is answered before h is asked.
func serveOn(ctx context.Context, ln net.Listener, secure *tls.Config, h http.Handler, lookups ready, limits httpLimits, log *slog.Logger) error {
	b := &bounded{Listener: ln, plain: secure == nil, max: limits.conns, states: map[net.Conn]http.ConnState{}, told: make(chan struct{}, refuseMax)}
	srv := &http.Server{
		Handler:           plainPaths(h),
		ReadHeaderTimeout: limits.header, ReadTimeout: limits.request, WriteTimeout: limits.request, IdleTimeout: limits.idle,
		MaxHeaderBytes: headerBytes,
		ConnState:      b.note,
		TLSConfig:      secure,
		Protocols:      new(http.Protocols), // one request at a time on a connection, so that the bound holds
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	srv.Protocols.SetHTTP1(true)
	wait := b.refusals.Wait
	serve := func() error { return srv.ServeTLS(b, "", "") }
	if secure == nil {
		q := newQuick(context.WithoutCancel(ctx), b, lookups, limits)
		serve = func() error { return srv.Serve(q) }
		wait = func() {
			q.busy.Wait()
			b.refusals.Wait()
		}
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if srv.Shutdown(end) != nil {
			_ = srv.Close() // requests in flight are cut
		}
	})
	err := serve()
	if !stop() {
		<-closed // what answers requests is needed until then
	}
	wait()
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// plainPaths refuses paths that no route has and that programs read in
// different ways: encoded, with empty, "." or ".." parts, or with other
// characters than names have.
func plainPaths(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		odd := strings.ContainsFunc(p, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("/-_.", c)
		})
		if odd || r.URL.RawPath != "" || path.Clean("/"+p) != "/"+strings.Trim(p, "/") || strings.HasPrefix(p, "//") || strings.HasSuffix(p, "//") {
			http.Error(w, "the path is not a plain one (malformed)", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bounded is a listener with a bound on the connections at a time. One too many
// takes the place of one that is idle, or is told and closed.
type bounded struct {
	net.Listener
	plain    bool // without TLS
	max      int
	refusals sync.WaitGroup
	told     chan struct{} // holds one for each refusal in hand

	mu     sync.Mutex
	states map[net.Conn]http.ConnState
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.admit(conn) {
			return conn, nil
		}
		if !b.plain { // it would have to be told in TLS
			_ = conn.Close()
			continue
		}
		select {
		case b.told <- struct{}{}:
			b.refusals.Go(func() {
				refuse(conn)
				<-b.told
			})
		default:
			_ = conn.Close()
		}
	}
}

func (b *bounded) admit(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.states) >= b.max && !b.closeIdle() {
		return false
	}
	b.states[conn] = http.StateNew
	return true
}

// closeIdle closes a connection between two requests. b.mu is held.
func (b *bounded) closeIdle() bool {
	for conn, state := range b.states {
		if state == http.StateIdle {
			delete(b.states, conn)
			_ = conn.Close() // the server finds it closed
			return true
		}
	}
	return false
}

// note keeps the state of a connection, as http.Server reports it.
func (b *bounded) note(conn net.Conn, state http.ConnState) {
	switch c := conn.(type) {
	case *tls.Conn:
		conn = c.NetConn()
	case *begun:
		conn = c.TCPConn
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ours := b.states[conn]; !ours {
		return // it was closed to make room
	}
	if b.states[conn] = state; state == http.StateClosed || state == http.StateHijacked {
		delete(b.states, conn)
	}
}

// refuse says that there are too many connections. What the client has sent is
// read, since it would lose the answer otherwise.
func refuse(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(refuseTime)) // a connection without one is closed all the same
	const why = "too many connections\n"
	_, err := fmt.Fprintf(conn, "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s", len(why), why)
	if half, ok := conn.(*net.TCPConn); ok && err == nil && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, headerBytes)
	}
}
