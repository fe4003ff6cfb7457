package device

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
)

// login is a JWT and the key that it is for.
type login struct {
	jwt  string
	pair keys.UserPair
}

// exchange asks for credentials: of each way that there is, until one answers.
type exchange struct {
	servers []string
	pin     string
	device  keys.UserPair
	token   *keys.UserPair // the secret part of a token, nil without one
	live    login          // by which the device connects now, zero for none
	types   []string       // how live may connect, none for any way
	pass    login          // by which it may do nothing but ask, zero for none
	claim   login          // the same, by a token
	req     api.EnrollRequest
	now     func() time.Time
	hear    func(now int64) // what accountd tells of its time, may be nil
}

// Bounds of one try.
const (
	dialTime   = 5 * time.Second
	answerTime = 10 * time.Second
	maxReply   = 64 << 10
)

// ruleRefused is the rule of what servers refuse, who do not say why.
const ruleRefused = "refused"

// way sends one request.
type way func(ctx context.Context, body []byte) ([]byte, error)

// run asks for credentials, by proofs of a nonce.
func (x exchange) run(ctx context.Context) (api.EnrollReply, error) {
	var failed []error
	for _, way := range []struct {
		login
		urls string
	}{{x.live, x.urls(x.types)}, {x.pass, x.urls(nil)}, {x.claim, x.urls(nil)}} {
		if way.jwt != "" && way.urls != "" {
			reply, err := x.overNATS(ctx, way.urls, way.login)
			if err == nil || !fault.Is(err, fault.Unavailable) {
				return reply, err
			}
			failed = append(failed, err)
		}
	}
	for _, u := range x.servers {
		if !overWeb(u) {
			continue
		}
		reply, err := x.by(ctx, x.overHTTP(strings.TrimSuffix(u, "/")+api.PathEnroll))
		if err == nil || !fault.Is(err, fault.Unavailable) {
			return reply, err
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return api.EnrollReply{}, fault.New(fault.Denied, "the credentials have expired, and there is no way left to ask for new ones").ByRule("too-late").
			WithHint("enrol the device anew, with a new token: nsc device enroll --token FILE --dir DIR")
	}
	if !slices.ContainsFunc(failed, func(err error) bool { return !authRefused(err) }) {
		return api.EnrollReply{}, fault.New(fault.Denied, "servers refuse what the device has, and nobody else can be asked: %w", failed[0]).ByRule(ruleRefused).
			WithHint("the device is revoked, or its key, its fleet or its group went: enrol it anew with nsc device enroll --token FILE --dir DIR; or its account is suspended until it is resumed")
	}
	for _, err := range failed {
		if fault.RuleOf(err) != "" { // accountd says so itself
			return api.EnrollReply{}, err
		}
	}
	return api.EnrollReply{}, fault.New(fault.Unavailable, "nobody who was asked could answer: %w", errors.Join(failed...))
}

// urls returns those of servers, comma-separated, for who may connect in the ways
// that types name, none for any.
func (x exchange) urls(types []string) string {
	var out []string
	for _, u := range x.servers {
		scheme, _, _ := strings.Cut(u, "://")
		if way := connectionType(scheme); way != "" && (len(types) == 0 || slices.Contains(types, way)) {
			out = append(out, u)
		}
	}
	return strings.Join(out, ",")
}

// overWeb reports whether a URL is one of accountd's own.
func overWeb(u string) bool {
	return strings.HasPrefix(u, "http://") || strings.HasPrefix(u, "https://")
}

// connectionType is what claims call a connection by URLs of a scheme, "" if they are
// none of servers.
func connectionType(scheme string) string {
	switch scheme {
	case "nats", "tls":
		return jwt.ConnectionTypeStandard
	case "ws", "wss":
		return jwt.ConnectionTypeWebsocket
	}
	return ""
}

// by asks one way: by the nonce that came with the credentials, or by a new one.
func (x exchange) by(ctx context.Context, send way) (reply api.EnrollReply, err error) {
	req := x.req
	req.Key = x.device.PublicKey()
	req.Pass = !slices.ContainsFunc(x.servers, overWeb)
	if req.Nonce != "" {
		if reply, err = x.prove(ctx, send, req); fault.RuleOf(err) != "nonce" {
			return reply, err
		}
	}
	if reply, err = x.ask(ctx, send, api.EnrollRequest{Key: req.Key}); err != nil {
		return reply, err
	}
	req.Nonce = reply.Nonce
	return x.prove(ctx, send, req)
}

// prove asks for credentials by a nonce.
func (x exchange) prove(ctx context.Context, send way, req api.EnrollRequest) (reply api.EnrollReply, err error) {
	if req.Proof, err = x.device.Sign(req.Text()); err != nil {
		return reply, err
	}
	if x.token != nil {
		if req.TokenProof, err = x.token.Sign(req.Text()); err != nil {
			return reply, err
		}
	}
	return x.ask(ctx, send, req)
}

func (x exchange) ask(ctx context.Context, send way, req api.EnrollRequest) (reply api.EnrollReply, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return reply, fault.New(fault.Internal, "encode request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	data, err := send(ctx, body)
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(data, &reply); err != nil || reply.Schema == 0 {
		return reply, fault.New(fault.Unavailable, "the answer is not one of accountd")
	}
	if x.hear != nil {
		x.hear(reply.Now)
	}
	if reply.Error != nil && reply.Wait > 0 {
		return reply, later{reply.Error.Fault(), time.Duration(reply.Wait) * time.Second}
	}
	return reply, reply.Error.Fault()
}

// later is a refusal that says when to ask again.
type later struct {
	error
	wait time.Duration
}

// Unwrap returns the refusal.
func (l later) Unwrap() error { return l.error }

// connect opens a connection as l.
func (x exchange) connect(ctx context.Context, urls string, l login) (*nats.Conn, error) {
	return api.Connect(ctx, urls, append(x.options(l.pair.PublicKey(), l.jwt, l.pair.Sign), nats.NoReconnect())...)
}

func (x exchange) options(key, jwt string, sign nats.SignatureHandler) []nats.Option {
	opts := []nats.Option{
		nats.Name("nsc device"), nats.Timeout(dialTime), nats.CustomInboxPrefix("_INBOX." + key),
		nats.UserJWT(func() (string, error) { return jwt, nil }, sign),
	}
	if cfg := x.tlsConfig(); cfg != nil {
		opts = append(opts, nats.Secure(cfg))
	}
	return opts
}

func (x exchange) overNATS(ctx context.Context, urls string, l login) (api.EnrollReply, error) {
	nc, err := x.connect(ctx, urls, l)
	if err != nil {
		return api.EnrollReply{}, fault.New(fault.Unavailable, "connect to %s: %w", urls, err)
	}
	defer nc.Close()
	return x.by(ctx, overConn(nc))
}

// overConn asks over a connection.
func overConn(nc *nats.Conn) way {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		m, err := nc.RequestWithContext(ctx, fleet.EnrollSubject, body)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "accountd did not answer over %s: %w", nc.ConnectedUrlRedacted(), err)
		}
		return m.Data, nil
	}
}

