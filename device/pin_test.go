package device

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// issue makes a certificate for a host, or of an authority without one; signed
// by a, or by itself.
func (a *authority) issue(t *testing.T, host string, until time.Time) *authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test " + host}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		IsCA: host == "", BasicConstraintsValid: true,
	}
	if host != "" {
		template.DNSNames = []string{host}
	}
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer))
	return &authority{t, must(x509.ParseCertificate(der)), key}
}

func (a *authority) pin() string {
	sum := sha256.Sum256(a.cert.RawSubjectPublicKeyInfo)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TestPins: a device speaks to who shows a certificate of the pinned key, or one
// that it signed for this name, and to nobody else.
func TestPins(t *testing.T) {
	t.Parallel()
	later, gone := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	var none *authority
	ca, other := none.issue(t, "", later), none.issue(t, "", later)
	good := ca.issue(t, "localhost", later)
	for name, c := range map[string]struct {
		chain []*authority
		pin   string
		good  bool
	}{
		"the authority is shown":         {[]*authority{good, ca}, ca.pin(), true},
		"the certificate itself":         {[]*authority{good}, good.pin(), true},
		"the authority is not shown":     {[]*authority{good}, ca.pin(), false},
		"another authority":              {[]*authority{other.issue(t, "localhost", later), other}, ca.pin(), false},
		"the pinned one is only shown":   {[]*authority{other.issue(t, "localhost", later), other, ca}, ca.pin(), false},
		"another name":                   {[]*authority{ca.issue(t, "evil.example", later), ca}, ca.pin(), false},
		"another name, pinned itself":    {[]*authority{ca.issue(t, "evil.example", later)}, "", false},
		"expired":                        {[]*authority{ca.issue(t, "localhost", gone), ca}, ca.pin(), false},
		"signed by one that may not":     {[]*authority{good.issue(t, "localhost", later), good, ca}, ca.pin(), false},
		"no pin, an authority of nobody": {[]*authority{good, ca}, "", false},
	} {
		if strings.HasSuffix(name, "pinned itself") {
			c.pin = c.chain[0].pin()
		}
		var cert tls.Certificate
		for _, a := range c.chain {
			cert.Certificate = append(cert.Certificate, a.cert.Raw)
		}
		cert.PrivateKey = c.chain[0].key
		asked := 0
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked++
			_ = json.NewEncoder(w).Encode(api.EnrollReply{Schema: 1, Error: &api.Error{Code: fault.Denied, Rule: "test"}})
		}))
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		x := exchange{
			servers: []string{strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)}, pin: c.pin, device: must(keys.NewUser()), now: time.Now,
		}
		_, err := x.run(t.Context())
		srv.Close()
		if reached := fault.RuleOf(err) == "test"; reached != c.good || reached != (asked > 0) {
			t.Errorf("%s: reached %v, asked %d times: %v", name, reached, asked, err)
		}
	}
}
