package cli

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
	"github.com/accountd/accountd/revocation"
)

// defaultSysUser is the user of the system account that carries requests.
const defaultSysUser = "sys"

// link is the connection to accountd while it is being made and after.
type link struct {
	done    chan struct{}
	client  *api.Client
	err     error
	signs   bool                                      // reads are signed, too
	connect func(context.Context) (*nats.Conn, error) // a connection of its own, for servers without accountd; nil over HTTP
}

// online reports whether changes are to be published, and if not, why.
func (s *session) online(r *root) (bool, string) {
	switch {
	case s.flags.noPush:
		return false, "not published, as --no-push says"
	case r.claims.AccountServerURL == "":
		return false, "operator " + r.Name() + " names no account server"
	case !isNats(r.claims.AccountServerURL) && !isHTTP(r.claims.AccountServerURL):
		return false, "the account server's URL has an unknown scheme: " + r.claims.AccountServerURL
	case r.tenant && !isHTTP(r.claims.AccountServerURL):
		return false, "operator " + r.Name() + " takes accounts that sign themselves over http only, and names " + r.claims.AccountServerURL
	}
	return true, ""
}

// ready begins to connect to where a change of an account will go.
func (s *session) ready(ctx context.Context, r *root) error {
	if ok, _ := s.online(r); !ok || r.tenant || s.flags.dryRun {
		return nil
	}
	return s.dial(ctx, r)
}

func isNats(address string) bool { return hasScheme(address, "nats", "tls", "ws", "wss") }

func isHTTP(address string) bool { return hasScheme(address, "http", "https") }

// here reports whether a URL is of this machine.
func here(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
}

func hasScheme(address string, schemes ...string) bool {
	scheme, _, ok := strings.Cut(strings.ToLower(address), "://")
	return ok && slices.Contains(schemes, scheme)
}

// dial finds the credentials, if the way needs any, and begins to connect to
// accountd; client waits for the result. It is fault.Denied if there are none.
func (s *session) dial(ctx context.Context, r *root) error {
	if s.link != nil {
		return nil
	}
	if ok, why := s.online(r); !ok {
		return fault.New(fault.Unavailable, "%s", why).About("operator", r.Name()).
			WithHint("name the server with: nsc edit operator --account-jwt-server-url nats://host:4222")
	}
	l := &link{done: make(chan struct{})}
	dial, err := s.dialer(r, l)
	if err != nil {
		return err
	}
	s.link = l
	ctx, cancel := context.WithTimeout(ctx, s.flags.timeout)
	go func() {
		defer close(l.done)
		l.client, l.err = dial(ctx)
		if l.err != nil && ctx.Err() != nil { // not known whether accountd is there
			l.err = fault.New(fault.Unavailable, "accountd did not answer in %s", s.flags.timeout).
				WithHint("give it more time with --timeout, or look whether it runs")
		}
	}()
	s.closers = append(s.closers, func() {
		cancel()
		<-l.done
		if l.client != nil {
			l.client.Close()
		}
	})
	return nil
}

// dialer returns the function that connects: over HTTP, which needs no
// credentials, or as the system user over NATS.
func (s *session) dialer(r *root, l *link) (func(context.Context) (*api.Client, error), error) {
	if isHTTP(r.claims.AccountServerURL) {
		cfg, err := s.tlsConfig()
		return func(ctx context.Context) (*api.Client, error) {
			return api.DialHTTP(ctx, r.claims.AccountServerURL, s.env.Now, cfg)
		}, err
	}
	options, err := s.natsOptions()
	if err != nil {
		return nil, err
	}
	token, pair, err := s.systemUser(r)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, pair.Wipe)
	urls := serverURLs(r.claims)
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}) // requests report their errors themselves
	user := nats.UserJWT(func() (string, error) { return token, nil }, pair.Sign)
	options = append(options, user, quiet)
	l.connect = func(ctx context.Context) (*nats.Conn, error) {
		within, end := s.patience(ctx)
		defer end()
		return api.Connect(within, urls, options...)
	}
	return func(ctx context.Context) (*api.Client, error) {
		return api.Dial(ctx, urls, s.env.Now, options...)
	}, nil
}

