package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/natstest"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

const resolverPatience = 30 * time.Second

// outside is an operator with stock servers of its own, and the files that
// accountd resolver is given.
type outside struct {
	t                       *testing.T
	dir                     string
	root, sk, delegated     keys.OperatorPair
	system                  keys.AccountPair
	operator, sysJWT, creds string
	options                 ResolverOptions
	beforeReady             func() // nil for nothing to do
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	make1 := func(p keys.OperatorPair, err error) keys.OperatorPair { return p }
	o := &outside{t: t, dir: t.TempDir(), root: make1(keys.NewOperator()), sk: make1(keys.NewOperator()), delegated: make1(keys.NewOperator())}
	o.system, _ = keys.NewAccount()
	oc := jwt.NewOperatorClaims(o.root.PublicKey())
	oc.Name, oc.SystemAccount = "acme", o.system.PublicKey()
	oc.SigningKeys.Add(o.sk.PublicKey(), o.delegated.PublicKey())
	o.operator = signed(t, oc, o.root)
	sys := jwt.NewAccountClaims(o.system.PublicKey())
	sys.Name = "SYS"
	o.sysJWT = signed(t, sys, o.sk)
	user, _ := keys.NewUser()
	uc := jwt.NewUserClaims(user.PublicKey())
	uc.Name = "accountd"
	creds, err := nscstore.FormatCreds(signed(t, uc, o.system), user.Seed())
	if err != nil {
		t.Fatal(err)
	}
	o.options = ResolverOptions{
		Operator: o.file("acme.jwt", []byte(o.operator)), SystemCreds: o.file("sys.creds", creds),
		SigningKey: o.file("accountd.nk", o.delegated.Seed()), Store: "bolt:" + filepath.Join(o.dir, "accountd.db"),
		HTTP: "127.0.0.1:0", ReadyFile: filepath.Join(o.dir, "ready.json"),
	}
	o.creds = o.options.SystemCreds
	return o
}

func signed[T claims.Typed](t testing.TB, v *T, by claims.Signer) string {
	t.Helper()
	draft, err := claims.New(v)
	if err != nil {
		t.Fatal(err)
	}
	d, err := draft.Sign(by, time.Now().Unix())
	if err != nil {
		t.Fatal(err)
	}
	return d.Token
}

func (o *outside) file(name string, content []byte) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

// server runs a stock server with resolver: full, and further lines of configuration.
func (o *outside) server(name string, more ...string) *natstest.Server {
	o.t.Helper()
	return natstest.StartServer(o.t, fmt.Sprintf(`
server_name: %s
operator: %s
system_account: %s
resolver: { type: full, dir: %q, allow_delete: true }
resolver_preload: { %s: %s }
%s`, name, o.operator, o.system.PublicKey(), o.t.TempDir(), o.system.PublicKey(), o.sysJWT, strings.Join(more, "")))
}

// run runs the service until the test ends, and waits until it is ready.
func (o *outside) run(opts ResolverOptions) ResolverReady {
	o.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Resolver(ctx, opts) }()
	o.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Errorf("accountd resolver ends with: %v", err)
		}
		if _, err := os.Stat(opts.ReadyFile); err == nil {
			o.t.Error("the ready file is still there")
		}
	})
	if o.beforeReady != nil {
		o.beforeReady()
	}
	var ready ResolverReady
	natstest.Eventually(o.t, resolverPatience, func() error {
		select {
		case err := <-done:
			done <- nil
			o.t.Fatalf("accountd resolver ended: %v", err)
		default:
		}
		raw, err := os.ReadFile(opts.ReadyFile)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &ready)
	})
	return ready
}