func (x exchange) overHTTP(address string) way {
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: x.tlsConfig(), Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("accountd does not redirect") },
	}
	return func(ctx context.Context, body []byte) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
		if err != nil {
			return nil, fault.New(fault.Invalid, "the token names an address that is none: %w", err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return nil, fault.New(fault.Unavailable, "accountd at %s did not answer: %w", address, err)
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
		if err != nil {
			return nil, fault.New(fault.Unavailable, "accountd at %s did not finish its answer: %w", address, err)
		}
		return data, nil
	}
}

// tlsConfig takes only a chain of certificates that leads to the pinned key, nil
// without a pin.
func (x exchange) tlsConfig() *tls.Config {
	if x.pin == "" {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does, by the pin alone
		VerifyConnection:   func(cs tls.ConnectionState) error { return verifyPin(x.pin, cs, x.now()) },
	}
}

// verifyPin checks that one of the certificates shown has the pinned key, and
// that the server's own leads to it and is of its name.
func verifyPin(pin string, cs tls.ConnectionState, now time.Time) error {
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for i, c := range cs.PeerCertificates {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		switch {
		case base64.RawURLEncoding.EncodeToString(sum[:]) != pin:
			others.AddCert(c)
		case i == 0:
			return c.VerifyHostname(cs.ServerName) // it is pinned itself
		default:
			roots.AddCert(c)
			found = true
		}
	}
	if !found {
		return errors.New("the server shows no certificate of the key that the token pins")
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: cs.ServerName, Roots: roots, Intermediates: others, CurrentTime: now})
	return err
}

// try connects with new credentials, if they are good for that. Servers that cannot
// be reached are no reason not to take them.
func (x exchange) try(ctx context.Context, l login, types []string) error {
	urls := x.urls(types)
	if urls == "" {
		return nil
	}
	nc, err := x.connect(ctx, urls, l)
	switch {
	case err == nil:
		nc.Close()
		return nil
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return fault.New(fault.Unavailable, "the servers do not take the new credentials yet: %w", err).ByRule("answer")
	}
	return nil
}

// jittered spreads a pause, so that devices do not come all at once.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }
