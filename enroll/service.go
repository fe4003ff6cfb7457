package enroll

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/accountd/accountd/accounts/bulk"
	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/store"
)

// Config of a Service. Store, Identity and Now are required.
type Config struct {
	Store    store.Store
	Identity string // age identity that opens the keys of fleets
	Now      func() time.Time
	Logger   *slog.Logger // discards if nil
	// Decided counts what was decided: enroll, renew, look or nonce; ok or the code of
	// the refusal; and its rule. It may be nil.
	Decided func(what, outcome, rule string)
	Options
}

// Options are what a person decides about devices.
type Options struct {
	// SourceRate is how many requests a second one address may send over HTTP, and
	// four times as many at once; 0 for 50.
	SourceRate int
	// Clones is of how many devices to remember by what they renewed, to notice
	// those that two have the key of; 0 for none.
	Clones int
	// Log is the folder of a list of who enrolled, absolute; "" for none.
	Log string
}

// Check is fault.Usage for what makes no sense, and fault.NotFound without the
// folder.
func (o Options) Check() error {
	for _, v := range []struct {
		flag      string
		is, most  int
		suggested int
	}{{"--device-rate", o.SourceRate, maxRate, 500}, {"--device-clones", o.Clones, maxClones, 1_000_000}} {
		if v.is < 0 || v.is > v.most {
			return fault.New(fault.Usage, "%s %d: expected 0 to %d", v.flag, v.is, v.most).WithHint("accountd dev %s %d", v.flag, v.suggested)
		}
	}
	if o.Log == "" {
		return nil
	}
	if info, err := os.Stat(o.Log); err != nil || !info.IsDir() {
		return fault.New(fault.NotFound, "--device-log %s: no such folder", o.Log).About("folder", o.Log).WithHint("mkdir -m 700 %s", fault.Words(o.Log))
	}
	return nil
}

const (
	defaultRate = 50
	maxRate     = 1_000_000
	maxClones   = 100_000_000
)

// Service answers devices. Its methods may be called from any goroutine.
type Service struct {
	cfg     Config
	nonces  noncer
	tenants *tenants
	turns   turns

	perGroup, perSource, perDevice *limiter
	clones                         *clones // nil if nobody looks for them
	issuance                       issuance
}

// New returns a Service.
func New(cfg Config) (*Service, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Decided == nil {
		cfg.Decided = func(string, string, string) {}
	}
	nonces, err := newNoncer(cfg.Identity)
	if err != nil {
		return nil, err
	}
	if cfg.SourceRate == 0 {
		cfg.SourceRate = defaultRate
	}
	s := &Service{
		cfg: cfg, issuance: issuance{dir: cfg.Log}, nonces: nonces, tenants: newTenants(cfg.Store, Keyring{cfg.Identity}),
		perGroup:  newLimiter(2*time.Millisecond, 2000, 1<<10),
		perSource: newLimiter(time.Second/time.Duration(cfg.SourceRate), 4*cfg.SourceRate, 1<<14),
		perDevice: newLimiter(10*time.Second, 6, 1<<16),
	}
	if cfg.Clones > 0 {
		s.clones = &clones{known: lately[fleet.Mark, lineage]{most: cfg.Clones}}
	}
	return s, nil
}

// Keyring keeps the keys that sign devices.
func (s *Service) Keyring() Keyring { return Keyring{s.cfg.Identity} }

// Source is where a request comes from, as the way that it came proves.
type Source struct {
	Via     string // http or nats
	Account string // public key of the account whose user asks, "" if it is not known
	Address string // of the asker, "" if it is not known
}

// Answer decides one request.
func (s *Service) Answer(ctx context.Context, from Source, req api.EnrollRequest) api.EnrollReply {
	a := &asked{Service: s, from: from, req: req, now: s.cfg.Now().UTC().Truncate(time.Second), what: "unknown"}
	reply, err := a.answer(ctx)
	reply.Schema, reply.Now, reply.Error = api.Schema, a.now.Unix(), api.ToError(err)
	if err == nil {
		s.cfg.Decided(a.what, "ok", a.noticed)
		return reply
	}
	code, rule := fault.CodeOf(err), fault.RuleOf(err)
	s.cfg.Decided(a.what, string(code), rule)
	log := s.cfg.Logger.Debug
	if rule == ruleTaken || code == fault.Internal || code == fault.Unavailable && rule != RuleRate {
		log = s.cfg.Logger.Warn
	}
	log("a device was refused", "asked", a.what, "via", from.Via, "address", from.Address, "account", from.Account, "key", req.Key, "err", err)
	return reply
}

// Rules of refusals that more than one place speaks of.
const (
	ruleTaken = "taken"
	RuleRate  = "rate-limit" // the reply says when to try again
)

// maxJWT bounds the JWT of a request, in bytes.
const maxJWT = 8 << 10