// client returns the connection to accountd.
func (s *session) client(ctx context.Context, r *root) (*api.Client, error) {
	if err := s.dial(ctx, r); err != nil {
		return nil, err
	}
	began := time.Now()
	select {
	case <-s.link.done:
		s.waited += time.Since(began)
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "connect to accountd: %w", ctx.Err())
	}
	if err := s.link.err; err != nil {
		return nil, s.refusedAtDoor(r, err)
	}
	if served := s.link.client.Operator; served != "" && served != string(r.trust.Key) {
		return nil, fault.New(fault.Untrusted, "accountd at %s serves operator %s, not %s", r.claims.AccountServerURL,
			keys.Short(served), r.Name()).About("operator", r.Name()).ByRule("operator").
			WithHint("select the operator that it serves, or correct the URL: nsc edit operator --account-jwt-server-url nats://host:4222")
	}
	if isHTTP(r.claims.AccountServerURL) && !s.link.client.Open && !s.link.signs {
		by, err := s.readSigner(r)
		s.link.client.SignReads(func() (claims.Signer, error) { return by, err })
		s.link.signs = true
	}
	return s.link.client, nil
}

// patience bounds one request: together with what was waited for in vain before
// it, the connection included, it takes no longer than --timeout. end ends it.
func (s *session) patience(ctx context.Context) (within context.Context, end func()) {
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, s.flags.timeout-s.waited)
	return within, func() {
		s.waited += time.Since(began)
		if within.Err() == nil {
			s.waited = 0 // it was answered
		}
		cancel()
	}
}

// refusedAtDoor adds to the error of servers that refuse the system user how to
// make one that they take.
func (s *session) refusedAtDoor(r *root, err error) error {
	f := fault.As(err)
	if f == nil || f.Code != fault.Denied || f.Hint != "" || isHTTP(r.claims.AccountServerURL) {
		return err
	}
	ac, aerr := s.systemAccount(r)
	if aerr != nil {
		return err
	}
	name, again := first(s.flags.sysUser, defaultSysUser), ""
	if _, uerr := r.user(ac.name, name); uerr == nil {
		again = " --reissue"
	}
	f.Hint = fmt.Sprintf("make credentials that they take with: nsc add user %s -a %s%s, or name another user with --sys-user",
		shellWords([]string{name}), shellWords([]string{ac.name}), again)
	return err
}

// serverURLs returns the account server's URL and, for when that server is
// down, the operator's service URLs.
func serverURLs(oc *jwt.OperatorClaims) string {
	urls := []string{oc.AccountServerURL}
	for _, u := range oc.OperatorServiceURLs {
		if isNats(u) && !slices.Contains(urls, u) {
			urls = append(urls, u)
		}
	}
	return strings.Join(urls, ",")
}

// systemUser returns the JWT and key of the system user that carries requests:
// from its credentials file, else from its JWT in the store and its seed. Where
// none was named and there is none, the command makes one for itself.
func (s *session) systemUser(r *root) (string, keys.UserPair, error) {
	name := first(s.flags.sysUser, defaultSysUser)
	ac, err := s.systemAccount(r)
	if err != nil {
		return "", keys.UserPair{}, err
	}
	token, seed, err := s.systemCreds(r, ac.name, name)
	if err != nil {
		if s.flags.sysUser == "" {
			if token, pair, perr := s.passingUser(r, ac); perr == nil {
				return token, pair, nil
			}
		}
		return "", keys.UserPair{}, err
	}
	defer nscstore.Wipe(seed)
	pair, err := keys.UserFromSeed(seed)
	return token, pair, err
}

// passage is how long, in seconds, a user is valid that a command makes for
// itself.
const passage = 60 * 60

// passingUser signs a user that is not stored with a key of the system account,
// as the official tool does.
func (s *session) passingUser(r *root, ac *account) (string, keys.UserPair, error) {
	c := choice{what: "account " + quote(ac.name), parse: func(seed []byte) (signer, error) { return keys.AccountFromSeed(seed) }}
	if !r.trust.Strict { // servers know it, while a signing key may be new
		c.candidates = append(c.candidates, candidate{key: ac.key})
	}
	plain, _ := signingKeys(ac.claims)
	c.candidates = append(c.candidates, plain...)
	by, err := s.findStored(c)
	if err != nil {
		return "", keys.UserPair{}, err
	}
	defer by.Wipe()
	pair, err := keys.NewUser()
	if err != nil {
		return "", keys.UserPair{}, err
	}
	uc := jwt.NewUserClaims(pair.PublicKey())
	at, err := s.issueTime(ac, "nsc", uc.Subject)
	if err != nil {
		return "", keys.UserPair{}, err
	}
	uc.Name, uc.Expires = "nsc", at+passage
	if by.PublicKey() != ac.key {
		uc.IssuerAccount = ac.key
	}
	draft, err := claims.New(uc)
	if err != nil {
		return "", keys.UserPair{}, err
	}
	doc, err := draft.Sign(by, at)
	if err != nil {
		return "", keys.UserPair{}, err
	}
	return doc.Token, pair, nil
}

