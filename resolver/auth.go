package resolver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/store"
)

// actor is who a change is attributed to.
type actor struct {
	Key     string // public key that signed the request
	Via     string // door
	Host    string // as the request says
	Request string
}

// maxRequestToken bounds the token of a signed request, in bytes.
const maxRequestToken = 2048

// signed is a request whose token is well formed and signed by whom it names.
type signed struct {
	token *claims.Document
	sum   string // hex SHA-256 of the body
}

// open reads the token of a request, whatever the state.
func open(token string, body []byte) (signed, error) {
	switch {
	case token == "":
		return signed{}, fault.New(fault.Denied, "the request is not signed").ByRule("signed request").
			WithHint("changes need the %s header, as it is added by nsc", api.AuthHeader)
	case len(token) > maxRequestToken:
		return signed{}, envelope(fault.Invalid, "the request's token has %d bytes, %d are allowed", len(token), maxRequestToken)
	}
	d, err := claims.Decode(token)
	sum := sha256.Sum256(body)
	return signed{d, hex.EncodeToString(sum[:])}, err
}

// authenticate checks that a request is signed by a living key of the operator,
// for this operator and service, for these bytes, now.
func (s *Service) authenticate(g grounds, r signed) error {
	if err := s.checkEnvelope(g.trust, r, g.now); err != nil {
		return err
	}
	return s.checkSpeaker(g.trust, g.op, r.token.Issuer)
}

// grounds are what a signed request is decided on: the operator as it is stored,
// who asks, and the time of the decision.
type grounds struct {
	op    store.Record
	trust operator.Trust
	who   actor
	now   time.Time
}

// grounds reads what a request is decided on.
func (s *Service) grounds(r store.Reader, who actor) (g grounds, err error) {
	g.who, g.now = who, s.now()
	g.op, g.trust, err = s.trust(r)
	return g, err
}

// decide runs f in one transaction, for a request of who whose token authorises
// body. What takes long, prepare may do before it, if it is given; it is not run
// for a request that would be refused. That no request comes twice is checked in
// the transaction, since the nonce is remembered there.
func (s *Service) decide(ctx context.Context, who actor, token string, body []byte, prepare func(), f func(store.Tx, grounds) error) error {
	req, err := open(token, body)
	if err != nil {
		return err
	}
	if prepare != nil {
		err := s.cfg.Store.View(ctx, func(r store.Reader) error {
			g, err := s.grounds(r, who)
			if err != nil {
				return err
			}
			return s.authenticate(g, req)
		})
		if err != nil {
			return err
		}
		prepare()
	}
	return s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		g, err := s.grounds(tx, who)
		if err != nil {
			return err
		}
		if err := s.authenticate(g, req); err != nil {
			return err
		}
		g.who.Key = req.token.Issuer
		err = tx.UseNonce(req.token.Nonce(), g.now, g.now.Add(api.NonceMemory))
		if errors.Is(err, store.ErrReplay) {
			return envelope(fault.Denied, "this signed request was used before").WithHint("sign the request anew")
		}
		if err != nil {
			return err
		}
		return f(tx, g)
	})
}

// checkSpeaker: key may ask for the operator: its root key or a living signing
// key, but not accountd's own.
func (s *Service) checkSpeaker(trust operator.Trust, op store.Record, key string) error {
	switch {
	case key == s.cfg.Delegated:
		return fault.New(fault.Denied, "signed by accountd's own key, which opens no door").ByRule("signed request")
	case op.Retired[key] != 0:
		return fault.New(fault.Untrusted, "signed by operator key %s, which is retired", keys.Short(key)).ByRule("signed request")
	case !trust.Speaks(key):
		return fault.New(fault.Denied, "signed by %s, which is no key of operator %s", keys.Short(key), op.Name).ByRule("signed request").
			WithHint("sign with the operator's root key or one of its signing keys")
	}
	return nil
}

func (s *Service) checkEnvelope(trust operator.Trust, r signed, now time.Time) error {
	d := r.token
	issued := time.Unix(d.IssuedAt, 0).UTC()
	switch {
	case d.Type != api.RequestType:
		return envelope(fault.Invalid, "the request's token is of type %q, expected %s", d.Type, api.RequestType)
	case d.Subject != d.Issuer:
		return envelope(fault.Invalid, "the request's token was not signed by its subject")
	case d.Audience != api.Audience(string(trust.Key), string(s.cfg.Server)):
		return envelope(fault.Denied, "the request is for another operator or another accountd")
	case d.Field(api.DigestField) != r.sum:
		return envelope(fault.Denied, "the request's token is for another body")
	case len(d.Nonce()) < 16 || len(d.Nonce()) > 64:
		return envelope(fault.Invalid, "the request's nonce has %d characters, 16 to 64 are allowed", len(d.Nonce()))
	case d.Expires <= d.IssuedAt || d.Expires-d.IssuedAt > int64(api.RequestLife.Seconds()):
		return envelope(fault.Invalid, "the request's token must expire within %s of its issue", api.RequestLife)
	case now.Sub(issued).Abs() > api.RequestSkew:
		return fault.New(fault.Expired, "the request was signed at %s by its clock, it is %s here; at most %s apart are accepted",
			issued.Format(time.RFC3339), now.Format(time.RFC3339), api.RequestSkew).
			ByRule("clock").WithHint("set the clock of the machine that runs nsc, or of accountd")
	}
	return nil
}

func envelope(code fault.Code, format string, args ...any) *fault.Error {
	return fault.New(code, format, args...).ByRule("signed request")
}

// change describes a change for the log.
func (a actor) change(action string, old, rec store.Record, now time.Time, base string, summary ...string) store.Change {
	ch := store.Change{
		Time: now, Actor: a.Key, Via: a.Via, Host: a.Host, Request: a.Request,
		Action: action, Kind: rec.Kind, Key: rec.Key, Name: rec.Name, Base: base,
		ID: rec.ID, After: claims.Digest(rec.JWT), Summary: summary,
	}
	if old.JWT != "" {
		ch.Before = claims.Digest(old.JWT)
	}
	return ch
}
