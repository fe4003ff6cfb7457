package server

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/store/bolt"
)

// target is a service with one account, for requests that mean it harm.
type target struct {
	*outside
	service *resolver.Service
	tenant  keys.AccountPair
	token   string // of the account
	head    func() (uint64, error)
	before  uint64
	handler http.Handler
}

func newTarget(t *testing.T) *target {
	t.Helper()
	o := newOutside(t)
	st, err := bolt.Open(filepath.Join(t.TempDir(), "accountd.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	id, err := serviceIdentity(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	x := &target{outside: o, head: headOf(st)}
	nodes := func() []resolver.Node { return nil }
	m := newMetrics(nodes, x.head)
	if x.service, err = m.measured(resolver.Config{Store: st, Nodes: nodes, Now: time.Now, Server: id}); err != nil {
		t.Fatal(err)
	}
	x.tenant, _ = keys.NewAccount()
	ac := jwt.NewAccountClaims(x.tenant.PublicKey())
	ac.Name = "coke"
	x.token = signed(t, ac, o.sk)
	if err := x.service.Bootstrap(t.Context(), o.operator, o.sysJWT, x.token); err != nil {
		t.Fatal(err)
	}
	if x.before, err = x.head(); err != nil {
		t.Fatal(err)
	}
	x.handler = routes(func(context.Context) map[string]string { return nil }, m, x.service, nil)
	return x
}

// serve serves the target's doors over HTTP until the test ends.
func (x *target) serve(limits httpLimits) (addr string) {
	x.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		x.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- serveOn(ctx, ln, nil, x.handler, x.service.Ready, limits, slog.New(slog.DiscardHandler))
	}()
	x.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			x.t.Error(err)
		}
	})
	return ln.Addr().String()
}

// unharmed checks that nothing was changed and that the service goes on.
func (x *target) unharmed(addr string) {
	x.t.Helper()
	if head, err := x.head(); err != nil || head != x.before {
		x.t.Errorf("the store is at change %d, was at %d: %v", head, x.before, err)
	}
	if status, body := exchange(x.t, addr, "GET /jwt/v1/accounts/"+x.tenant.PublicKey()+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); status != 200 || body != x.token {
		x.t.Errorf("afterwards the account is answered with %d %.80s", status, body)
	}
}