func (s *session) systemCreds(r *root, accountName, name string) (string, []byte, error) {
	token, seed, err := s.loginOf(r, accountName, name)
	if !fault.Is(err, fault.NotFound) {
		return token, seed, err
	}
	return "", nil, fault.New(fault.Denied, "no credentials of system user %q, which carries requests to accountd", name).
		About("user", name).ByRule("system-user").
		WithHint("make them with: nsc add user %s -a %s, or name another user with --sys-user", name, accountName)
}

// loginOf returns the JWT and the seed of a user, from its credentials file,
// else from its JWT in the store and its seed.
func (s *session) loginOf(r *root, accountName, name string) (string, []byte, error) {
	data, err := s.store.Keystore().Creds(r.Name(), accountName, name)
	if err == nil {
		defer nscstore.Wipe(data)
		return nscstore.ParseCreds(data)
	}
	if !fault.Is(err, fault.NotFound) {
		return "", nil, err
	}
	doc, err := r.user(accountName, name)
	if err != nil {
		return "", nil, err
	}
	seed, err := s.store.Keystore().Seed(doc.Subject)
	return doc.Token, seed, err
}

// notOwn refuses to take away the user that carries requests to accountd: nsc
// could do nothing any more. at is the time of the revocation, 0 for now.
func (s *session) notOwn(r *root, ac *account, targets []target, at int64) error {
	if ac.key != r.claims.SystemAccount || isHTTP(r.claims.AccountServerURL) {
		return nil
	}
	name := first(s.flags.sysUser, defaultSysUser)
	token, seed, err := s.systemCreds(r, ac.name, name)
	if err != nil {
		return nil // without credentials it carries nothing
	}
	nscstore.Wipe(seed)
	doc, err := claims.Decode(token)
	if err != nil {
		return nil // nor with damaged ones
	}
	for _, t := range targets {
		if t.key != doc.Subject && t.key != revocation.All || at != 0 && at < doc.IssuedAt {
			continue
		}
		return fault.New(fault.Denied, "user %q of account %q carries the requests to accountd", name, ac.name).
			About("user", name).ByRule("own-user").
			WithHint("let another one carry them with --sys-user, make it first with: nsc add user <name> -a %s; or insist with --force", shellWords([]string{ac.name}))
	}
	return nil
}

// systemAccount returns the operator's system account, most often named SYS.
func (s *session) systemAccount(r *root) (*account, error) {
	key := r.claims.SystemAccount
	if key == "" {
		return nil, fault.New(fault.Denied, "operator %q has no system account, so nothing can carry requests to accountd", r.Name()).
			About("operator", r.Name()).ByRule("system-account").
			WithHint("add an account and name it with: nsc edit operator --system-account <name>")
	}
	if ac, err := r.load("SYS"); err == nil && ac.key == key {
		return ac, nil
	}
	name, err := r.Account(key)
	if err != nil {
		return nil, fault.New(fault.Denied, "the system account %s is not in the local store: %w", keys.Short(key), err).
			About("account", key).ByRule("system-account").WithHint("name the folder of the operator's store with --data-dir")
	}
	return r.load(name)
}

// trusted decodes a token that came from outside as a version of the account
// key: right subject, issued by a key that may sign accounts.
func (r *root) trusted(key, token string) (*claims.Document, error) {
	doc, err := claims.Decode(token)
	if err != nil {
		return nil, fault.New(fault.Untrusted, "account %s as it was received: %w", keys.Short(key), err)
	}
	if doc.Type != claims.TypeAccount || doc.Subject != key {
		return nil, fault.New(fault.Untrusted, "received a claim of type %q about %s, expected account %s",
			doc.Type, keys.Short(doc.Subject), keys.Short(key)).ByRule("subject")
	}
	if err := r.trust.CheckIssuer(doc.Issuer); err != nil {
		return nil, fault.New(fault.Untrusted, "account %s as it was received: %w", keys.Short(key), err)
	}
	return doc, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
