package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
)

const browserFields = "Host: localhost:8080\r\nUser-Agent: x/1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n"

// conversation is a connection on which requests are sent as text.
type conversation struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (x *target) converse(addr string) *conversation {
	x.t.Helper()
	conn := dial(x.t, addr)
	return &conversation{x.t, conn, bufio.NewReader(conn)}
}

func (c *conversation) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// read reads one answer: its status, header and body.
func (c *conversation) read(method string) (int, http.Header, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// TestQuickAnswersAreTheHandlers: on a connection that is kept, plain lookups and
// whatever else is asked after them get what the handler alone answers.
func TestQuickAnswersAreTheHandlers(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	addr := x.serve(defaultLimits())
	alone := httptest.NewServer(plainPaths(x.handler))
	t.Cleanup(alone.Close)
	account := "/jwt/v1/accounts/" + x.tenant.PublicKey()
	plain := "GET " + account + " HTTP/1.1\r\n"
	for name, request := range map[string]string{
		"plain":            plain + "Host: x\r\n\r\n",
		"a browser's":      plain + browserFields + "\r\n",
		"an unknown one":   "GET /jwt/v1/accounts/A" + strings.Repeat("A", 55) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"with an ETag":     plain + "Host: x\r\nIf-None-Match: *\r\n\r\n",
		"decoded":          "GET " + account + "?decode HTTP/1.1\r\nHost: x\r\n\r\n",
		"HEAD":             "HEAD " + account + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"the last one":     plain + "Host: x\r\nConnection: close\r\n\r\n",
		"without a host":   plain + "\r\n",
		"two hosts":        plain + "Host: x\r\nHost: y\r\n\r\n",
		"an odd host":      plain + "Host: x y\r\n\r\n",
		"with a body":      plain + "Host: x\r\nContent-Length: 2\r\n\r\nhi",
		"in chunks":        plain + "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded":           plain + "Host: x\r\nAccept: a\r\n b\r\n\r\n",
		"bare line breaks": plain + "Host: x\r\nAccept: a\nX: b\r\n\r\n",
		"pushed":           "POST " + account + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
	} {
		method, _, _ := strings.Cut(request, " ")
		ask := func(addr string, before int) []any {
			c := x.converse(addr)
			for range before {
				c.send(plain + "Host: x\r\n\r\n")
				if status, _, body := c.read("GET"); status != http.StatusOK || body != x.token {
					t.Errorf("a lookup before %s: %d %q", name, status, body)
				}
			}
			c.send(request)
			status, header, body := c.read(method)
			header.Del("Date")
			return []any{status, header, body}
		}
		want := ask(alone.Listener.Addr().String(), 0)
		for before := range 3 {
			if diff := cmp.Diff(want, ask(addr, before)); diff != "" {
				t.Errorf("%s after %d lookups (-handler +served):\n%s", name, before, diff)
			}
		}
	}
	x.unharmed(addr)
}

// TestQuickPieces: requests that come together, and in pieces, are answered in
// their order.
func TestQuickPieces(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	addr := x.serve(defaultLimits())
	plain := "GET /jwt/v1/accounts/" + x.tenant.PublicKey() + " HTTP/1.1\r\nHost: x\r\n\r\n"
	all := strings.Repeat(plain, 3) + "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + plain
	for _, size := range []int{1, 7, len(plain), len(plain) + 5, len(all)} {
		c := x.converse(addr)
		for piece := range slices.Chunk([]byte(all), size) {
			c.send(string(piece))
		}
		for i := range 5 {
			status, header, body := c.read("GET")
			if status != http.StatusOK || (body == x.token) == (i == 3) || header.Get("Date") == "" {
				t.Errorf("pieces of %d: answer %d is %d %q", size, i, status, body)
			}
		}
	}
}

// TestQuickSeesChanges: a version that was stored before a lookup is its answer.
func TestQuickSeesChanges(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	x.handler = http.NotFoundHandler() // it is not asked
	c := x.converse(x.serve(defaultLimits()))
	for i := range 20 {
		ac := jwt.NewAccountClaims(x.tenant.PublicKey())
		ac.Name = "coke"
		ac.Description = fmt.Sprint(i)
		token := signed(t, ac, x.sk)
		if _, err := x.service.Push(t.Context(), "http", token); err != nil {
			t.Fatal(err)
		}
		c.send("GET /jwt/v1/accounts/" + x.tenant.PublicKey() + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if status, _, body := c.read("GET"); status != http.StatusOK || body != token {
			t.Fatalf("version %d: answered with %d %q", i, status, body)
		}
	}
}

// FuzzPlainLookup: what counts as a plain lookup is one to net/http too, all of it.
func FuzzPlainLookup(f *testing.F) {
	line := "GET /jwt/v1/accounts/A" + strings.Repeat("B", 55) + " HTTP/1.1\r\n"
	for _, rest := range []string{"Host: x\r\n\r\n", browserFields + "\r\nGET", "Host:x\r\n\r\n", "Host: x\r\nContent-Length: 3\r\n\r\nabc", "Host: x\n\r\n\r\n", "\r\n\r\n"} {
		f.Add([]byte(line + rest))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		key, n := plainLookup(in)
		if n == 0 {
			return
		}
		from := bufio.NewReader(bytes.NewReader(in[:n]))
		r, err := http.ReadRequest(from)
		if err != nil {
			t.Fatalf("%q: %v", in[:n], err)
		}
		if r.Method != "GET" || r.RequestURI != quickPath+key || r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.Close || r.Host == "" || from.Buffered() > 0 {
			t.Errorf("%q is read as %+v", in[:n], r)
		}
	})
}