// asked is one request on its way.
type asked struct {
	*Service
	from Source
	req  api.EnrollRequest
	now  time.Time
	what string // nonce, look, enroll or renew, as far as it is known

	noticed string // rule of what is no reason to refuse it

	shown  bulk.Issued      // what its JWT says
	doc    *claims.Document // the JWT, nil if its nonce says who signed it
	tenant *tenant
	group  fleet.Group // of a token
	fleet  fleet.Fleet
}

func (a *asked) answer(ctx context.Context) (reply api.EnrollReply, err error) {
	if reply.Wait, err = a.limited(a.perSource, a.from.Address); err != nil {
		return reply, err
	}
	if _, err := keys.ParseUser(a.req.Key); err != nil {
		return reply, fault.New(fault.Invalid, "the key of the device is no public key of a user").ByRule("malformed")
	}
	if a.req.Nonce == "" && a.req.Issuer != "" && a.from.Account != "" {
		a.what = "look"
		return a.look(ctx)
	}
	if a.req.Nonce == "" { // it costs next to nothing, so that anybody may have one
		a.what = "nonce"
		reply.Nonce, err = a.nonces.make(a.req.Key, a.now)
		return reply, err
	}
	if err := a.identify(ctx); err != nil {
		return reply, err
	}
	if err := a.prove(a.req.Key, a.req.Proof); err != nil {
		return reply, err
	}
	var device applicant
	var token fleet.Token
	if a.what == "enroll" {
		device, token, err = a.byToken(&reply)
	} else {
		device, err = a.byCredentials(&reply)
	}
	if err != nil {
		return reply, err
	}
	signer, err := a.tenant.signer(a.fleet, device.ID)
	if err == nil && a.what == "enroll" { // what cannot be signed is no use of the token
		err = a.count(ctx, token, device.ID)
	}
	if err != nil {
		return reply, err
	}
	if reply, err = a.issue(device, signer); err == nil && a.what == "enroll" {
		if err := a.issuance.add(a.shown.Account, device.ID, a.req.Key, a.now); err != nil {
			a.cfg.Logger.Warn("an enrolment is not in the log of devices", "device", device.ID, "key", a.req.Key, "err", err)
		}
	}
	return reply, err
}

// limited refuses an asker that asks too often, and says how long to wait.
func (a *asked) limited(l *limiter, who string) (again int, err error) {
	if who == "" {
		return 0, nil
	}
	wait := l.wait(who, a.cfg.Now())
	if wait <= 0 {
		return 0, nil
	}
	n := seconds(wait)
	return n, fault.New(fault.Unavailable, "too many requests; try again in %d s", n).ByRule(RuleRate)
}

// identify finds out whose request it is, and by what right it asks.
func (a *asked) identify(ctx context.Context) (err error) {
	if len(a.req.JWT) > maxJWT || len(a.req.ID) > maxJWT {
		return fault.New(fault.Invalid, "the request has a JWT of more than %d bytes", maxJWT).ByRule("size")
	}
	if err := a.read(); err != nil {
		return err
	}
	if a.from.Account != "" && a.from.Account != a.shown.Account {
		return fault.New(fault.Denied, "the request comes from another account than that of its JWT").ByRule("account")
	}
	if a.tenant, err = a.tenants.get(ctx, a.shown.Account); err != nil {
		return err
	}
	if err := a.tenant.open(a.now); err != nil {
		return err
	}
	role, ok := a.tenant.role(a.shown.Issuer, a.now)
	switch {
	case ok && role.group.Public == "":
		a.what, a.fleet = "renew", role.fleet
		return nil
	case ok && a.doc != nil:
		a.what, a.group, a.fleet = "enroll", role.group, role.fleet
		return nil
	case a.tenant.retired[a.shown.Issuer] != 0, a.tenant.roles[a.shown.Issuer].until > 0:
		return fault.New(fault.Denied, "the key that signed this JWT is retired: nobody can tell any more who made it").ByRule("retired-key").
			WithHint("enrol the device anew, with a token: nsc token create")
	}
	return fault.New(fault.Untrusted, "the JWT was signed by %s, which is neither of a fleet nor of an enrolment group", keys.Short(a.shown.Issuer)).ByRule("chain")
}

// read finds out what the JWT says. A signature is not checked again if the nonce
// is the one that came with the JWT: only what was signed here has one.
func (a *asked) read() (err error) {
	if a.nonces.follows(a.req.Nonce, a.req.JWT, a.req.Key) {
		if shown, ok := bulk.ReadJWT([]byte(a.req.JWT)); ok {
			a.shown = shown
			return nil
		}
	}
	if a.doc, err = claims.Decode(a.req.JWT); err != nil {
		return err
	}
	a.shown, err = shownBy(a.doc)
	return err
}