// TestResolverServesStockServers: what the official tools push to accountd is
// stored and proven on a stock server; older versions are refused.
func TestResolverServesStockServers(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	s := o.server("s0")
	o.options.Servers = s.URL
	ready := o.run(o.options)
	if len(ready.Servers) != 1 || ready.Servers[0] != (ServedServer{Name: "s0", Cluster: ready.Servers[0].Cluster, Resolver: "full"}) {
		t.Fatalf("ready: %+v", ready)
	}
	nc, err := nats.Connect(s.URL, nats.UserCredentials(o.creds))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	tenant, _ := keys.NewAccount()
	ac := jwt.NewAccountClaims(tenant.PublicKey())
	ac.Name = "coke"
	token := signed(t, ac, o.sk)
	if _, err := nc.Request("$SYS.REQ.CLAIMS.UPDATE", []byte(token), resolverPatience); err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(api.ProofRequest{Key: tenant.PublicKey(), Revision: 1, WaitMs: 10_000})
	natstest.Eventually(t, resolverPatience, func() error {
		m, err := nc.Request(api.SubjectProof, body, resolverPatience)
		if err != nil {
			return err
		}
		var reply api.ProofReply
		if err := json.Unmarshal(m.Data, &reply); err != nil {
			return err
		}
		if len(reply.Nodes) != 1 || reply.Nodes[0].Server != "s0" || reply.Nodes[0].State != api.Stored || reply.Nodes[0].Revision != 1 {
			return fmt.Errorf("proof: %s", m.Data)
		}
		return nil
	})
	resp, err := http.Get(ready.HTTP + "/jwt/v1/accounts/" + tenant.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, _ := io.ReadAll(resp.Body); string(got) != token {
		t.Fatalf("the HTTP account server has %q", got)
	}
	ac.Tags = jwt.TagList{"stale"}
	stale, err := claims.New(ac)
	if err != nil {
		t.Fatal(err)
	}
	old, err := stale.Sign(o.sk, time.Now().Unix()-100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("$SYS.REQ.CLAIMS.UPDATE", []byte(old.Token), resolverPatience); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, resolverPatience, func() error {
		if page := fetch(t, ready.HTTP+"/metrics"); !strings.Contains(page, "accountd_stock_undone_total 1") {
			return errors.New("the stale push is not counted as undone")
		}
		return nil
	})
	http.DefaultClient.CloseIdleConnections()
}

// TestResolverIsReadyWithTheWholeCluster: when it says that it is ready, it has
// looked at every server, and names the one that does not answer.
func TestResolverIsReadyWithTheWholeCluster(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	hub := natstest.FreePort(t)
	servers := map[string]*natstest.Server{}
	for _, name := range []string{"s0", "s1", "s2"} {
		listen := "127.0.0.1:-1"
		if name == "s0" {
			listen = fmt.Sprintf("127.0.0.1:%d", hub)
		}
		servers[name] = o.server(name, fmt.Sprintf("cluster { name: acme, listen: %q, routes: [ \"nats-route://127.0.0.1:%d\" ] }\n", listen, hub))
	}
	for _, s := range servers {
		natstest.Eventually(t, resolverPatience, func() error { return s.RoutedTo(2) })
	}
	silent := servers["s2"]
	silent.Signal(syscall.SIGSTOP)
	t.Cleanup(func() { silent.Signal(syscall.SIGCONT) })
	o.options.Servers = servers["s0"].URL
	ready := o.run(o.options)
	want := []ServedServer{
		{Name: "s0", Cluster: "acme", Resolver: "full"}, {Name: "s1", Cluster: "acme", Resolver: "full"}, {Name: "s2", Cluster: "acme", Away: true},
	}
	if !slices.Equal(ready.Servers, want) {
		t.Fatalf("ready with %+v", ready.Servers)
	}
}

// TestResolverStartsAgain: a store goes on with its operator, under the same
// identity, and a sealed signing key is opened.
func TestResolverStartsAgain(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	s := o.server("s0")
	o.options.Servers = s.URL
	identity, err := operator.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := operator.Seal(o.delegated.Seed(), identity)
	if err != nil {
		t.Fatal(err)
	}
	o.options.SigningKey, o.options.Identity = o.file("accountd.sealed", sealed), o.file("identity", []byte(identity))
	for range 2 {
		t.Run("", func(t *testing.T) {
			o := *o
			o.t = t
			o.run(o.options)
		})
	}
}

// TestResolverRefuses: what cannot work is said at once, with what would help.
func TestResolverRefuses(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	other := newOutside(t)
	s := o.server("s0")
	o.options.Servers = s.URL
	for name, c := range map[string]struct {
		edit func(*ResolverOptions)
		code fault.Code
		says string
	}{
		"a missing file":      {func(r *ResolverOptions) { r.Operator += "x" }, fault.NotFound, "does not exist"},
		"no JWT":              {func(r *ResolverOptions) { r.Operator = o.file("junk", []byte("junk")) }, fault.Invalid, "junk"},
		"credentials as JWT":  {func(r *ResolverOptions) { r.SystemCreds = r.Operator }, fault.Invalid, "acme.jwt"},
		"another's signer":    {func(r *ResolverOptions) { r.SigningKey = other.options.SigningKey }, fault.Untrusted, "not a signing key"},
		"another's user":      {func(r *ResolverOptions) { r.SystemCreds = other.options.SystemCreds }, fault.Denied, "refuse the credentials"},
		"no store":            {func(r *ResolverOptions) { r.Store = "nonsense" }, fault.Usage, "nonsense"},
		"HTTP for the world":  {func(r *ResolverOptions) { r.HTTP = "0.0.0.0:0" }, fault.Usage, "TLS"},
		"a certificate alone": {func(r *ResolverOptions) { r.HTTPCert = r.Operator }, fault.Usage, "go together"},
		"no certificate":      {func(r *ResolverOptions) { r.HTTPCert, r.HTTPKey = r.Operator, r.Operator }, fault.Invalid, "acme.jwt"},
		"a sealed key alone":  {func(r *ResolverOptions) { r.SigningKey = o.file("sealed", []byte("age-encryption")) }, fault.Usage, "identity"},
		"no URL of a cluster": {func(r *ResolverOptions) { r.Servers = "::" }, fault.Usage, "--servers"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := o.options
			opts.Store = "bolt:" + filepath.Join(t.TempDir(), "accountd.db")
			opts.ReadyFile = ""
			c.edit(&opts)
			ctx, cancel := context.WithTimeout(context.Background(), resolverPatience)
			defer cancel()
			err := Resolver(ctx, opts)
			if f := fault.As(err); f == nil || f.Code != c.code || !strings.Contains(err.Error(), c.says) || f.Hint == "" {
				t.Fatalf("got %v (%+v)", err, fault.As(err))
			}
		})
	}
}

