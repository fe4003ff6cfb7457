package device

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/accountd/accountd/accounts/fleet"
	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/internal/durable"
	"github.com/accountd/accountd/keys"
	"github.com/accountd/accountd/operator/nscstore"
)

// Options say how to run an agent. Dir is required.
type Options struct {
	Dir    string // folder of the device, absolute
	Bearer bool   // also write the JWT alone, for clients that cannot sign

	// Identities of age that open the secrets in Dir; the first one seals them.
	// Without any they lie there as they are.
	Identities []string
	// Clients is the absolute folder for what clients read, which is not sealed.
	// "" is Dir, and with Identities none.
	Clients string

	Now    func() time.Time // time.Now if nil
	Logger *slog.Logger     // discards if nil
}

// Agent keeps the credentials of one device.
type Agent struct {
	folder
	bearer bool
	now    func() time.Time // by the device's clock
	log    *slog.Logger
	told   atomic.Pointer[told]
}

// New returns an Agent.
func New(o Options) *Agent {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clients == "" && len(o.Identities) == 0 {
		o.Clients = o.Dir
	}
	write := func(name string, data []byte) error { return durable.WriteFile(name, data, 0o600) }
	return &Agent{folder: folder{o.Dir, o.Clients, o.Identities, write}, bearer: o.Bearer, now: o.Now, log: o.Logger}
}

// lockWait is how long a step waits for another one in the same folder.
const lockWait = 2 * time.Second

func (a *Agent) locked(ctx context.Context, do func() error) error {
	if err := durable.MkdirAll(a.dir, 0o700); err != nil {
		return writeFault(a.dir, err)
	}
	within, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	held, err := durable.Lock(within, a.lock())
	if err != nil {
		return fault.New(fault.Conflict, "%s is in use: %w", a.dir, err).About("folder", a.dir).ByRule("one-process").
			WithHint("an agent that runs there renews the credentials itself")
	}
	defer func() { _ = held.Unlock() }()
	if err := durable.RemoveLeftovers(a.dir); err != nil {
		return writeFault(a.dir, err)
	}
	if err := a.seal(); err != nil {
		return err
	}
	return do()
}

// State returns what the device has; fault.NotFound if it is not enrolled.
func (a *Agent) State() (State, error) {
	st, _, err := a.read()
	return st, err
}

// Enroll exchanges a token for credentials, with the id that it asks for, "" for
// what the device has, else what the token says. A device that is enrolled by this
// token stays as it is until its credentials expire; by another one it is enrolled
// anew. It may be repeated: the key stays, and with it the use of the token.
func (a *Agent) Enroll(ctx context.Context, token, id string) (st State, err error) {
	t, doc, pair, err := fleet.ParseToken(token)
	if err != nil {
		return st, err
	}
	if !t.Bound {
		defer pair.Wipe()
	}
	err = a.locked(ctx, func() error {
		switch st, _, err = a.read(); {
		case err == nil:
			if err := a.sameDevice(st, t.Account, id); err != nil {
				return err
			}
			if a.keeps(token) && !a.passed(st.Expires) {
				return a.hand()
			}
			id = st.ID
		case fault.Is(err, fault.NotFound):
			if err := a.writeNote(note{Servers: t.Servers, Pin: t.Pin}); err != nil {
				return err
			}
		default:
			return err
		}
		own, err := a.pair()
		if err != nil {
			return err
		}
		defer own.Wipe()
		if t.Bound && own.PublicKey() != t.Key {
			return fault.New(fault.Denied, "the token is for the key %s, and this device has %s", keys.Short(t.Key), keys.Short(own.PublicKey())).ByRule("bound-key").
				WithHint("make it one with: nsc token create --bind-key %s", own.PublicKey())
		}
		x := exchange{servers: t.Servers, pin: t.Pin, device: own, now: a.now, hear: a.hear, req: api.EnrollRequest{JWT: doc.Token, ID: id}}
		x.claim = login{jwt: doc.Token, pair: own}
		if !t.Bound {
			x.token, x.claim.pair = &pair, pair
		}
		reply, err := x.run(ctx)
		if err != nil {
			return err
		}
		if err := a.accept(ctx, x, t.Account, reply); err != nil {
			return err
		}
		// Behind the credentials: until it is kept, the exchange is repeated.
		if err := a.keep(a.token(), append([]byte(token), '\n')); err != nil {
			return err
		}
		st, _, err = a.read()
		return err
	})
	return st, err
}

// sameDevice refuses to enrol a device that is another account's, or has another id.
func (a *Agent) sameDevice(st State, account, id string) error {
	var err *fault.Error
	switch {
	case st.Account != account:
		err = fault.New(fault.Conflict, "the device in %s is enrolled in account %s", a.dir, keys.Short(st.Account))
	case id != "" && id != st.ID:
		err = fault.New(fault.Conflict, "the device in %s is enrolled as %q, not %q", a.dir, st.ID, id)
	default:
		return nil
	}
	return err.ByRule("enrolled").WithHint("give it another folder with --dir")
}

// Renew asks for new credentials by those that the device has.
func (a *Agent) Renew(ctx context.Context) (st State, err error) {
	if _, err := a.State(); err != nil {
		return st, err
	}
	err = a.locked(ctx, func() error {
		old, doc, err := a.read()
		if err != nil {
			return err
		}
		own, err := a.readPair()
		if err != nil {
			return err
		}
		defer own.Wipe()
		x := exchange{servers: old.Servers, pin: old.Pin, device: own, now: a.now, hear: a.hear, req: api.EnrollRequest{JWT: doc.Token, Nonce: old.next}}
		if t, doc, pair, ok := a.claim(); ok {
			if !t.Bound {
				defer pair.Wipe()
			}
			x.claim = login{jwt: doc.Token, pair: pair}
			if t.Bound {
				x.claim.pair = own
			}
		}
		if !a.passed(old.Expires) {
			x.live, x.types = login{jwt: doc.Token, pair: own}, old.types
		}
		if n, err := a.note(); err == nil && n.Pass != "" {
			x.pass = login{jwt: n.Pass, pair: own}
		}
		reply, err := x.run(ctx)
		if err != nil {
			return err
		}
		if err := a.accept(ctx, x, old.Account, reply); err != nil {
			return err
		}
		st, _, err = a.read()
		return err
	})
	return st, err
}

// accept takes new credentials into use, once they are known to be good: they
// are of this device and account, and servers let it in.
func (a *Agent) accept(ctx context.Context, x exchange, account string, reply api.EnrollReply) error {
	doc, err := claims.Decode(reply.JWT)
	if err != nil || doc.Subject != x.device.PublicKey() || doc.Field("issuer_account") != account || a.passed(doc.Expires) {
		return fault.New(fault.Untrusted, "the answer holds no credentials of this device").ByRule("answer")
	}
	if err := x.try(ctx, login{jwt: doc.Token, pair: x.device}, reply.Types); err != nil {
		return err
	}
	seed := x.device.Seed()
	defer nscstore.Wipe(seed)
	creds, err := nscstore.FormatCreds(doc.Token, seed)
	if err != nil {
		return err
	}
	defer nscstore.Wipe(creds)
	if err := a.keep(a.creds(), creds); err != nil {
		return err
	}
	if err := a.writeNote(note{Servers: x.servers, Pin: x.pin, JWT: doc.ID, Renew: reply.Renew, Next: reply.Next, Types: reply.Types, Pass: reply.Pass}); err != nil {
		return err
	}
	return a.hand()
}

// Pauses of Run.
const (
	retryLeast = time.Second
	retryMost  = 5 * time.Minute
)

// Run renews credentials whenever it is time, or servers refuse them, until ctx
// ends, and tells of each state. It ends with an error when the device is refused
// and what it has is of no use any more: as long as it is, a refusal may be taken
// back, and who refused need not have been accountd.
func (a *Agent) Run(ctx context.Context, tell func(State)) error {
	st, err := a.State()
	if err != nil {
		return err
	}
	if err := a.locked(ctx, a.hand); err != nil { // they may lie in memory, which a restart empties
		return err
	}
	pause, spread := retryLeast, spreadLeast
	for {
		tell(st)
		cut, ok := a.await(ctx, st, spread)
		if !ok {
			return nil
		}
		if cut { // again and again if some servers take no new ones
			spread = min(2*spread, retryMost)
		} else {
			spread = spreadLeast
		}
		for {
			next, err := a.Renew(ctx)
			if err == nil {
				st, pause = next, retryLeast
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			refused := final(err)
			if refused && (cut || a.passed(st.Expires)) {
				return err
			}
			wait := jittered(pause)
			if l := (later{}); errors.As(err, &l) {
				wait += l.wait
			}
			if refused {
				wait = min(jittered(retryMost), max(wait, a.due(st.Expires)))
			}
			a.log.Warn("the credentials are not renewed yet", "err", err, "hint", hintOf(err), "again_in", wait.String(), "expires", st.Expires)
			if !sleep(ctx, wait) {
				return nil
			}
			pause = min(2*pause, retryMost)
		}
	}
}

// final reports whether a refusal stays one.
func final(err error) bool {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, os.ErrPermission) {
		return false
	}
	switch fault.CodeOf(err) {
	case fault.Denied, fault.Untrusted, fault.Expired, fault.Invalid, fault.NotFound:
		rule := fault.RuleOf(err)
		return rule != ruleRefused && rule != "nonce" && rule != "suspended" && rule != "clock" && rule != "answer" && rule != ""
	}
	return false
}

func hintOf(err error) string {
	if f := fault.As(err); f != nil {
		return f.Hint
	}
	return ""
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