// exchange sends raw bytes and returns the status of the answer, 0 if the
// connection was closed without one, and the body.
func exchange(t *testing.T, addr, raw string) (int, string) {
	t.Helper()
	conn := dial(t, addr)
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, raw) }() // it may be cut off while it writes
	return answerOn(t, conn)
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// answerOn reads an answer, which must come or be denied by closing in time.
func answerOn(t *testing.T, conn net.Conn) (int, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		t.Fatal("neither answered nor closed")
	}
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// hostileTokens are JWTs that no door may take, by what is wrong.
func (x *target) hostileTokens() map[string]string {
	t := x.t
	now := time.Now().Unix()
	foreign, _ := keys.NewOperator()
	edit := func(by claims.Signer, at int64, f func(*jwt.AccountClaims)) string {
		ac := jwt.NewAccountClaims(x.tenant.PublicKey())
		ac.Name = "coke"
		f(ac)
		draft, err := claims.New(ac)
		if err != nil {
			t.Fatal(err)
		}
		d, err := draft.Sign(by, at)
		if err != nil {
			t.Fatal(err)
		}
		return d.Token
	}
	same := func(*jwt.AccountClaims) {}
	// forged is signed by a living key of the operator, whatever it says.
	forged := func(payload string) string {
		text := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		sig, err := x.sk.Sign([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
	head := fmt.Sprintf(`{"jti":"X","iat":%d,"iss":%q,"sub":%q,"name":"coke","nats":`, now, x.sk.PublicKey(), x.tenant.PublicKey())
	user, _ := keys.NewUser()
	uc := jwt.NewUserClaims(user.PublicKey())
	return map[string]string{
		"nothing": "", "a word": "x", "dots": "..", "no JSON": "eA.eA.eA", "NUL": "\x00\x00\x00",
		"truncated":            x.token[:len(x.token)-7],
		"half":                 x.token[:len(x.token)/2],
		"another signature":    x.token[:strings.LastIndex(x.token, ".")] + x.sysJWT[strings.LastIndex(x.sysJWT, "."):],
		"oversized":            strings.Repeat("A", 1<<20+1),
		"an oversized claim":   forged(head + `{"type":"account","version":2,"description":"` + strings.Repeat("x", 1<<20) + `"}}`),
		"deeply nested":        forged(head + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}"),
		"an unclosed nesting":  forged(head + strings.Repeat(`{"a":`, 100_000)),
		"wrong type of nats":   forged(head + `5}`),
		"wrong type of a name": forged(head + `{"type":5,"version":2}}`),
		"wrong type of limits": forged(head + `{"type":"account","version":2,"limits":[1]}}`),
		"wrong type of a list": forged(head + `{"type":"account","version":2,"revocations":{"*":"now"}}}`),
		"huge numbers":         forged(head + `{"type":"account","version":2,"limits":{"conn":1e999}}}`),
		"names twice":          forged(head + `{"type":"account","version":2,"type":"user"}}`),
		"version 1":            forged(`{"type":"account",` + head[1:] + `{"type":"account","version":2}}`),
		"no UTF-8":             forged(head + "{\"type\":\"account\",\"version\":2,\"description\":\"\xff\"}}"),
		"a user":               signed(t, uc, x.tenant),
		"the operator":         x.operator,
		"a foreign key":        edit(foreign, now, same),
		"from the future":      edit(x.sk, now+3600, same),
		"from the past":        edit(x.sk, now-3600, same),
		"expired":              edit(x.sk, now, func(ac *jwt.AccountClaims) { ac.Expires = now - 1 }),
		"not valid yet":        edit(x.sk, now, func(ac *jwt.AccountClaims) { ac.NotBefore = now + 3600 }),
		"a name like a path":   edit(x.sk, now, func(ac *jwt.AccountClaims) { ac.Name = "../../coke" }),
	}
}

// TestHostileHTTP: whatever is sent to the HTTP doors is refused in time with a
// status that blames the sender, and changes nothing.
func TestHostileHTTP(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	addr := x.serve(defaultLimits())
	account := "/jwt/v1/accounts/" + x.tenant.PublicKey()
	refused := func(name, method, path, header, body string) {
		t.Helper()
		status, answer := exchange(t, addr, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s", method, path, len(body), header, body))
		if status < 400 || status >= 500 || method != "HEAD" && answer == "" {
			t.Errorf("%s: %s %.80s is answered with %d %.200s", name, method, path, status, answer)
		}
	}
	for name, token := range x.hostileTokens() {
		refused(name, "POST", account, "", token)
	}
	refused("another's path", "POST", "/jwt/v1/accounts/"+x.system.PublicKey(), "", x.token)
	for _, path := range []string{
		"/jwt/v1/accounts/../..", "/jwt/v1/accounts/..", "/jwt/v1/accounts/../operator", "/jwt/v1/accounts/./" + x.tenant.PublicKey(),
		"/jwt/v1/accounts/%2e%2e/operator", "/jwt/v1/accounts/..%2foperator", "/jwt/v1/accounts%2f" + x.tenant.PublicKey(),
		account + "%00", "/jwt/v1/accounts/%00", account + "%0a", account + "%0d%0aSet-Cookie:a", account + "/", account + "/x", "//jwt/v1/accounts/x",
		"/jwt/v1//accounts/" + x.tenant.PublicKey(), `/jwt/v1/accounts/..\..\operator`, "/jwt/v1/accounts/*", "/jwt/v1/accounts/%ff%fe", "/jwt/v1/accounts/%zz",
		"/jwt/v1/accounts/" + strings.Repeat("A", 56), "/jwt/v1/accounts/" + strings.Repeat("A", 10_000), "/jwt/v1/accounts/" + strings.ToLower(x.tenant.PublicKey()),
		"/jwt/v1/accounts/" + x.sk.PublicKey(), account + "?%zz", "/" + strings.Repeat("a/", 4000), "/jwt/v1/pack?max=0", "/jwt/v1/pack?max=-1", "/jwt/v1/pack?max=x",
		"/jwt/v1/", "/v1", "/v1/..", "/.git/config", "*", "x", "/v1/status?account=%00", "/v1/status?account=" + strings.Repeat("x", 10_000),
	} {
		refused("path", "GET", path, "", "")
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "BREW", "CONNECT"} {
		refused("method", method, account, "", "x")
		refused("method", method, "/v1/claims", "", "{}")
	}
	refused("method", "POST", "/jwt/v1/operator", "", x.operator)
	refused("method", "POST", "/jwt/v1/pack", "", "x")
	refused("method", "GET", "/v1/claims", "", "")
	for _, door := range []string{"claims", "operator", "servers/forget", "claims/get", "claims/list", "claims/proof", "status", "users/seen"} {
		for _, body := range hostileBodies() {
			refused("body", "POST", "/v1/"+door, "", body)
		}
		for _, auth := range []string{"x", x.token, x.operator, strings.Repeat("A", 10_000)} {
			refused("auth", "POST", "/v1/"+door, api.AuthHeader+": "+auth+"\r\n", `{"items":1}`)
		}
	}
	x.unharmed(addr)
}

// hostileBodies are no requests of package api.
func hostileBodies() []string {
	return []string{
		"", "x", "[]", "5", `"x"`, "{", `{"items":`, "{}{}", `{"unknown":1}`, `{"items":5,"account":5,"key":5,"server":5,"jwt":5,"after":5,"user":5}`,
		"\x00", "{\"jwt\":\"\xff", strings.Repeat("[", 1<<20), strings.Repeat(`{"items":`, 100_000), strings.Repeat(" ", 1<<20+1),
	}
}

// TestMalformedHTTP: what is no request at all ends in a 4xx or a closed
// connection.
func TestMalformedHTTP(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	limits := defaultLimits()
	limits.header, limits.request = time.Second, 2*time.Second // of those that wait for more
	addr := x.serve(limits)
	post := "POST /jwt/v1/accounts/" + x.tenant.PublicKey() + " HTTP/1.1\r\n"
	for name, raw := range map[string]string{
		"no request":             "\r\n\r\n",
		"binary":                 "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"no version":             "GET /healthz\r\n\r\n",
		"no host":                "GET /healthz HTTP/1.1\r\n\r\n",
		"two hosts":              "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"a folded header":        "GET /healthz HTTP/1.1\r\n Host: a\r\n\r\n",
		"a NUL in a header":      "GET /healthz HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
		"a space in a name":      "GET /healthz HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
		"an endless line":        "GET /" + strings.Repeat("a", 1<<20),
		"an endless header":      "GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 1<<20),
		"many headers":           "GET /healthz HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: 1\r\n", 100_000) + "\r\n",
		"a negative length":      post + "Host: a\r\nContent-Length: -1\r\n\r\n",
		"a length of words":      post + "Host: a\r\nContent-Length: ten\r\n\r\n",
		"two lengths":            post + "Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"an endless length":      post + "Host: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"bad chunks":             post + "Host: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx",
		"a huge chunk":           post + "Host: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
		"an endless body":        post + "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10000\r\n"+strings.Repeat("A", 0x10000)+"\r\n", 64),
		"an unknown expectation": post + "Host: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\nx",
	} {
		if status, body := exchange(t, addr, raw); status != 0 && (status < 400 || status >= 500) {
			t.Errorf("%s: answered with %d %.200s", name, status, body)
		}
	}
	x.unharmed(addr)
}

// TestSlowHTTP: who sends or reads slowly, or not at all, is cut off, and others
// are served meanwhile.
func TestSlowHTTP(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	limits := defaultLimits()
	limits.header, limits.request, limits.idle = 200*time.Millisecond, 400*time.Millisecond, 200*time.Millisecond
	addr := x.serve(limits)
	account := "/jwt/v1/accounts/" + x.tenant.PublicKey()
	for name, raw := range map[string]string{
		"nothing":         "",
		"half a line":     "GET /hea",
		"half a header":   "GET /healthz HTTP/1.1\r\nHost: a\r\nX: ",
		"half a body":     "POST " + account + " HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nxxx",
		"half a request":  "POST /v1/claims HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
		"half of chunks":  "POST " + account + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
		"idle afterwards": "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		conn := dial(t, addr)
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(in, nil); err == nil {
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode < 400 || resp.StatusCode >= 500 {
				t.Errorf("%s: answered with %s, %v", name, resp.Status, err)
			}
		}
		_, err := io.Copy(io.Discard, in)
		if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
			t.Errorf("%s: the connection is kept", name)
		}
	}
	endDevices := dial(t, addr) // asks and asks, and never reads an answer
	request := []byte(strings.Repeat("GET "+account+" HTTP/1.1\r\nHost: a\r\n\r\n", 100))
	for {
		if _, err := endDevices.Write(request); err != nil {
			if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
				t.Error("a client that reads nothing is kept")
			}
			break
		}
	}
	x.unharmed(addr)
}

