package server

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// ready returns the answer to a plain GET of the account key, as
// resolver.Service.Ready does.
type ready func(ctx context.Context, key string) (head, body []byte)

const (
	quickPath   = "/jwt/v1/accounts/"
	quickKey    = 56       // characters of an account's key
	quickBytes  = 4 << 10  // that are looked at for plain requests
	quickAnswer = 64 << 10 // longest answer that is given here
)

// quick is a listener that answers plain lookups of accounts itself, without
// net/http, which costs more than the lookup. A connection goes to who accepts
// with the first bytes that are anything else, however little, and stays there.
type quick struct {
	*bounded
	ready  ready
	limits httpLimits

	ctx    context.Context // ends when it is closed
	end    context.CancelFunc
	others chan accepted
	busy   sync.WaitGroup // all goroutines
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// newQuick begins to accept; Close ends that.
func newQuick(ctx context.Context, b *bounded, answer ready, limits httpLimits) *quick {
	q := &quick{bounded: b, ready: answer, limits: limits, others: make(chan accepted)}
	q.ctx, q.end = context.WithCancel(ctx)
	q.busy.Go(q.run)
	return q
}

func (q *quick) run() {
	for q.ctx.Err() == nil {
		conn, err := q.bounded.Accept()
		if err == nil {
			q.busy.Go(func() { q.serve(conn) })
			continue
		}
		select {
		case q.others <- accepted{err: err}: // who accepts knows what to do
		case <-q.ctx.Done():
		}
	}
}

// Accept implements net.Listener.
func (q *quick) Accept() (net.Conn, error) {
	select {
	case a := <-q.others:
		return a.conn, a.err
	case <-q.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections that were not handed on are closed,
// once what they have asked for is answered.
func (q *quick) Close() error {
	q.end()
	return q.bounded.Close()
}

// serve answers on conn while it can, and hands it on, or closes it.
func (q *quick) serve(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		q.hand(conn)
		return
	}
	stop := context.AfterFunc(q.ctx, func() { _ = tcp.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var in [quickBytes]byte
	var out []byte
	_ = tcp.SetReadDeadline(time.Now().Add(q.limits.header)) // one without a deadline is closed with the listener
	slack := q.limits.idle / 32                              // deadlines are not set anew for each request
	for next := (time.Time{}); q.ctx.Err() == nil; {
		n, err := tcp.Read(in[:])
		if err != nil {
			break
		}
		now, rest := time.Now(), in[:n]
		if out, rest = q.answers(out[:0], rest, now); len(out) > 0 {
			if now.After(next) {
				next = now.Add(slack)
				_ = tcp.SetReadDeadline(next.Add(q.limits.idle))
				_ = tcp.SetWriteDeadline(next.Add(q.limits.request))
				q.note(conn, http.StateIdle) // from now on it may be closed to make room
			}
			if _, err := tcp.Write(out); err != nil {
				break
			}
		}
		if len(rest) > 0 {
			if stop() {
				q.hand(&begun{tcp, bytes.Clone(rest)})
				return
			}
			break
		}
	}
	_ = tcp.Close() // the client's fault, or nobody's
	q.note(conn, http.StateClosed)
}

// hand gives a connection to who accepts.
func (q *quick) hand(conn net.Conn) {
	q.note(conn, http.StateNew)
	select {
	case q.others <- accepted{conn: conn}:
	case <-q.ctx.Done():
		_ = conn.Close()
		q.note(conn, http.StateClosed)
	}
}

// answers appends the answers to the plain lookups that in begins with to out, and
// returns the rest.
func (q *quick) answers(out, in []byte, now time.Time) (answers, rest []byte) {
	for len(in) > 0 && len(out) < quickAnswer {
		key, n := plainLookup(in)
		if n == 0 {
			break
		}
		head, body := q.ready(q.ctx, key)
		if head == nil || len(head)+len(body) > quickAnswer {
			break
		}
		out = append(append(out, head...), "Date: "...)
		out = append(now.UTC().AppendFormat(out, http.TimeFormat), "\r\n\r\n"...)
		out = append(out, body...)
		in = in[n:]
	}
	return out, in
}

// plainLookup returns the account that in begins to ask for, and the length of
// the request, 0 unless it is whole and has nothing that could ask for more than
// the JWT as it is.
func plainLookup(in []byte) (key string, n int) {
	n = bytes.Index(in, []byte("\r\n\r\n"))
	if n < 0 {
		return "", 0
	}
	n += len("\r\n\r\n")
	line, fields, _ := bytes.Cut(in[:n-len("\r\n")], []byte("\r\n"))
	path, found := bytes.CutPrefix(line, []byte("GET "+quickPath))
	if !found || len(path) != quickKey+len(" HTTP/1.1") || string(path[quickKey:]) != " HTTP/1.1" {
		return "", 0
	}
	hosts := 0
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Host")) && all(value, isHost):
			hosts++
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("keep-alive")):
		case isHarmless(name) && all(value, isPrint):
		default:
			return "", 0
		}
	}
	if key = string(path[:quickKey]); hosts != 1 || key[0] != 'A' || !all(path[:quickKey], isBase32) {
		return "", 0
	}
	return key, n
}

// isHarmless reports whether no value of a header field changes the answer.
func isHarmless(name []byte) bool {
	for _, known := range []string{"User-Agent", "Accept-Encoding", "Accept"} {
		if strings.EqualFold(string(name), known) {
			return true
		}
	}
	return false
}

// all reports whether is holds for all of text, and there is some.
func all(text []byte, is func(byte) bool) bool {
	for _, c := range text {
		if !is(c) {
			return false
		}
	}
	return len(text) > 0
}

func isBase32(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '2' && c <= '7' }
func isPrint(c byte) bool  { return c >= ' ' && c <= '~' }
func isHost(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".:-[]", c) >= 0
}

// begun is a connection of which some was read.
type begun struct {
	*net.TCPConn
	read []byte // before what is still to come
}

// Read implements net.Conn.
func (c *begun) Read(p []byte) (int, error) {
	if len(c.read) == 0 {
		return c.TCPConn.Read(p)
	}
	n := copy(p, c.read)
	c.read = c.read[n:]
	return n, nil
}
