package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// live is a Dev that runs in the test's process.
type live struct {
	dir   string
	state state
	stop  func() error // ends it and returns what Dev returned; once
}

// goLive runs Dev until the test ends.
func goLive(t *testing.T, opts DevOptions) *live {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	opts.ReadyFile = ready
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Dev(ctx, opts) }()
	l := &live{dir: opts.Dir}
	stopped := false
	l.stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			if err := l.stop(); err != nil {
				t.Error(err)
			}
		}
	})
	natstest.Eventually(t, 60*time.Second, func() error {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("ended before it was ready: %v", err)
		default:
		}
		_, err := os.Stat(ready)
		return err
	})
	var err error
	if l.state, err = layout(opts.Dir).loadState(); err != nil {
		t.Fatal(err)
	}
	return l
}

// Whatever is sent to the control socket, it goes on, and so does the rest.
func TestHostileControl(t *testing.T) {
	t.Parallel()
	l := goLive(t, options(t, filepath.Join(t.TempDir(), "dev")))
	if fi, err := os.Stat(l.state.Socket); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", fi.Mode(), err)
	}
	dial := func() net.Conn {
		conn, err := net.Dial("unix", l.state.Socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	idle := dial() // says nothing, and stays until the end
	for _, junk := range []string{"", "\n", "nonsense", `{"op":`, `[]`, `{"op":7}`, strings.Repeat("[", 1<<20), `{"op":"` + strings.Repeat("x", 1<<20) + `"}`} {
		conn := dial()
		_, _ = io.WriteString(conn, junk) // it may be cut off while it writes
		if err := conn.(*net.UnixConn).CloseWrite(); err == nil {
			if answer, _ := io.ReadAll(conn); len(answer) != 0 {
				t.Errorf("%.20q is answered with %s", junk, answer)
			}
		}
	}
	for _, c := range []struct {
		cmd  command
		code fault.Code
	}{
		{command{"explode", "nats-0"}, fault.Usage}, {command{StopNode, "../x"}, fault.NotFound}, {command{"", ""}, fault.NotFound},
	} {
		conn := dial()
		if err := json.NewEncoder(conn).Encode(c.cmd); err != nil {
			t.Fatal(err)
		}
		var re reply
		if err := json.NewDecoder(conn).Decode(&re); err != nil || re.Error == nil || re.Error.Code != c.code {
			t.Errorf("%+v is answered with %+v, %v", c.cmd, re, err)
		}
	}
	began := time.Now()
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("an idle connection keeps it for %s", took)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("the idle connection got an answer")
	}
	if exists(l.state.Socket) {
		t.Error("the socket is still there")
	}
}

// Stops and starts of one node that come at the same time follow one another.
func TestConcurrentControl(t *testing.T) {
	t.Parallel()
	l := goLive(t, options(t, filepath.Join(t.TempDir(), "dev")))
	const each = 4
	results := make(chan error, 2*each)
	for range each {
		for _, op := range []string{StopNode, StartNode} {
			go func() {
				_, err := Control(t.Context(), l.dir, op, "nats-0")
				results <- err
			}()
		}
	}
	for range 2 * each {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if _, err := Control(t.Context(), l.dir, StartNode, "nats-0"); err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", l.state.address(l.state.Nodes[0].Client))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if line, err := bufio.NewReader(nc).ReadString(' '); err != nil || line != "INFO " {
		t.Errorf("the node greets with %q, %v", line, err)
	}
}