// prove checks that who asks has the private side of key.
func (a *asked) prove(key string, sig []byte) error {
	if a.doc != nil {
		if err := a.nonces.check(a.req.Nonce, a.req.Key, a.now); err != nil {
			return err
		}
	}
	if err := keys.Verify(key, a.req.Text(), sig); err != nil {
		return fault.New(fault.Denied, "the request is not signed by the key %s", keys.Short(key)).ByRule("proof")
	}
	return nil
}

// byToken decides what a token gives.
func (a *asked) byToken(reply *api.EnrollReply) (d applicant, token fleet.Token, err error) {
	if reply.Wait, err = a.limited(a.perGroup, a.group.Public); err != nil {
		return d, token, err
	}
	token, ok := fleet.ReadToken(a.doc)
	if !ok {
		return d, token, fault.New(fault.Invalid, "this is no enrolment token").ByRule("token")
	}
	switch {
	case a.doc.Expires == 0 || a.doc.Expires <= a.now.Unix():
		return d, token, fault.New(fault.Expired, "the token expired at %s", time.Unix(a.doc.Expires, 0).UTC().Format(time.RFC3339)).ByRule("token")
	case a.doc.IssuedAt > a.now.Add(fleet.Skew).Unix():
		return d, token, fault.New(fault.Expired, "the token was issued at %s, which is not yet", time.Unix(a.doc.IssuedAt, 0).UTC().Format(time.RFC3339)).ByRule("clock")
	case a.tenant.refuses(a.doc.Subject, a.doc.IssuedAt, a.now):
		return d, token, fault.New(fault.Denied, "the token is revoked").ByRule("revoked").About("token", a.doc.Subject)
	case a.tenant.names(a.req.Key, a.now):
		return d, token, revoked(a.req.Key)
	case token.Bound && token.Key != a.req.Key:
		return d, token, fault.New(fault.Denied, "the token is for another key").ByRule("bound-key")
	}
	if err := token.Check(); err != nil {
		return d, token, err
	}
	if !token.Bound {
		if err := a.prove(token.Key, a.req.TokenProof); err != nil {
			return d, token, err
		}
	}
	if d.ID, err = token.Name(a.req.ID, a.req.Key); err != nil {
		return d, token, err
	}
	if a.denied(d.ID) {
		return d, token, revoked(a.req.Key)
	}
	d.tags = token.Tags
	return d, token, nil
}

// count counts a use of a token.
func (a *asked) count(ctx context.Context, token fleet.Token, id string) error {
	err := a.cfg.Store.Update(ctx, func(tx store.Tx) error {
		return tx.Enroll(store.Enrolment{
			Token: token.ID, Uses: token.Uses, Device: id, Key: a.req.Key, Until: time.Unix(token.Expires, 0).Add(fleet.Skew),
		}, a.now)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrTaken):
		return fault.New(fault.Conflict, "another device has enrolled as %q with this token", id).ByRule(ruleTaken).About("device", id).
			WithHint("if it is the same device with a new key, make it a new token: nsc token create")
	case errors.Is(err, store.ErrSpent):
		return fault.New(fault.Denied, "the token is used up: it was for %d", token.Uses).ByRule("spent").WithHint("make another one: nsc token create")
	}
	return fault.New(fault.Unavailable, "the use of the token could not be stored: %w", err).WithHint("try again; that is safe")
}

// byCredentials decides what credentials give that a device has already.
func (a *asked) byCredentials(reply *api.EnrollReply) (d applicant, err error) {
	if reply.Wait, err = a.limited(a.perDevice, a.req.Key); err != nil {
		return d, err
	}
	late := a.now.Sub(time.Unix(a.shown.Expires, 0))
	switch {
	case a.shown.Subject != a.req.Key:
		return d, fault.New(fault.Denied, "the credentials are of another key").ByRule("proof")
	case a.tenant.refuses(a.shown.Subject, a.shown.IssuedAt, a.now):
		return d, revoked(a.shown.Subject)
	case a.shown.Expires == 0 || late > a.fleet.TTL:
		return d, fault.New(fault.Expired, "the credentials expired at %s, more than %s ago", time.Unix(a.shown.Expires, 0).UTC().Format(time.RFC3339), fleet.Span(a.fleet.TTL)).
			ByRule("too-late").WithHint("enrol the device anew, with a token: nsc token create")
	}
	d.ID = a.shown.Name
	if err := fleet.CheckID(d.ID); err != nil {
		return d, err
	}
	if a.denied(d.ID) {
		return d, revoked(a.req.Key)
	}
	d.tags = a.shown.Tags
	return d, nil
}

// denied reports whether a device is to get no new credentials.
func (a *asked) denied(id string) bool {
	return a.tenant.denied.Has(a.now.Unix(), a.fleet.MarkID(id), fleet.MarkKey(a.req.Key))
}

func revoked(key string) error {
	return fault.New(fault.Denied, "the device %s is revoked", keys.Short(key)).ByRule("revoked").About("user", key)
}