// TestResolverServesURLServers: a stock server with resolver: URL(...) starts
// on accountd alone, authenticates through it, and loses a revoked user at once.
func TestResolverServesURLServers(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	port, web := natstest.FreePort(t), fmt.Sprintf("127.0.0.1:%d", natstest.FreePort(t))
	o.options.Servers = fmt.Sprintf("nats://127.0.0.1:%d", port)
	o.options.HTTP = web
	o.options.SystemAccount = o.file("SYS.jwt", []byte(o.sysJWT))
	o.beforeReady = func() {
		natstest.Eventually(t, resolverPatience, func() error {
			resp, err := http.Get("http://" + web + "/healthz")
			if err == nil {
				resp.Body.Close()
			}
			return err
		})
		natstest.StartServer(t, fmt.Sprintf(`
listen: "127.0.0.1:%d"
server_name: s0
operator: %s
system_account: %s
resolver: URL(http://%s/jwt/v1/accounts/)
`, port, o.operator, o.system.PublicKey(), web))
	}
	ready := o.run(o.options)
	if len(ready.Servers) != 1 || ready.Servers[0].Resolver != "url" {
		t.Fatalf("ready: %+v", ready)
	}
	sys, err := nats.Connect(o.options.Servers, nats.UserCredentials(o.creds))
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	tenant, _ := keys.NewAccount()
	ac := jwt.NewAccountClaims(tenant.PublicKey())
	ac.Name = "coke"
	push := func() {
		t.Helper()
		resp, err := http.Post(ready.HTTP+"/jwt/v1/accounts/"+tenant.PublicKey(), "application/jwt", strings.NewReader(signed(t, ac, o.sk)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", resp.Status, body)
		}
	}
	push()
	user, _ := keys.NewUser()
	uc := jwt.NewUserClaims(user.PublicKey())
	token := signed(t, uc, tenant)
	closed := make(chan struct{})
	nc, err := nats.Connect(o.options.Servers, nats.NoReconnect(), nats.UserJWT(func() (string, error) { return token, nil }, user.Sign),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ac.Revocations = jwt.RevocationList{user.PublicKey(): time.Now().Unix()}
	ac.Tags = jwt.TagList{"v:2"}
	push()
	select {
	case <-closed:
	case <-time.After(resolverPatience):
		t.Fatal("the revoked user is still connected")
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestResolverServesTLS: with a certificate it listens beyond this machine, and
// speaks nothing but TLS there.
func TestResolverServesTLS(t *testing.T) {
	t.Parallel()
	o := newOutside(t)
	s := o.server("s0")
	cert, key, roots := certificate(t)
	o.options.Servers, o.options.HTTP = s.URL, "0.0.0.0:0"
	o.options.HTTPCert, o.options.HTTPKey = o.file("cert.pem", cert), o.file("key.pem", key)
	ready := o.run(o.options)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(ready.HTTP, "https://"))
	if err != nil || !strings.HasPrefix(ready.HTTP, "https://") {
		t.Fatalf("listens on %s: %v", ready.HTTP, err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	resp, err := client.Get("https://127.0.0.1:" + port + "/jwt/v1/operator")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != o.operator || resp.ProtoMajor != 1 {
		t.Errorf("%s %s %.80s", resp.Proto, resp.Status, body)
	}
	if status, body := exchange(t, "127.0.0.1:"+port, "GET /jwt/v1/operator HTTP/1.1\r\nHost: a\r\n\r\n"); status != 400 || strings.Contains(body, "ey") {
		t.Errorf("without TLS: %d %s", status, body)
	}
}

// certificate makes a certificate of 127.0.0.1, its key, and who trusts it.
func certificate(t *testing.T) (cert, key []byte, roots *x509.CertPool) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, pair.Public(), pair)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), roots
}
