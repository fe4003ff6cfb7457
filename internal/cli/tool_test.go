package cli_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/internal/natstest"
)

// inMemory starts a stock server with the accounts of the person, which becomes
// the operator's service URL.
func (p *person) inMemory() *natstest.Server {
	p.t.Helper()
	s := natstest.StartServer(p.t, p.config("--mem-resolver"))
	p.ok("edit", "operator", "--service-url", s.URL)
	return s
}

func TestTools(t *testing.T) {
	t.Parallel()
	p := served(t)
	p.ok("add", "user", "narrow", "-a", "app", "--allow-pub", "allowed", "--allow-sub", "allowed")
	p.run("tool", "pub", "x", "-a", "app", "-u", "one").exits(3).complains("names no server", "--service-url")
	s := p.inMemory()

	p.ok("tool", "rtt", "-a", "app", "-u", "one").says("round trip time to [nats://")
	var rtt struct {
		Schema int
		Server string
		Ms     float64
	}
	if p.ok("rtt", "-a", "app", "-u", "one", "--json").json(&rtt); rtt.Schema != 1 || rtt.Server == "" || rtt.Ms <= 0 {
		t.Errorf("%+v", rtt)
	}
	p.ok("tool", "pub", "greeting", "hello", "-a", "app", "-u", "one", "--nats", s.URL).says(`published [greeting] : "hello"`)
	p.ok("pub", "greeting", "-a", "app", "-u", "one")
	p.ok("tool", "pub", "greeting", "-a", "app", "-u", "one", "--dry-run").says("dry run: would connect")
	p.run("tool", "req", "greeting", "-a", "app", "-u", "one").exits(6).complains("nobody answers")

	nc, err := nats.Connect(s.URL, nats.UserCredentials(p.credsFile("app", "one")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.SubscribeSync("silent"); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	p.run("tool", "req", "silent", "-a", "app", "-u", "one", "--timeout", "200ms").exits(6).complains("no answer in time")

	replier := p.listening("tool", "reply", "ask", "42", "-a", "app", "-u", "one", "--max-messages", "2")
	natstest.Eventually(t, 10*time.Second, func() error { _, err := nc.Request("ask", nil, time.Second); return err })
	p.ok("tool", "req", "ask", "what", "-a", "app", "-u", "one").says("received reply: [", "'42'")
	if r := <-replier; r.code != 0 || !strings.Contains(r.out, "received on [ask]: 'what'") {
		t.Errorf("%+v", r)
	}

	replier = p.listening("tool", "reply", "ask", "43", "-a", "app", "-u", "one", "--max-messages", "1", "--json")
	natstest.Eventually(t, 10*time.Second, func() error { _, err := nc.Request("ask", []byte("again"), time.Second); return err })
	var asked struct {
		Schema               int
		Subject, Reply, Data string
	}
	r := <-replier
	if r.exits(0).json(&asked); asked.Schema != 1 || asked.Subject != "ask" || asked.Reply == "" || asked.Data != "again" {
		t.Errorf("%+v", asked)
	}

	p.run("tool", "pub", "denied", "-a", "app", "-u", "narrow").exits(4).complains("nsc why narrow -a app")
	p.run("tool", "sub", "denied", "-a", "app", "-u", "narrow").exits(4)
	p.run("tool", "sub", "x", "-E", "-a", "app", "-u", "one").exits(2)
	p.run("tool", "rtt", "-a", "app").exits(2).complains("has 2 users and none is named")
	p.run("tool", "rtt", "-a", "app", "-u", "one", "--nats", deadURL(t)).exits(6)
	p.ok("add", "user", "late", "-a", "app", "--start", "1h")
	p.run("tool", "rtt", "-a", "app", "-u", "late").exits(4).complains("nsc why late -a app")
}

// listening runs nsc beside the test and returns its result when it has ended.
func (p *person) listening(args ...string) <-chan result {
	q := *p
	done := make(chan result, 1)
	go func() { done <- q.run(args...) }()
	return done
}

func TestToolSub(t *testing.T) {
	t.Parallel()
	p := served(t)
	s := p.inMemory()
	nc, err := nats.Connect(s.URL, nats.UserCredentials(p.credsFile("app", "one")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	got := p.listening("sub", "news", "-a", "app", "--max-messages", "1", "--json", "--queue", "q")
	var r result
	natstest.Eventually(t, 10*time.Second, func() error {
		select {
		case r = <-got:
			return nil
		default:
			return errors.Join(errors.New("no message came"), nc.Publish("news", []byte{0xff, 1}))
		}
	})
	var m struct {
		Schema  int
		Subject string
		Data    string
		Base64  []byte
	}
	if r.exits(0).json(&m); m.Schema != 1 || m.Subject != "news" || string(m.Base64) != "\xff\x01" {
		t.Errorf("%+v", m)
	}

	ctx, stop := context.WithCancel(t.Context())
	p.ctx = ctx
	got = p.listening("tool", "sub", "nothing", "-a", "app")
	natstest.Eventually(t, 10*time.Second, func() error {
		var list struct {
			Connections []struct {
				Subs []string `json:"subscriptions_list"`
			}
		}
		err := s.Monitoring("/connz?subs=1", &list)
		for _, c := range list.Connections {
			if slices.Contains(c.Subs, "nothing") {
				return nil
			}
		}
		return errors.Join(errors.New("nobody listens"), err)
	})
	stop()
	if r := <-got; r.code != 130 {
		t.Errorf("%+v", r)
	}
}

// TestOverTLS: with certificates of an authority of one's own, also when the
// server wants the handshake first and a certificate of the client.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	p := served(t)
	dir := t.TempDir()
	cert, key := selfSigned(t, dir)
	tls := "tls { cert_file: '" + cert + "', key_file: '" + key + "', ca_file: '" + cert + "', verify: true, handshake_first: true }\n"
	s := natstest.StartServer(t, inFolder(t, p.config("--nats-resolver"))+tls)
	url := strings.Replace(s.URL, "nats://", "tls://", 1)
	flags := []string{"--tls-first", "--ca-cert", cert, "--client-cert", cert, "--client-key", key, "--tls-curves", "X25519,P256"}
	p.ok(append([]string{"push", "-a", "app", "-u", url}, flags...)...).says("no proof")
	p.ok(append([]string{"tool", "rtt", "-a", "app", "--nats", url}, flags...)...)
	p.run("tool", "rtt", "-a", "app", "--nats", url, "--tls-first", "--timeout", "3s").exits(6)
	p.vars = map[string]string{"NATS_CA": cert, "NATS_CERT": cert, "NATS_KEY": key}
	p.ok("tool", "rtt", "-a", "app", "--nats", url, "--tls-first")
	p.pointTo(url)
	p.ok("push", "-A", "--tls-first")
	p.ok("pull", "-A", "--tls-first")
}

// selfSigned writes a certificate of 127.0.0.1 that is its own authority.
func selfSigned(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