// TestTooManyConnections: one too many is told so, unless another is idle.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	limits := defaultLimits()
	limits.conns = 4
	addr := x.serve(limits)
	const request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
	keep := make([]net.Conn, limits.conns)
	for i := range keep {
		keep[i] = dial(t, addr)
		if _, err := io.WriteString(keep[i], "GET /healthz"); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if status, body := exchange(t, addr, request); status != 429 || body != "too many connections\n" {
			t.Fatalf("one too many is answered with %d %q", status, body)
		}
	}
	if _, err := io.WriteString(keep[0], strings.TrimPrefix(request, "GET /healthz")); err != nil {
		t.Fatal(err)
	}
	if status, _ := answerOn(t, keep[0]); status != 200 {
		t.Fatalf("who was there first is answered with %d", status)
	}
	natstest.Eventually(t, 10*time.Second, func() error { // the server counts it as idle once it waits again
		if status, _ := exchange(t, addr, request); status != 200 {
			return fmt.Errorf("answered with %d, and one connection is idle", status)
		}
		return nil
	})
	for _, conn := range keep {
		conn.Close()
	}
	natstest.Eventually(t, 10*time.Second, func() error {
		if status, _ := exchange(t, addr, request); status != 200 {
			return fmt.Errorf("answered with %d, and all others have gone", status)
		}
		return nil
	})
	x.unharmed(addr)
}