// The HTTP listener has limits, and answers in forms that programs read.
func TestHTTP(t *testing.T) {
	t.Parallel()
	opts := options(t, filepath.Join(t.TempDir(), "dev"))
	opts.HTTP = "127.0.0.1:0"
	l := goLive(t, opts)
	base := "http://" + l.state.HTTP
	for _, c := range []struct {
		method, path string
		header       int // bytes
		status       int
	}{
		{"GET", "/healthz", 0, 200},
		{"GET", "/readyz", 0, 200},
		{"GET", "/healthz", 64 << 10, 431},
		{"GET", "/jwt/v1/operator", 0, 200},
		{"GET", "/nothing/here", 0, 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, base+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Long", strings.Repeat("x", c.header))
		req.Close = true
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%s %s with a header of %d bytes: %d, want %d", c.method, c.path, c.header, res.StatusCode, c.status)
		}
	}
	slow, err := net.Dial("tcp", l.state.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := fmt.Fprint(slow, "GET /healthz HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := slow.SetReadDeadline(time.Now().Add(4 * defaultLimits().header)); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, slow)
	if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		t.Error("a request without an end is kept")
	}
}

// Readiness is about the store and every node; without them it says why.
func TestReadyzNamesTheReason(t *testing.T) {
	t.Parallel()
	opts := options(t, filepath.Join(t.TempDir(), "dev"))
	opts.HTTP = "127.0.0.1:0"
	l := goLive(t, opts)
	if _, err := Control(t.Context(), l.dir, StopNode, "nats-0"); err != nil {
		t.Fatal(err)
	}
	if status, reasons := l.readyz(t); status != 503 || reasons["nats-0"] != "stopped" || len(reasons) != 1 {
		t.Errorf("%d %v", status, reasons)
	}
}

// readyz returns what /readyz answers.
func (l *live) readyz(t *testing.T) (status int, reasons map[string]string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.state.HTTP+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Status  string
		Reasons map[string]string
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if (answer.Status == "ready") != (res.StatusCode == 200) {
		t.Errorf("%d %+v", res.StatusCode, answer)
	}
	return res.StatusCode, answer.Reasons
}

// A healthy node through which no request reaches the service is not ready.
func TestReadyzAsksTheService(t *testing.T) {
	t.Parallel()
	opts := options(t, filepath.Join(t.TempDir(), "dev"))
	opts.HTTP = "127.0.0.1:0"
	l := goLive(t, opts)
	nc := l.sys(t)
	ask := func(subject, body string, into any) {
		t.Helper()
		msg, err := nc.Request(subject, []byte(body), 5*time.Second)
		if err == nil {
			err = json.Unmarshal(msg.Data, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
	}
	var found struct {
		Server struct{ ID string }
		Data   struct {
			Connections []struct {
				Name string
				CID  uint64
			}
		}
	}
	ask("$SYS.REQ.SERVER.PING.CONNZ", "", &found)
	for _, c := range found.Data.Connections {
		if c.Name == "accountd" {
			ask("$SYS.REQ.SERVER."+found.Server.ID+".KICK", fmt.Sprintf(`{"cid":%d}`, c.CID), &struct{}{})
		}
	}
	if status, reasons := l.readyz(t); status != 503 || !strings.Contains(reasons["nats-0"], "requests are not answered") {
		t.Errorf("the service is cut off: %d %v", status, reasons)
	}
	natstest.Eventually(t, 20*time.Second, func() error {
		if status, reasons := l.readyz(t); status != 200 {
			return fmt.Errorf("%d %v", status, reasons)
		}
		return nil
	})
}

// sysCreds is the file with the credentials of sys.
func (l *live) sysCreds(t *testing.T) string {
	t.Helper()
	ns, err := nscstore.Open(layout(l.dir).dirs())
	if err != nil {
		t.Fatal(err)
	}
	creds, err := ns.Keystore().CredsPath(devOperator, systemName, systemUser)
	if err != nil {
		t.Fatal(err)
	}
	return creds
}

// sys connects as sys.
func (l *live) sys(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(l.state.clientURLs()[0], nats.UserCredentials(l.sysCreds(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// A kill between recording other ports and signing the operator anew is made
// good by the next start.
func TestKillWhileMoving(t *testing.T) {
	t.Parallel()
	opts := options(t, filepath.Join(t.TempDir(), "dev"))
	if err := runDev(t, opts); err != nil {
		t.Fatal(err)
	}
	l := layout(opts.Dir)
	st, err := l.loadState()
	if err != nil {
		t.Fatal(err)
	}
	st.Nodes = portsFrom(natstest.FreeRange(t, portSpan), 1)
	if err := l.saveState(st); err != nil {
		t.Fatal(err)
	}
	if err := runDev(t, DevOptions{Dir: opts.Dir}); err != nil {
		t.Fatal(err)
	}
	moved, err := l.loadState()
	if err != nil {
		t.Fatal(err)
	}
	if want := st.clientURLs()[0]; moved.URLs[0] != want {
		t.Errorf("the operator's JWT names %s, the node listens on %s", moved.URLs[0], want)
	}
}

// With the root key taken away, other ports are refused and the old ones work.
func TestMoveWithoutRootKey(t *testing.T) {
	t.Parallel()
	opts := options(t, filepath.Join(t.TempDir(), "dev"))
	if err := runDev(t, opts); err != nil {
		t.Fatal(err)
	}
	l := layout(opts.Dir)
	st, err := l.loadState()
	if err != nil {
		t.Fatal(err)
	}
	rm(t, filepath.Join(l.dirs().Keys, "keys/O", st.Operator[1:3], st.Operator+".nk"))
	err = runDev(t, DevOptions{Dir: opts.Dir, Port: natstest.FreeRange(t, portSpan)})
	if fault.CodeOf(err) != fault.NotFound || !strings.Contains(fault.As(err).Hint, st.URLs[0]) {
		t.Fatalf("moved without the root key: %v", err)
	}
	if err := runDev(t, opts); err != nil {
		t.Fatal(err)
	}
}

// An operator whose claims have expired serves on, and says so; for other ports
// it must be renewed first.
func TestResumeWithExpiredOperator(t *testing.T) {
	t.Parallel()
	opts := options(t, filepath.Join(t.TempDir(), "dev"))
	l := goLive(t, opts)
	l.expireOperator(t, time.Now().Add(time.Hour))
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	said := &output{}
	opts.Logger = slog.New(slog.NewTextHandler(said, nil))
	opts.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if err := runDev(t, opts); err != nil || !strings.Contains(said.String(), "the operator's claims expired at") {
		t.Fatalf("%v; it said %s", err, said)
	}
	opts.Port = natstest.FreeRange(t, portSpan)
	err := runDev(t, opts)
	if !fault.Is(err, fault.Expired) || !strings.Contains(fault.As(err).Hint, l.state.URLs[0]) {
		t.Errorf("moved with expired claims: %v", err)
	}
}

// expireOperator puts a version of the operator that ends at a time.
func (l *live) expireOperator(t *testing.T, at time.Time) {
	t.Helper()
	ns, err := nscstore.Open(layout(l.dir).dirs())
	if err != nil {
		t.Fatal(err)
	}
	seed, err := ns.Keystore().Seed(l.state.Operator)
	if err != nil {
		t.Fatal(err)
	}
	root, err := keys.OperatorFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(layout(l.dir).dirs().Stores, "dev/dev.jwt"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := claims.Decode(string(raw))
	if err != nil {
		t.Fatal(err)
	}
	draft, err := claims.Edit(old, func(oc *jwt.OperatorClaims) error {
		oc.Expires = at.Unix()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	next, err := draft.Sign(root, time.Now().Unix())
	if err != nil {
		t.Fatal(err)
	}
	client, err := api.Dial(t.Context(), l.state.clientURLs()[0], time.Now, nats.UserCredentials(l.sysCreds(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	re, err := client.PutOperator(t.Context(), root, api.OperatorPutRequest{JWT: next.Token, Base: old.ID})
	if err != nil || re.Error != nil || len(re.Results) != 1 || re.Results[0].Error != nil {
		t.Fatalf("%+v %v", re, err)
	}
}