// TestHostileNATS: whatever is sent to the doors on the system account is
// refused by name and in time, and changes nothing.
func TestHostileNATS(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	s := natstest.StartServer(t, fmt.Sprintf("server_name: s0\noperator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }\n",
		x.operator, x.system.PublicKey(), x.system.PublicKey(), x.sysJWT))
	connect := func() *nats.Conn {
		nc, err := nats.Connect(s.URL, nats.UserCredentials(x.creds))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	stop, err := x.service.ServeNATS(connect(), "accountd", resolver.Claims|resolver.Servers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	nc := connect()
	refused := func(name, subject, auth, body string) {
		t.Helper()
		answers, err := nc.SubscribeSync(nc.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answers.Unsubscribe() }() // the connection may be closed
		msg := &nats.Msg{Subject: subject, Reply: answers.Subject, Data: []byte(body), Header: nats.Header{}}
		if auth != "" {
			msg.Header.Set(api.AuthHeader, auth)
		}
		err = nc.PublishMsg(msg)
		if errors.Is(err, nats.ErrMaxPayload) {
			return
		}
		var reply struct {
			Server struct{ ID string }
			Error  *struct{ Message, Description string }
		}
		for reply.Server.ID = "?"; err == nil && reply.Server.ID != ""; { // the server itself may answer, too
			var m *nats.Msg
			if m, err = answers.NextMsg(resolverPatience); err == nil {
				reply.Server.ID = ""
				err = json.Unmarshal(m.Data, &reply)
			}
		}
		if err != nil || reply.Error == nil || reply.Error.Message+reply.Error.Description == "" {
			t.Errorf("%s: %s is answered with %+v, %v", name, subject, reply, err)
		}
	}
	key := x.tenant.PublicKey()
	for name, token := range x.hostileTokens() {
		for _, subject := range []string{"$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT." + key + ".CLAIMS.UPDATE", "$SYS.ACCOUNT." + key + ".CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.DELETE"} {
			refused(name, subject, "", token)
		}
	}
	refused("another's subject", "$SYS.REQ.ACCOUNT."+x.system.PublicKey()+".CLAIMS.UPDATE", "", x.token)
	for _, subject := range []string{api.SubjectPut, api.SubjectOpPut, api.SubjectForget, api.SubjectGet, api.SubjectList, api.SubjectProof, api.SubjectStatus, api.SubjectSeen} {
		for _, body := range hostileBodies() {
			refused("body", subject, "", body)
		}
		for _, auth := range []string{"x", x.token, strings.Repeat("A", 10_000)} {
			refused("auth", subject, auth, `{"items":1}`)
		}
	}
	for _, id := range []string{"x", "*", "%00", strings.Repeat("A", 56), strings.Repeat("A", 3000), x.sk.PublicKey()} {
		if m, err := nc.Request("$SYS.REQ.ACCOUNT."+id+".CLAIMS.LOOKUP", nil, resolverPatience); err != nil || len(m.Data) != 0 {
			t.Errorf("lookup of %.20s: %.80s, %v", id, m.Data, err)
		}
	}
	if m, err := nc.Request("$SYS.REQ.ACCOUNT."+key+".CLAIMS.LOOKUP", nil, resolverPatience); err != nil || string(m.Data) != x.token {
		t.Errorf("lookup of the account: %v", err)
	}
	if head, err := x.head(); err != nil || head != x.before {
		t.Errorf("the store is at change %d, was at %d: %v", head, x.before, err)
	}
}

// TestProposalMetrics: what waits for the operator is counted, with its age.
func TestProposalMetrics(t *testing.T) {
	t.Parallel()
	x := newTarget(t)
	addr := x.serve(defaultLimits())
	page := func() string {
		_, text := exchange(t, addr, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		return text
	}
	if text := page(); !strings.Contains(text, "\naccountd_proposals 0\n") || !strings.Contains(text, "\naccountd_proposal_age_seconds 0\n") {
		t.Errorf("nothing waits: %s", text)
	}
	ac := jwt.NewAccountClaims(x.tenant.PublicKey())
	ac.Name = "coke"
	own := signed(t, ac, x.tenant)
	status, body := exchange(t, addr, fmt.Sprintf("POST /jwt/v1/accounts/%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", x.tenant.PublicKey(), len(own), own))
	if status != 202 || !strings.Contains(body, "nsc proposals accept coke") {
		t.Fatalf("proposed: %d %s", status, body)
	}
	if text := page(); !strings.Contains(text, "\naccountd_proposals 1\n") || strings.Contains(text, "\naccountd_proposal_age_seconds 0\n") {
		t.Errorf("one waits: %s", text)
	}
}
